"""What JSON holds, by one name: its keys are checked where they are read, which no type can say beforehand."""

from typing import Any

# An object from outside (Stripe's, a request's, a webhook's), or one that is written as JSON.
JsonObject = dict[str, Any]
