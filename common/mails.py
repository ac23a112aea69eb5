"""The one look of every e-mail: its paragraphs as HTML beside its text."""

from collections.abc import Sequence

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string


def attach_html(message: EmailMultiAlternatives, paragraphs: Sequence[str], **facts: str) -> None:
    """Put these paragraphs beside a message's text, with what `facts` say of its button and settings."""
    about = {"site_name": settings.SITE_NAME, "support_email": settings.SUPPORT_EMAIL, "subject": message.subject}
    html = render_to_string("mails/layout.html", {**about, **facts, "paragraphs": paragraphs})
    message.attach_alternative(html, "text/html")
