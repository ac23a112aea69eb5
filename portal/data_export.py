"""Everything that is kept of a customer, as a file to take along."""

from django.http import FileResponse, HttpRequest
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts.models import User
from billing.customers import personal_data
from portal.current_account import current_account, owners_only


@never_cache
@require_POST
@owners_only
def download(request: HttpRequest) -> FileResponse:
    """A ZIP with account.json and transactions.csv."""
    account = current_account(request)
    assert isinstance(request.user, User)  # noqa: S101 - behind a login
    file = personal_data.archive(account, [request.user])
    return FileResponse(file, as_attachment=True, filename=f"{account.public_id}.zip")
