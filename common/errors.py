"""What every refusal is: a stable code, a title, and a text that says what to do.

Refusal                     refused by the domain; knows no HTTP
    ApiError                answered to API clients with its status
        InvalidRequestError     400, names the fields
        NotFoundError           404, also for what belongs to somebody else
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar


class Refusal(Exception):  # noqa: N818 - what it is; its kinds are errors
    """Refused; nothing was changed. `extra` joins the members of the problem that API clients are answered."""

    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.extra = extra


class ApiError(Refusal):
    """A refusal that an API client can act on."""

    status_code: ClassVar[int]


@dataclass(frozen=True, kw_only=True)
class FieldProblem:
    """One field of a request that cannot be taken; `pointer` is a JSON pointer into the body."""

    pointer: str
    code: str
    detail: str


class InvalidRequestError(ApiError):
    code = "invalid_request"
    title = "The request cannot be taken as it is"
    status_code = 400

    def __init__(self, *problems: FieldProblem) -> None:
        detail = " ".join(f"{problem.pointer.lstrip('/')}: {problem.detail}" for problem in problems)
        super().__init__(detail, errors=[asdict(problem) for problem in problems])


class NotFoundError(ApiError):
    code = "not_found"
    title = "Not found"
    status_code = 404
