"""Texts that operators write, in the languages of the site: one column in the first, the others beside it."""

from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

OTHER_LANGUAGES: dict[str, str] = {
    code: str(name) for code, name in settings.LANGUAGES if code != settings.LANGUAGE_CODE.partition("-")[0]
}


class TranslatedTexts(models.Model):
    """A row with texts for customers. What has no translation is read as it was written first."""

    TRANSLATED: tuple[str, ...] = ()  # its fields

    translations = models.JSONField(_("translations"), default=dict, blank=True)  # language: {field: text}

    class Meta:
        abstract = True

    def text(self, field: str, language: str | None = None) -> str:
        """One of its texts in a language: that of the page or e-mail that is being made, if none is named."""
        code = (language or get_language() or "").partition("-")[0]
        translated: Any = self.translations.get(code, {})
        return str(translated.get(field) or getattr(self, field))

    @property
    def local_name(self) -> str:
        return self.text("name")
