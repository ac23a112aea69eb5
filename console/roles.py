"""The groups that staff belong to, kept up after every migration. What a group may do beyond this, operators add."""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.db.models import Q

READ_ONLY, SUPPORT, BILLING, OPERATORS = "Read-only", "Support", "Billing", "Operators"
# Apps whose rows staff may view; dj-stripe's copy of a secret, or a permission, is not among them.
LOOKED_INTO = ("accounts", "branding", "credits", "usage", "billing", "outbox", "console")
# Of dj-stripe's tables, those that a customer's question may be about.
MIRRORED = (
    "customer", "subscription", "invoice", "session", "paymentintent", "charge", "refund", "dispute", "price",
    "product",
)  # fmt: skip

SUPPORT_MAY = (
    "console.grant_credits", "console.reverse_spend", "console.freeze_account", "console.sync_stripe",
    "console.view_as_customer", "console.write_note", "console.export_person", "billing.change_inboxevent",
    "outbox.change_webhookdelivery",
)  # fmt: skip
BILLING_MAY = (
    *SUPPORT_MAY, "console.grant_without_limit", "console.take_credits", "console.refund_order",
    "console.change_plan", "console.approve", "console.see_reports", "console.add_bulkgrant",
    "billing.change_order", "outbox.change_alert",
)  # fmt: skip
OPERATORS_MAY = (
    *BILLING_MAY, "console.merge_accounts", "console.erase_person", "console.add_alertthreshold",
    "console.change_alertthreshold", "accounts.add_apikey", "accounts.change_apikey",
    "accounts.add_apporigin", "accounts.change_apporigin", "accounts.delete_apporigin", "billing.change_plan",
    "billing.change_pack", "billing.change_price", "billing.add_promotion", "billing.change_promotion",
    "usage.add_feature", "usage.change_feature", "usage.add_featureprice", "branding.add_brand",
)  # fmt: skip
MAY = {READ_ONLY: (), SUPPORT: SUPPORT_MAY, BILLING: BILLING_MAY, OPERATORS: OPERATORS_MAY}


def keep_groups(**about: Any) -> None:
    """Make the groups, with their permissions. A repeated call changes nothing."""
    if app := about.get("app_config"):
        # This runs before Django makes the app's permissions: without them, a first migration would give none.
        create_permissions(app, verbosity=0, using=about["using"])
    seen = Permission.objects.filter(
        Q(content_type__app_label__in=LOOKED_INTO)
        | Q(content_type__app_label="djstripe", content_type__model__in=MIRRORED),
        codename__startswith="view_",
    ).exclude(content_type__app_label="console", codename="view_as_customer")
    for name, may in MAY.items():
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.add(*seen, *_named(may))


def _named(names: tuple[str, ...]) -> list[Permission]:
    wanted = Q(pk=None)
    for name in names:
        app, _, codename = name.partition(".")
        wanted |= Q(content_type__app_label=app, codename=codename)
    return list(Permission.objects.filter(wanted))
