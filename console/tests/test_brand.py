"""A shop's own name, look and links: filled in, looked at, published, and gone back on."""

import re
import struct
import zlib

import pytest
from django.core import mail
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.models import Account, User
from billing.tests.conftest import Shop
from branding import brand, colours, images
from branding.models import Brand
from console.models import AuditEvent

pytestmark = pytest.mark.django_db

ACME = {
    "name": "Acme & Co", "description": "Pictures by the credit.", "accent": "#ffcc00",
    "sender": "Acme <pay@acme.test>", "support_email": "help@acme.test",
    "terms_url": "https://acme.test/terms", "privacy_url": "", "imprint_url": "",
}  # fmt: skip
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script><circle r="4"/></svg>'


def png() -> bytes:
    """A picture of one pixel, made by the format's own rules."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\0\0\0")) + chunk(b"IEND", b"")
    )


@pytest.fixture
def owner(admin_client: Client) -> Client:
    brand.forget()
    return admin_client


def draft(owner: Client, **fields: object) -> Brand:
    answer = owner.post(reverse("admin:branding_brand_add"), {**ACME, **fields})
    assert answer.status_code == 302, answer.context["form"].errors
    return Brand.objects.latest("pk")


def publish(owner: Client, row: Brand) -> None:
    owner.post(reverse("admin:branding_publish", args=[row.pk]))


def refused(owner: Client, **fields: object) -> list[str]:
    answer = owner.post(reverse("admin:branding_brand_add"), {**ACME, **fields})
    assert (answer.status_code, Brand.objects.count()) == (200, 0)
    return sorted(answer.context["form"].errors)


def test_draft_is_seen_by_nobody(owner: Client, client: Client) -> None:
    row = draft(owner)

    assert "Acme" not in client.get("/").content.decode()
    shown = owner.get(reverse("admin:branding_brand_change", args=[row.pk])).content.decode()
    assert "Acme &amp; Co" in shown
    assert "As text on a light page #ffcc00 could not be read" in shown


def test_published_brand_is_on_pages_mails_docs_and_checkout(
    owner: Client, client: Client, shop: Shop, ada_account: Account
) -> None:
    row = draft(owner, logo=SimpleUploadedFile("logo.png", png()), icon=SimpleUploadedFile("icon.svg", SVG))
    publish(owner, row)

    page = client.get("/").content.decode()
    assert "<title>" in page
    assert "Acme &amp; Co</title>" in page
    assert f"/brand/{row.pk}/logo" in page
    assert f"/brand/{row.pk}/colours.css" in page
    assert "https://acme.test/terms" in page
    assert client.get("/manifest.webmanifest").json()["name"] == "Acme & Co"
    assert client.get("/favicon.ico").headers["Location"] == f"/brand/{row.pk}/icon"
    assert "Acme &amp; Co API" in client.get("/api/v1/docs").content.decode()
    assert client.get("/api/v1/schema?format=json").json()["info"]["title"] == "Acme & Co API"
    assert "Acme &amp; Co" in owner.get("/admin/").content.decode()

    client.post(reverse("account_reset_password"), {"email": User.objects.get(is_superuser=True).email})
    message = mail.outbox[-1]
    assert message.from_email == "Acme <pay@acme.test>"
    html = str(message.alternatives[0].content)  # type: ignore[attr-defined]  # it has an HTML side
    assert f'src="http://127.0.0.1:8000/brand/{row.pk}/logo"' in html
    assert "help@acme.test" in html

    order = shop.checkout(ada_account)
    session = shop.stripe.get("checkout.session", order.stripe_session_id or "")
    assert session["branding_settings"]["display_name"] == "Acme & Co"
    assert session["branding_settings"]["button_color"] == "#ffcc00"


def test_without_a_published_brand_the_environment_counts(
    client: Client, settings: Settings, shop: Shop, ada_account: Account
) -> None:
    settings.SITE_NAME = "From the environment"
    brand.forget()

    assert "From the environment</title>" in client.get("/").content.decode()
    order = shop.checkout(ada_account)
    assert shop.stripe.get("checkout.session", order.stripe_session_id or "")["branding_settings"] is None


def test_version_before_comes_back(owner: Client, client: Client) -> None:
    first = draft(owner)
    publish(owner, first)
    second = draft(owner, name="Acme Two")
    publish(owner, second)
    assert "Acme Two</title>" in client.get("/").content.decode()

    publish(owner, first)

    assert "Acme &amp; Co</title>" in client.get("/").content.decode()
    done = AuditEvent.objects.filter(action="change brand").order_by("at").last()
    assert done is not None
    assert "name: Acme Two → Acme & Co" in done.result


def test_image_stays_until_it_is_left_out(owner: Client) -> None:
    publish(owner, draft(owner, logo=SimpleUploadedFile("logo.png", png())))

    kept = draft(owner, name="Kept")
    assert bytes(kept.logo) == png()
    left_out = draft(owner, name="Left out", no_logo="on")
    assert bytes(left_out.logo) == b""
    assert left_out.images == {}


def test_draft_may_be_discarded_and_a_used_version_not(owner: Client) -> None:
    used, unused = draft(owner), draft(owner, name="Unused")
    publish(owner, used)

    for row in (used, unused):
        owner.post(reverse("admin:branding_brand_delete", args=[row.pk]), {"post": "yes"})

    assert list(Brand.objects.values_list("name", flat=True)) == ["Acme & Co"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("terms_url", "javascript:alert(1)"),
        ("privacy_url", "//evil.test"),
        ("accent", "red;}body{display:none"),
        ("accent", "#ffcc00\n"),
        ("sender", "Acme <pay@acme.test>\nBcc: all@acme.test"),
        ("sender", "not an address"),
        ("name", ""),
        ("logo", SimpleUploadedFile("logo.png", b"<html><script>alert(1)</script>")),
        ("logo", SimpleUploadedFile("logo.png", b"\x89PNG\r\n\x1a\n" + b"x" * images.MAX_BYTES)),
    ],
)
def test_what_could_harm_a_visitor_is_refused(owner: Client, field: str, value: object) -> None:
    stripped = isinstance(value, str) and value.strip() != value and field == "accent"
    if stripped:  # Django's fields strip ends: what is kept is the colour alone
        assert draft(owner, accent=value).accent == "#ffcc00"
    else:
        assert refused(owner, **{field: value}) == [field]


def test_opened_drawing_runs_nothing(owner: Client, client: Client) -> None:
    row = draft(owner, logo=SimpleUploadedFile("logo.svg", SVG))

    answer = client.get(f"/brand/{row.pk}/logo")

    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "immutable" in answer.headers["Cache-Control"]
    for missing in ("icon", "created_by", "dark_logo"):
        assert client.get(f"/brand/{row.pk}/{missing}").status_code == 404


@pytest.mark.parametrize(
    "colour", ["#ffcc00", "#000000", "#ffffff", "#236857", "#ff0000", "#0000ff", "#808080", "#7fff00"]
)
def test_every_colour_can_be_read(colour: str) -> None:
    """WCAG 2.2, 1.4.3: at least 4.5 to 1 for text, on the grounds of both themes."""
    light, dark = colours.light(colour), colours.dark(colour)

    for ground in ("#ffffff", "#f4f7f5", "#eef3f0", light.soft):
        assert colours.contrast(light.accent, ground) >= 4.5
    for ground in ("#18211e", "#0f1513", "#1f2a26", dark.soft):
        assert colours.contrast(dark.accent, ground) >= 4.5
    for shades in (light, dark):
        assert colours.contrast(shades.button, shades.on_button) >= 4.5


def test_contrast_is_what_the_standard_says() -> None:
    assert round(colours.contrast("#ffffff", "#000000"), 2) == 21
    assert round(colours.contrast("#767676", "#ffffff"), 2) == 4.54  # WCAG's own border case


def test_colours_are_rules_and_nothing_else(owner: Client, client: Client) -> None:
    row = draft(owner)

    text = client.get(f"/brand/{row.pk}/colours.css").content.decode()

    assert re.fullmatch(
        r"(:root \{( --[\w-]+: #[0-9a-f]{6};){5} \}\s*|@media \(prefers-color-scheme: dark\) \{ | \}\s*)+", text
    )


def test_pages_go_on_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_how: object) -> None:
        raise DatabaseError

    brand.forget()
    monkeypatch.setattr(brand, "published", away)

    assert brand.current().name == "Tegoed"


def test_support_looks_at_the_brand_and_does_not_change_it(client: Client, owner: Client) -> None:
    from django.contrib.auth.models import Group

    row = draft(owner)
    support = User.objects.create_user("s@example.com", "x", is_staff=True)
    support.groups.add(Group.objects.get(name="Support"))
    client.force_login(support)

    assert client.get(reverse("admin:branding_brand_change", args=[row.pk])).status_code == 200
    assert client.get(reverse("admin:branding_brand_add")).status_code == 403
    assert client.post(reverse("admin:branding_publish", args=[row.pk])).status_code == 403


@pytest.mark.parametrize("content", [b"<!---->" * 28_000, b"<!--" * 50_000, b" " * 200_000, b"<?xml ?>" * 25_000])
def test_what_only_begins_like_an_image_is_looked_at_once(content: bytes) -> None:
    """A pattern that tried every way to split comments took as long as it liked: two seconds for 24 of them."""
    assert images.type_of(content) == ""
    assert images.type_of(content + b"<svg>") in (images.SVG, "")
