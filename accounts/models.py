"""People and accounts. An Account owns credits and is billed; users come and go as its members."""

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Upper
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.origins import validate_origin
from common.public_ids import new_id, public_id


def default_time_zone() -> str:
    """The zone of a new account's calendar."""
    zone: str = settings.DEFAULT_ACCOUNT_TIME_ZONE
    return zone


class UserManager(BaseUserManager["User"]):
    """Makes users; e-mail addresses are kept in lower case, so that one person is one row."""

    use_in_migrations = True

    def create_user(self, email: str, password: str | None = None, **fields: object) -> "User":
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: object) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=(username or "").strip().lower())


class User(AbstractBaseUser, PermissionsMixin):
    """A person who can sign in."""

    email = models.EmailField(_("e-mail address"), unique=True)
    name = models.CharField(_("name"), max_length=150, blank=True)
    is_staff = models.BooleanField(_("staff"), default=False, help_text=_("May open the operator console."))
    is_active = models.BooleanField(_("active"), default=True)
    # Comes in by a customer session and has no login: a user of the seller's app, on the hosted pages.
    is_guest = models.BooleanField(_("guest"), default=False, editable=False)
    date_joined = models.DateTimeField(_("joined"), default=timezone.now)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        indexes = [models.Index(OpClass(Upper("email"), name="varchar_pattern_ops"), name="user_email_begins")]
        constraints = [
            models.CheckConstraint(name="user_email_is_lower_case", condition=Q(email=Lower("email"))),
        ]

    def __str__(self) -> str:
        return self.email

    def save(self, *args: Any, **kwargs: Any) -> None:
        """A changed address is the billing address of their own account as well, unless that was another one."""
        before = User.objects.filter(pk=self.pk).values_list("email", flat=True).first() if self.pk else None
        super().save(*args, **kwargs)
        if before is not None and before != self.email:
            own = Account.objects.filter(memberships__user=self, memberships__is_personal=True, closed_at=None)
            own.filter(email__in=("", before)).update(email=self.email)

    def get_full_name(self) -> str:
        return self.name or self.email


class Account(models.Model):
    """Who owns credits and is billed: one person, or a team."""

    class Kind(models.TextChoices):
        PERSONAL = "personal", _("Personal")  # one user's own, made at sign-up
        TEAM = "team", _("Team")  # shared by its members
        EXTERNAL = "external", _("External")  # a user of an app that calls us with a service key

    class Language(models.TextChoices):
        EN = "en", "English"
        NL = "nl", "Nederlands"

    class Notice(models.TextChoices):
        """E-mails that a customer can do without. What costs money, or ends something, is always mailed."""

        CREDITS = "credits", _("When credits are low or used up")
        RECEIPTS = "receipts", _("Purchases and renewals")
        PLAN = "plan", _("Changes of the plan")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices, default=Kind.PERSONAL)
    name = models.CharField(_("name"), max_length=150, blank=True)
    email = models.EmailField(_("billing e-mail"), blank=True)
    time_zone = models.CharField(
        _("time zone"),
        max_length=64,
        default=default_time_zone,
        help_text=_("Its midnight starts the day of the daily credits."),
    )
    language = models.CharField(
        _("language"), max_length=2, choices=Language.choices, default=Language.EN, help_text=_("Of its e-mails.")
    )
    muted = ArrayField(
        models.CharField(max_length=10, choices=Notice.choices),
        default=list,
        blank=True,
        verbose_name=_("e-mails that it does without"),
    )
    metadata = models.JSONField(
        _("metadata"),
        default=dict,
        blank=True,
        help_text=_("What the app's backend keeps here; customers do not see it."),
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, db_index=True)
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True, help_text=_("Nobody's any more."))
    # The account that this one became a part of: what arrives for this one is about that one.
    merged_into = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, editable=False, related_name="merged",
        verbose_name=_("merged into"),
    )  # fmt: skip
    # Of a personal account: which mailbox opened it (accounts.mailboxes). It names nobody, and stays.
    mailbox = models.CharField(max_length=64, blank=True, editable=False, db_index=True)

    class Meta:
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        indexes = [
            # For operators, who type how an address or a name begins.
            models.Index(OpClass(Upper("email"), name="varchar_pattern_ops"), name="account_email_begins"),
            models.Index(OpClass(Upper("name"), name="varchar_pattern_ops"), name="account_name_begins"),
        ]

    def __str__(self) -> str:
        return f"{self.name or self.email or self.public_id}"

    @property
    def public_id(self) -> str:
        return public_id("acc", self.id)

    def get_full_name(self) -> str:
        """The name that dj-stripe puts on the Stripe customer."""
        return self.name


