"""The one look of every e-mail: its paragraphs as HTML beside its text."""

from collections.abc import Sequence

from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from branding import brand
from common.urls import absolute


def attach_html(message: EmailMultiAlternatives, paragraphs: Sequence[str], **facts: str) -> None:
    """Put these paragraphs beside a message's text, with what `facts` say of its button and settings."""
    look = brand.current()
    about = {"brand": look, "logo": absolute(look.mail_logo) if look.mail_logo else "", "subject": message.subject}
    html = render_to_string("mails/layout.html", {**about, **facts, "paragraphs": paragraphs})
    message.from_email = brand.sender()
    message.attach_alternative(html, "text/html")
