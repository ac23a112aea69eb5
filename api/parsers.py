"""Reading request bodies: strict JSON, so that what we understand is what was sent."""

import json
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer

from common.json_types import JsonObject


class StrictJSONParser(BaseParser):
    """JSON in UTF-8, nested as deep as anybody needs; no name twice, no NaN, no half of a character."""

    media_type = "application/json"
    renderer_class = JSONRenderer

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        body = stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        if len(body) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise RequestDataTooBig
        try:
            text = body.decode("utf-8")
            result = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
            if "\\u" in text:
                # What was escaped may be half of a surrogate pair, which no database and no answer can hold.
                json.dumps(result, ensure_ascii=False).encode()
        except RecursionError:
            raise ParseError("JSON parse error - nested too deeply") from None
        except ValueError as error:
            raise ParseError(f"JSON parse error - {error}") from None
        return result


def _once(pairs: list[tuple[str, Any]]) -> JsonObject:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name is there twice")
    return result


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
