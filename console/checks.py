"""What `check` says of renamed settings, and `check --deploy` of how the application may use its database."""

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 - Django's word
from django.db import DatabaseError

from console import database_roles


@register(Tags.security, deploy=True)
def database_role(**_about: object) -> list[CheckMessage]:
    """The role of the running application cannot change what the ledger and the audit log say."""
    try:
        result = database_roles.standing()
    except DatabaseError as error:
        hint = "Run the check where the application runs."
        return [Warning(f"The database's roles cannot be looked at: {error}", hint=hint, id="console.W001")]
    if result.is_safe:
        return []
    why = (
        "is a superuser"
        if result.is_superuser
        else f"owns {', '.join(result.owns)}"
        if result.owns
        else f"may change {', '.join(result.may_change)}"
    )
    return [
        Error(
            f"The database role {result.role} {why}: the application could change the ledger.",
            hint="Let an owner migrate and another role run: docs/operations.md, Two roles in the database.",
            id="console.E001",
        )
    ]


@register(Tags.security, deploy=True)
def buyers_may_undo(**_about: object) -> list[CheckMessage]:
    """Whether customers can take back what they were charged is shown, so that nobody forgets it."""
    if not settings.BUYERS_MAY_UNDO:
        return []
    hint = "Right for whoever sells to nobody but themselves; else unset it."
    message = "BUYERS_MAY_UNDO is on: an account's own keys and sessions can take back what was charged."
    return [Warning(message, hint=hint, id="console.W002")]


@register()
def renamed_settings(**_about: object) -> list[CheckMessage]:
    """Settings under an old name still work, for now."""
    return [
        Warning(f"{old} is called {new} now.", hint=f"Set {new} instead.", id="console.W003")
        for old, new in settings.RENAMED_SETTINGS_IN_USE.items()
    ]
