"""The brand in the console: fill in a version, see it on a page and in an e-mail, publish it, go back to another."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminFileFieldWidget

from branding import brand, images
from branding.models import IMAGES, Brand
from common import clock
from common.admin import Effect, OperatorAdmin
from common.json_types import JsonObject

ACCEPTED = ".png,.jpg,.jpeg,.webp,.svg"
LOOKS = {
    "logo": gettext_lazy("In place of the name at the top of pages. PNG, JPEG, WebP or SVG; e-mails show no SVG."),
    "dark_logo": gettext_lazy("Where the other could not be seen on a dark ground."),
    "icon": gettext_lazy("A square: for browser tabs, and for a phone's home screen."),
}


class BrandForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for the type checker only
    """A version that begins as the one that counts now."""

    class Meta:
        model = Brand
        fields = ("name", "description", "accent", "sender", "support_email", "terms_url", "privacy_url", "imprint_url")

    def __init__(self, *args: Any, before: Brand, **kwargs: Any) -> None:
        kwargs["initial"] = {name: getattr(before, name) for name in self.Meta.fields}
        super().__init__(*args, **kwargs)
        self.before = before
        for name, help_text in LOOKS.items():
            label = capfirst(_label(name))
            # Unfold's own: its script writes a chosen file's name into the text field beside it, whatever that is.
            widget = UnfoldAdminFileFieldWidget(attrs={"accept": ACCEPTED})
            self.fields[name] = forms.FileField(required=False, label=label, help_text=help_text, widget=widget)
            if name in before.images:
                self.fields[f"no_{name}"] = forms.BooleanField(required=False, label=_("Leave out: %s") % label)

    def clean(self) -> JsonObject:
        result: JsonObject = super().clean() or {}
        for name in IMAGES:
            if isinstance(sent := result.get(name), UploadedFile):
                self._take(name, sent)
            elif not result.get(f"no_{name}"):
                self._put(name, bytes(getattr(self.before, name)), getattr(self.before, f"{name}_type"))
        return result

    def _take(self, name: str, sent: Any) -> None:
        if (sent.size or 0) > images.MAX_BYTES:
            self.add_error(name, _("At most %d kB.") % (images.MAX_BYTES // 1000))
            return
        content = sent.read()
        if media_type := images.type_of(content):
            self._put(name, content, media_type)
        else:
            self.add_error(name, _("This is no PNG, JPEG, WebP or SVG image."))

    def _put(self, name: str, content: bytes, media_type: str) -> None:
        setattr(self.instance, name, content)
        setattr(self.instance, f"{name}_type", media_type)


@admin.register(Brand)
class BrandAdmin(OperatorAdmin):
    """Versions: filled in, previewed, published. None is changed once it is there."""

    list_display = ("name", "accent", "created_by", "created_at", "published_at", "is_in_use")
    ordering = ("-created_at", "-pk")
    list_select_related = ("created_by",)

    @admin.display(description=gettext_lazy("in use"), boolean=True)
    def is_in_use(self, row: Brand) -> bool:
        current = brand.published(with_images=False)
        return current is not None and current.pk == row.pk

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """A draft may go; what customers have seen stays."""
        return isinstance(obj, Brand) and obj.published_at is None and self.has_add_permission(request)

    def get_urls(self) -> list[URLPattern]:
        publish = path("<int:version>/publish/", self.admin_site.admin_view(self.publish), name="branding_publish")
        return [publish, *super().get_urls()]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: JsonObject | None = None
    ) -> HttpResponse:
        """Fill in a version. It is a draft: nobody sees it until it is published."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        before = _in_use()
        form = BrandForm(request.POST or None, request.FILES or None, before=before)
        if request.method == "POST" and form.is_valid():
            form.instance.created_by, form.instance.created_at = request.user, clock.now()
            row = form.save()
            self.log_addition(request, row, [{"added": {}}])
            return redirect("admin:branding_brand_change", row.pk)
        return self._page(
            request, "branding/fill_in.html", title=_("A new version of the brand"), form=form, now=before
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: JsonObject | None = None
    ) -> HttpResponse:
        """How a version looks, and the button that publishes it."""
        row = self.get_object(request, object_id)
        if not isinstance(row, Brand):
            raise Http404
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        lines = [_("Thank you for your purchase."), _("20 credits are on your account, for €5.00.")]
        return self._page(
            request,
            "branding/version.html",
            title=row.name,
            row=row,
            paragraphs=lines,
            sender=brand.sender_of(row),
            effects=_effects(_in_use(), row),
            is_in_use=self.is_in_use(row),
            may_publish=self.has_add_permission(request),
            may_discard=self.has_delete_permission(request, row),
        )

    def publish(self, request: HttpRequest, version: int) -> HttpResponse:
        """From now on, this version is the brand."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        row = get_object_or_404(Brand, pk=version)
        if request.method == "POST":
            said = [f"{effect.what}: {effect.before} → {effect.after}" for effect in _effects(_in_use(), row)]
            with transaction.atomic():
                row.published_at = clock.now()
                row.save(update_fields=["published_at"])
                message = [{"changed": {"name": _("published"), "object": str(row), "fields": said}}]
                self.log_change(request, row, message)
            brand.forget()
            messages.success(request, _("It is published. Pages follow within %d seconds.") % brand.REMEMBERED_S)
        return redirect("admin:branding_brand_change", row.pk)

    def _page(self, request: HttpRequest, template: str, **shown: Any) -> HttpResponse:
        return TemplateResponse(
            request, template, {**self.admin_site.each_context(request), "opts": self.opts, **shown}
        )


def _label(name: str) -> str:
    return str(Brand._meta.get_field(name).verbose_name)  # type: ignore[union-attr]  # none of them is a reverse relation


def _in_use() -> Brand:
    return brand.published() or brand.from_settings()


def _effects(before: Brand, after: Brand) -> list[Effect]:
    """What publishing a version changes."""
    result = []
    for name in BrandForm.Meta.fields:
        was, becomes = getattr(before, name), getattr(after, name)
        if was != becomes:
            result.append(Effect(_label(name), was or "–", becomes or "–"))
    for name in IMAGES:
        if bytes(getattr(before, name)) != bytes(getattr(after, name)):
            was, becomes = name in before.images, name in after.images
            label = _label(name)
            new = _("another image") if was else _("an image")
            result.append(Effect(label, _("an image") if was else "–", new if becomes else "–"))
    return result
