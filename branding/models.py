"""The brand in versions: one is made, looked at, and published; the one that was published last counts."""

from email.utils import formataddr, parseaddr

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator, URLValidator, validate_email
from django.db import models
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from branding import colours
from branding.images import SVG

IMAGES = ("logo", "dark_logo", "icon")
web_address = URLValidator(
    schemes=["https", "http"], message=_("Write a whole address, such as https://acme.com/terms.")
)
hex_colour = RegexValidator(r"^#[0-9a-fA-F]{6}\Z", _("Write a colour as #236857."))


def validate_sender(text: str) -> None:
    """`Name <address>`, or an address alone."""
    name, address = parseaddr(text)
    try:
        validate_email(address)
    except ValidationError:
        is_right = False
    else:
        is_right = text.isprintable() and formataddr((name, address)) in (text, f'"{name}" <{address}>', address)
    if not is_right:
        raise ValidationError(_("Write a sender as: Acme <billing@acme.com>"))


class Brand(models.Model):
    """One version of how the shop calls itself and looks. A version that was published stays, to go back to."""

    name = models.CharField(_("name"), max_length=40, help_text=_("On pages, e-mails, the API's documents, checkout."))
    description = models.CharField(
        _("description"), max_length=200, blank=True, help_text=_("One sentence, for search engines and shared links.")
    )
    accent = models.CharField(
        _("colour"),
        max_length=7,
        blank=True,
        validators=[hex_colour],
        help_text=_("Of buttons and links, as #236857. Where it could not be read, pages use a shade of it."),
    )
    sender = models.CharField(
        _("sender of e-mails"),
        max_length=200,
        blank=True,
        validators=[validate_sender],
        help_text=_("As Acme <billing@acme.com>. Your mail server must be allowed to send for it."),
    )
    support_email = models.EmailField(_("support address"), blank=True)
    terms_url = models.CharField(_("terms"), max_length=300, blank=True, validators=[web_address])
    privacy_url = models.CharField(_("privacy"), max_length=300, blank=True, validators=[web_address])
    imprint_url = models.CharField(_("imprint"), max_length=300, blank=True, validators=[web_address])
    # Small, and read once a version: in the database they are in every backup and on every host.
    logo = models.BinaryField(_("logo"), default=bytes, blank=True)
    dark_logo = models.BinaryField(_("logo on dark pages"), default=bytes, blank=True)
    icon = models.BinaryField(_("icon"), default=bytes, blank=True)
    logo_type = models.CharField(max_length=20, blank=True, editable=False)
    dark_logo_type = models.CharField(max_length=20, blank=True, editable=False)
    icon_type = models.CharField(max_length=20, blank=True, editable=False)
    created_at = models.DateTimeField(_("made"), default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, editable=False, related_name="+",
        verbose_name=_("made by"),
    )  # fmt: skip
    published_at = models.DateTimeField(_("published"), null=True, blank=True, editable=False, db_index=True)

    class Meta:
        verbose_name = _("brand")
        verbose_name_plural = _("brand")

    def __str__(self) -> str:
        return self.name

    @property
    def light(self) -> colours.Shades | None:
        return colours.light(self.accent) if self.accent else None

    @property
    def is_shaded(self) -> bool:
        """Whether links on light pages are in another colour than was asked for, as an eye sees it."""
        return self.light is not None and colours.is_another(self.accent.lower(), self.light.accent)

    @property
    def dark(self) -> colours.Shades | None:
        return colours.dark(self.accent) if self.accent else None

    @property
    def images(self) -> dict[str, str]:
        """The addresses of the images that it has, by their names."""
        named = ((name, getattr(self, f"{name}_type")) for name in IMAGES)
        return {name: reverse("brand-image", args=[self.pk, name]) for name, media_type in named if media_type}

    @property
    def icon_url(self) -> str:
        """The address of its icon, or of the one that comes with the product."""
        return self.images.get("icon") or static("portal/icon.svg")

    @property
    def is_of_settings(self) -> bool:
        """Whether it is what the environment says, and no version that was published."""
        return self._state.adding

    @property
    def mail_logo(self) -> str:
        """The logo's address where mail programs show it: they take no SVG."""
        return self.images.get("logo", "") if self.logo_type != SVG else ""
