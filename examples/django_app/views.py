"""A view that costs a credit. Too few, and the visitor is shown where there are more; nothing to catch here."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from examples import pretend_ai
from usage import charging


@login_required
@charging.costs("message")
def ask(request: HttpRequest) -> HttpResponse:
    """Answer a question; what fails is given back."""
    answer = pretend_ai.answer(request.GET.get("question", ""))
    if request.accepts("text/html"):
        return render(request, "shop/answer.html", {"answer": answer})
    return JsonResponse({"answer": answer})