class Membership(models.Model):
    """One user's place in one account."""

    class Role(models.TextChoices):
        OWNER = "owner", _("Owner")  # may close the account
        ADMIN = "admin", _("Admin")  # may buy, and manage keys and members
        MEMBER = "member", _("Member")  # may spend and look

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(_("role"), max_length=10, choices=Role.choices, default=Role.MEMBER)
    # Set on a personal account's only membership, so that the database allows each user just one.
    is_personal = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [
            models.UniqueConstraint(name="membership_once_per_account", fields=["account", "user"]),
            models.UniqueConstraint(
                name="one_personal_account_per_user", fields=["user"], condition=Q(is_personal=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role}"


class Invitation(models.Model):
    """A place in a team's account that somebody may take, by the e-mail address that it was sent to."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField(_("e-mail address"))
    role = models.CharField(_("role"), max_length=10, choices=Membership.Role.choices, default=Membership.Role.MEMBER)
    invited_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(_("invited"))
    expires_at = models.DateTimeField(_("until"))
    ended_at = models.DateTimeField(_("taken or withdrawn"), null=True, blank=True)

    class Meta:
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")
        constraints = [
            models.UniqueConstraint(
                name="one_open_invitation_per_address", fields=["account", "email"], condition=Q(ended_at=None)
            ),
            models.CheckConstraint(name="invitation_email_is_lower_case", condition=Q(email=Lower("email"))),
        ]

    def __str__(self) -> str:
        return f"{self.email}: {self.role}"

    @property
    def public_id(self) -> str:
        return public_id("inv", self.id)


class ExternalIdentity(models.Model):
    """The name that another system has for an account.

    Without an issuer it is an app's own user id, `ext:<subject>` in the API; with one, a user whose tokens are taken.
    """

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="external_identities")
    user = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="identities")
    issuer = models.CharField(_("issuer"), max_length=255, blank=True)
    subject = models.CharField(_("their id"), max_length=255)
    created_at = models.DateTimeField(default=timezone.now)
    # When the other system last sent them, so that what comes late is not taken for news.
    told_at = models.DateTimeField(_("last told of"), default=timezone.now)
    ended_at = models.DateTimeField(_("deleted there"), null=True, blank=True)

    class Meta:
        verbose_name = _("external identity")
        verbose_name_plural = _("external identities")
        indexes = [models.Index(name="identity_by_subject", fields=["subject"])]
        constraints = [
            models.UniqueConstraint(name="identity_once_per_issuer", fields=["issuer", "subject"]),
        ]

    def __str__(self) -> str:
        return f"{self.issuer or 'ext'}:{self.subject}"


class Scope(models.TextChoices):
    """What a key may do."""

    CREDITS_READ = "credits:read", _("See balances and the ledger")
    CREDITS_SPEND = "credits:spend", _("Spend credits")
    CREDITS_GRANT = "credits:grant", _("Grant credits")
    BILLING_WRITE = "billing:write", _("Start purchases")
    USAGE_READ = "usage:read", _("See usage")
    ACCOUNTS_WRITE = "accounts:write", _("Open, see, change and erase accounts")


class UsedCustomerSession(models.Model):
    """A customer session's link that was opened: it opens once. Kept until no such link can be valid any more."""

    nonce = models.CharField(primary_key=True, max_length=32)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    used_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.nonce


class AppOrigin(models.Model):
    """Where an app of the seller's is at home: scheme, host and port, exactly as a browser's `Origin` names them."""

    origin = models.CharField(
        _("origin"),
        max_length=200,
        unique=True,
        validators=[validate_origin],
        help_text=_("Scheme and host, such as https://app.example.com."),
    )
    may_call = models.BooleanField(
        _("may call the API from browsers"), default=True, help_text=_("With a key or token; cookies are never taken.")
    )
    may_return = models.BooleanField(
        _("customers may be sent back to it"), default=True, help_text=_("After paying, and from the billing portal.")
    )

    class Meta:
        verbose_name = _("app address")
        verbose_name_plural = _("app addresses")

    def __str__(self) -> str:
        return self.origin


class ApiKey(models.Model):
    """A secret that acts for one account, or (a service key) for any. Only its hash is kept."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # Null means a service key: it names the account with each call.
    account = models.ForeignKey(Account, on_delete=models.CASCADE, null=True, blank=True, related_name="api_keys")
    name = models.CharField(_("name"), max_length=80)
    prefix = models.CharField(_("starts with"), max_length=16)
    last4 = models.CharField(_("ends with"), max_length=4)
    # SHA-256 of 256 random bits: nothing to guess, so no slow hash is needed on the hot path.
    secret_hash = models.BinaryField(max_length=32, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope.choices), verbose_name=_("may"))
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)
    last_used_on = models.DateField(_("last used"), null=True, blank=True)
    # The key that it was rotated from: what is said of one holds for both.
    follows = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="followers", editable=False
    )
    # Granting credits takes a second person: until then, the scope is asked for and not had.
    grants_approved_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("granting approved by")
    )
    grants_approved_at = models.DateTimeField(_("granting approved"), null=True, blank=True)
    grants_per_day = models.PositiveBigIntegerField(
        _("grants a day, at most"),
        null=True,
        blank=True,
        help_text=_("Credits. Empty: SERVICE_KEY_GRANTS_PER_DAY."),
    )

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        indexes = [
            models.Index(name="key_by_prefix", fields=["prefix"]),
            models.Index(name="key_by_last_letters", fields=["last4"]),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}…{self.last4}"

    @property
    def public_id(self) -> str:
        return public_id("key", self.id)

    @property
    def is_service_key(self) -> bool:
        return self.account_id is None

    @property
    def is_revoked(self) -> bool:
        return self.revoked_at is not None

    @property
    def waits_for_approval(self) -> bool:
        """Whether it would grant credits, and nobody has approved that yet."""
        return Scope.CREDITS_GRANT in self.scopes and self.grants_approved_at is None and not self.is_revoked
