"""Staff have a second factor, or set one up before they see the console."""

from collections.abc import Callable

from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

GetResponse = Callable[[HttpRequest], HttpResponse]


def second_factor_for_staff(get_response: GetResponse) -> GetResponse:
    """Leads staff without a second factor to where they make one. (allauth asks for it at each login from then on.)"""

    def middleware(request: HttpRequest) -> HttpResponse:
        is_console = settings.STAFF_NEED_SECOND_FACTOR and request.path_info.startswith("/admin/")
        if is_console and request.user.is_authenticated and request.user.is_staff and not is_mfa_enabled(request.user):
            messages.warning(request, _("The console wants a second factor: set one up, and come back."))
            return redirect("mfa_activate_totp")
        return get_response(request)

    return middleware
