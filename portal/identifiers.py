"""Public ids in addresses and forms of our pages."""

import uuid

from django.http import Http404

from common.public_ids import MalformedIdError, parse_id


def identifier_or_404(prefix: str, text: str) -> uuid.UUID:
    """The key behind a public id; what is none is not there."""
    try:
        return parse_id(prefix, text)
    except MalformedIdError:
        raise Http404 from None
