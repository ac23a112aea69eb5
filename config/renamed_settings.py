"""Settings that were called something else: the old name still works, and `check` says so."""

from collections.abc import MutableMapping

# The old name, and the one of today.
RENAMED = {
    "REPAIR_TWO_PLANS": "END_DUPLICATE_SUBSCRIPTIONS",
    "SIGNUPS_PER_ADDRESS_A_DAY": "SIGNUPS_PER_IP_PER_DAY",
}


def read_old_names(environ: MutableMapping[str, str]) -> dict[str, str]:
    """Set what is set under an old name only; answers the old names that are in use, with those of today."""
    used = {old: new for old, new in RENAMED.items() if old in environ}
    for old, new in used.items():
        environ.setdefault(new, environ[old])
    return used
