"""The groups that staff belong to, kept up after every migration. What a group may do beyond this, operators add."""

from typing import Any

from django.contrib.auth.models import Group, Permission

SUPPORT = "Support"
# Rooms that support may look into; a mirrored secret or a permission is not among them.
LOOKED_INTO = ("accounts", "credits", "usage", "billing", "outbox")


def keep_groups(**_kwargs: Any) -> None:
    """Make the groups, with their permissions. A repeated call changes nothing."""
    support, _ = Group.objects.get_or_create(name=SUPPORT)
    support.permissions.add(
        *Permission.objects.filter(content_type__app_label__in=LOOKED_INTO, codename__startswith="view_")
    )
