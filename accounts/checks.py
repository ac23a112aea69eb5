"""Checks this app's settings before anything is served."""

from django.core.checks import CheckMessage, Error, register

from accounts import issuers
from common import webhook_signatures


@register()
def token_issuers(**_about: object) -> list[CheckMessage]:
    """Every entry of TOKEN_ISSUERS can be used as it is."""
    try:
        result = issuers.configured()
        for issuer in result.values():
            for secret in issuer.webhook_secrets:
                webhook_signatures.sign(secret=secret, message_id="", timestamp=0, body=b"")
    except (TypeError, ValueError, AttributeError) as error:
        hint = "A list of objects with name, issuer, audience, and optionally jwks_url, webhook_secrets, scopes."
        return [Error(f"TOKEN_ISSUERS cannot be read: {error}", hint=hint, id="accounts.E001")]
    insecure = [issuer.name for issuer in result.values() if not issuer.issuer.startswith("https://")]
    return [Error(f"TOKEN_ISSUERS: {name} is not reached by https.", id="accounts.E002") for name in insecure]
