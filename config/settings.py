"""The one settings file. Everything that differs between machines comes from the environment.

Three ways to run: the sandbox (`SANDBOX=1`: one machine, the local Stripe, a clock that moves),
development (`DEBUG=1`) and production (neither), which refuses to start with an unsafe value.
"""

import gc
import os
import sys
from pathlib import Path

import environ
import kombu
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

from common.version import VERSION
from config import guards, logs, renamed_settings, sentry

# A process makes some hundred thousand objects as it starts, which all stay: the collector need not look through them
# again and again (a fifth of the time that a start takes). Reference counts free what a request leaves behind.
gc.set_threshold(50_000, 20, 100)

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
RENAMED_SETTINGS_IN_USE = renamed_settings.read_old_names(os.environ)

# --- How this process runs -----------------------------------------------------------------------
SANDBOX = env.bool("SANDBOX", default=False)
DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="")
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])  # those of before, during a rotation
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[])
BASE_URL = env.str("BASE_URL", default="http://127.0.0.1:8000").rstrip("/")
DATABASE_URL = env.str("DATABASE_URL", default="")
# The role that DATABASE_URL names for the running processes: `release` gives it its rights.
DATABASE_RUNTIME_ROLE = env.str("DATABASE_RUNTIME_ROLE", default="")
REDIS_URL = env.str("REDIS_URL", default="")
CLOCK_FILE = env.str("CLOCK_FILE", default="")
# Set while the database is being restored or moved: customers see a page that says so, API clients a 503.
MAINTENANCE = env.bool("MAINTENANCE", default=False)

STRIPE_SECRET_KEY = env.str("STRIPE_SECRET_KEY", default="")
STRIPE_WEBHOOK_SECRETS = env.list("STRIPE_WEBHOOK_SECRETS", default=[])  # two during a rotation
STRIPE_API_BASE = env.str("STRIPE_API_BASE", default="")
# `make stripe-check`: a sandbox that talks to Stripe's test mode itself, with its test clocks.
STRIPE_CHECK = env.bool("STRIPE_CHECK", default=False)
# Who may take money: stripe, payconiq.
PAYMENT_PROVIDERS = env.list("PAYMENT_PROVIDERS", default=["stripe"])
PAYCONIQ_API_KEY = env.str("PAYCONIQ_API_KEY", default="")
PAYCONIQ_PROFILE_ID = env.str("PAYCONIQ_PROFILE_ID", default="")
# The key that the apps which this replaces send as x-admin-key (config/compat_urls.py): a service key.
ADMIN_API_KEY = env.str("ADMIN_API_KEY", default="")

_problems = guards.problems(
    guards.Deployment(
        debug=DEBUG,
        sandbox=SANDBOX,
        secret_key=SECRET_KEY,
        allowed_hosts=ALLOWED_HOSTS,
        base_url=BASE_URL,
        database_url=DATABASE_URL,
        redis_url=REDIS_URL,
        stripe_secret_key=STRIPE_SECRET_KEY,
        stripe_webhook_secrets=STRIPE_WEBHOOK_SECRETS,
        stripe_api_base=STRIPE_API_BASE,
        clock_file=CLOCK_FILE,
        payment_providers=PAYMENT_PROVIDERS,
        payconiq_api_key=PAYCONIQ_API_KEY,
        payconiq_profile_id=PAYCONIQ_PROFILE_ID,
        admin_api_key=ADMIN_API_KEY,
        stripe_check=STRIPE_CHECK,
        command=sys.argv[1] if Path(sys.argv[0]).name == "manage.py" and len(sys.argv) > 1 else "",
    )
)
if _problems:
    raise ImproperlyConfigured("Tegoed will not start:\n  - " + "\n  - ".join(_problems))

# Plain HTTP is for this machine only; everything else is served over TLS.
USES_TLS = BASE_URL.startswith("https://")

# --- Applications --------------------------------------------------------------------------------
INSTALLED_APPS = [
    "console.apps.ConsoleConfig",
    "portal.apps.PortalConfig",
    "billing.apps.BillingConfig",
    "usage.apps.UsageConfig",
    "credits.apps.CreditsConfig",
    "outbox.apps.OutboxConfig",
    "accounts.apps.AccountsConfig",
    "branding.apps.BrandingConfig",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_structlog",
    "django_htmx",
    "csp",
    "corsheaders",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "djstripe",
]

MIDDLEWARE = [
    "config.middleware.add_security_headers",
    # Before hosts are looked at and plain HTTP is redirected: a probe asks an address of the host's own.
    "config.health.HealthMiddleware",
    "config.metrics.serve_metrics",
    "corsheaders.middleware.CorsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "config.middleware.relax_console_csp",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.metrics.count_requests",
    "config.middleware.take_api_slash",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "config.middleware.refuse_nul",
    "config.maintenance.refuse",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "config.middleware.answer_request_id",
    "config.middleware.answer_rate_limits",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
    "console.middleware.second_factor_for_staff",
    "portal.refusals.AnswerRefusals",
    "portal.time_zone.forget_time_zone",
    "portal.impersonation.refuse_changes_while_impersonating",
    "portal.customer_sessions.keep_guests_to_their_pages",
    "django_htmx.middleware.HtmxMiddleware",
]

# What a call of the API passes instead, if it brings no cookie (config/wsgi.py): it has no session, and is no page.
API_MIDDLEWARE = [
    "config.metrics.count_requests",
    "config.middleware.add_security_headers",
    "corsheaders.middleware.CorsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "config.middleware.take_api_slash",
    "config.middleware.answer_api_call",
    "config.maintenance.refuse",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SITE_NAME = env.str("SITE_NAME", default="Tegoed")
# One sentence of what this is, for search engines; and what the foot of pages and e-mails leads to.
SITE_DESCRIPTION = env.str("SITE_DESCRIPTION", default="")
SUPPORT_EMAIL = env.str("SUPPORT_EMAIL", default="")
TERMS_URL = env.str("TERMS_URL", default="")
PRIVACY_URL = env.str("PRIVACY_URL", default="")
IMPRINT_URL = env.str("IMPRINT_URL", default="")

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.context.site",
            ],
        },
    },
]

# --- Database, cache, queue ----------------------------------------------------------------------
# A statement or a lock that takes longer than this is answered with 503 rather than waited for.
STATEMENT_TIMEOUT_MS = env.int("STATEMENT_TIMEOUT_MS", default=15_000)
# The ledger's hot statements are prepared once a connection. Off for a pooler that cannot keep them.
PREPARE_STATEMENTS = env.bool("PREPARE_STATEMENTS", default=True)
LOCK_TIMEOUT_MS = env.int("LOCK_TIMEOUT_MS", default=2_000)
_database = environ.Env.db_url_config(DATABASE_URL)
DATABASES = {
    "default": {
        **_database,
        "CONN_MAX_AGE": env.int("CONN_MAX_AGE_S", default=600),
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            **_database.get("OPTIONS", {}),
            "options": f"-c lock_timeout={LOCK_TIMEOUT_MS} -c statement_timeout={STATEMENT_TIMEOUT_MS}",
        },
    }
}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}
# kombu names a Redis on a unix socket differently from redis-py.
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1) or "filesystem://"
# Without Redis (a sandbox where none can be had) messages are files in this folder.
BROKER_FOLDER = env.str("BROKER_FOLDER", default="")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_TIME_LIMIT = 300
# Queues by kind, so that what waits for strangers never holds what takes payments. A worker without the option works
# on all of them.
CELERY_TASK_QUEUES = [
    kombu.Queue(name, kombu.Exchange(name), routing_key=name)
    for name in ("payments", "ledger", "mail", "webhooks", "reports")
]
CELERY_TASK_DEFAULT_QUEUE = "ledger"
CELERY_TASK_ROUTES = {
    "billing.tasks.reconcile": {"queue": "reports"},
    "billing.tasks.move_prices": {"queue": "reports"},
    "billing.tasks.*": {"queue": "payments"},
    "outbox.tasks.deliver_webhook": {"queue": "webhooks"},
    "outbox.tasks.sweep_webhooks": {"queue": "webhooks"},
    "outbox.tasks.*": {"queue": "mail"},
    "credits.tasks.audit_ledger": {"queue": "reports"},
    "billing.tasks.audit_books": {"queue": "reports"},
    "credits.tasks.seal_ledger": {"queue": "reports"},
    "credits.tasks.*": {"queue": "ledger"},
    "usage.tasks.*": {"queue": "reports"},
    "console.tasks.*": {"queue": "reports"},
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {"visibility_timeout": 600}
    if REDIS_URL
    else {"data_folder_in": BROKER_FOLDER, "data_folder_out": BROKER_FOLDER, "control_folder": BROKER_FOLDER}
)
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE_FILENAME = env.str("BEAT_SCHEDULE_FILE", default="celerybeat-schedule")
DJANGO_STRUCTLOG_CELERY_ENABLED = True
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False

# --- Who may come in -----------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "CommonPasswordValidator", "NumericPasswordValidator")
] + [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    }
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "dashboard"
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = env.str("EMAIL_VERIFICATION", default="none" if SANDBOX else "mandatory")
ACCOUNT_LOGIN_BY_CODE_ENABLED = True  # by a code that is mailed, instead of a password
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_NOTIFICATIONS = True  # of a changed password, a second factor that was switched off
# Ten wrong passwords for one account from one address in a quarter of an hour; fifty from one address for any.
# So many sign-ups from one address in a day: each is an account with free credits. 0 is no limit.
SIGNUPS_PER_IP_PER_DAY = env.int("SIGNUPS_PER_IP_PER_DAY", default=0 if SANDBOX else 20)
ACCOUNT_RATE_LIMITS = {
    "login_failed": "10/15m/key,50/15m/ip",
    "login_failed_anywhere": "100/15m/key",  # from all addresses together; a device that is known is not counted
    "reset_password": "20/m/ip,5/15m/key",
    "signup": f"20/m/ip,{SIGNUPS_PER_IP_PER_DAY}/d/ip" if SIGNUPS_PER_IP_PER_DAY else "1000/m/ip",
}
ALLAUTH_TRUSTED_PROXY_COUNT = env.int("TRUSTED_PROXY_COUNT", default=1 if USES_TLS else 0)
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_ADAPTER = "accounts.adapter.SecondFactorAdapter"
USERSESSIONS_TRACK_ACTIVITY = True
ACCOUNT_LOGOUT_REDIRECT_URL = "/"
ACCOUNT_SESSION_REMEMBER = True
EMAIL_CONFIG = env.email_url("EMAIL_URL", default="consolemail://")
vars().update(EMAIL_CONFIG)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Tegoed <no-reply@localhost>")
EMAIL_TIMEOUT = 10  # seconds; the outbox tries again
OPERATOR_EMAILS = env.list("OPERATOR_EMAILS", default=[])  # who is mailed alerts

# --- Web security --------------------------------------------------------------------------------
CSRF_TRUSTED_ORIGINS = [BASE_URL]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = USES_TLS
SESSION_COOKIE_HTTPONLY = True
SECURE_SSL_REDIRECT = USES_TLS
# The host in front of us ends TLS and says so; without such a proxy set this off.
if env.bool("BEHIND_TLS_PROXY", default=True) and USES_TLS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=31_536_000) if USES_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = USES_TLS
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576  # one request body, in bytes; the webhook has its own, smaller one
# Which web apps may call the API from a browser, beside those that the console names (accounts/app_origins.py).
# With a key or token alone: no cookie of another site is taken.
CORS_ALLOWED_ORIGINS = env.list("BROWSER_ORIGINS", default=[])
CORS_ALLOWED_ORIGIN_REGEXES = [r"^http://(localhost|127\.0\.0\.1):\d+\Z"] if SANDBOX else []
CORS_URLS_REGEX = r"^/api/v1/"
CORS_ALLOW_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CORS_ALLOW_HEADERS = ("authorization", "content-type", "idempotency-key", "x-request-id")
CORS_EXPOSE_HEADERS = (
    "request-id", "idempotent-replayed", "credits-available", "ratelimit", "ratelimit-policy", "retry-after", "etag",
)  # fmt: skip
CORS_PREFLIGHT_MAX_AGE = 600  # seconds
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "frame-ancestors": [NONE],
        # A form that starts a purchase is answered with a redirect to the hosted checkout page.
        "form-action": [
            SELF,
            STRIPE_API_BASE or "https://checkout.stripe.com",
            "https://billing.stripe.com",
            *(["https://payconiq.com", "https://*.payconiq.com"] if "payconiq" in PAYMENT_PROVIDERS else []),
        ],
    }
}
SILENCED_SYSTEM_CHECKS = [
    # dj-stripe's own webhook view is not mounted, so its endpoints need no secret (docs/decisions.md).
    "djstripe.W005",
    "djstripe.I006",
]

# --- Static files, languages, time ---------------------------------------------------------------
STATIC_URL = "/static/"
# In production `collectstatic` gathers the files here; elsewhere they are served from where they are.
STATIC_ROOT = None if DEBUG or SANDBOX else env.str("STATIC_ROOT", default=str(BASE_DIR / "staticfiles"))
WHITENOISE_USE_FINDERS = DEBUG or SANDBOX
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG or SANDBOX
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
USE_TZ = True
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = "config.formats"
DEFAULT_ACCOUNT_TIME_ZONE = env.str("DEFAULT_ACCOUNT_TIME_ZONE", default="Europe/Amsterdam")
LANGUAGE_CODE = "en"
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGES = [("en", "English"), ("nl", "Nederlands")]

# --- Stripe through dj-stripe (both DJSTRIPE_ settings are baked into its first migration) ---------
STRIPE_API_VERSION = "2026-05-27.dahlia"
STRIPE_LIVE_MODE = STRIPE_SECRET_KEY.startswith(("sk_live_", "rk_live_"))
STRIPE_TIMEOUT_S = 10  # a call to Stripe; nothing waits longer, and no lock is held meanwhile
if STRIPE_LIVE_MODE:
    STRIPE_LIVE_SECRET_KEY = STRIPE_SECRET_KEY
else:
    STRIPE_TEST_SECRET_KEY = STRIPE_SECRET_KEY
if STRIPE_API_BASE:
    STRIPE_API_HOST = STRIPE_API_BASE
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"
DJSTRIPE_SUBSCRIBER_MODEL = "accounts.Account"
DJSTRIPE_SUBSCRIBER_MODEL_MIGRATION_DEPENDENCY = "0001_initial"
# Switched on in Stripe's dashboard first: VAT by Stripe Tax, and codes that customers type at the checkout.
STRIPE_TAX = env.bool("STRIPE_TAX", default=False)
# Of the prices that `stripe_bootstrap` makes: whether VAT comes on top, or is inside.
STRIPE_TAX_BEHAVIOR = env.str("STRIPE_TAX_BEHAVIOR", default="exclusive")
STRIPE_PROMOTION_CODES = env.bool("STRIPE_PROMOTION_CODES", default=False)
# For the card form on our own page: the publishable key, and Stripe's script (the sandbox serves a stand-in).
STRIPE_PUBLISHABLE_KEY = env.str("STRIPE_PUBLISHABLE_KEY", default="")
STRIPE_JS_URL = f"{STRIPE_API_BASE}/v3/stripe.js" if STRIPE_API_BASE else "https://js.stripe.com/v3/"
# A second plan that was paid by mistake is ended and refunded; off, operators are only alerted.
END_DUPLICATE_SUBSCRIPTIONS = env.bool("END_DUPLICATE_SUBSCRIPTIONS", default=True)
PAYCONIQ_API_BASE = env.str("PAYCONIQ_API_BASE", default="https://api.payconiq.com")
PAYCONIQ_JWKS_URL = env.str("PAYCONIQ_JWKS_URL", default="https://payconiq.com/certificates")
# Where a customer may be sent back to after paying, beside BASE_URL: the apps that sell through the API.
RETURN_ORIGINS = env.list("RETURN_ORIGINS", default=[])
# Where users of the seller's app, who have no login here, are led by e-mails and after paying.
APP_URL = env.str("APP_URL", default="")
# The catalogue preset that `stripe_bootstrap` pushes when none is named.
CATALOGUE_PRESET = env.str("CATALOGUE_PRESET", default="demo")

# --- Limits on what comes from outside, each with its reason ---------------------------------------
WEBHOOK_MAX_BYTES = 262_144  # Stripe's events are a few KiB; more is not an event
WEBHOOK_TOLERANCE_S = 300  # as Stripe's own libraries; applied to the future as well
INBOX_PAYLOAD_DAYS = env.int("INBOX_PAYLOAD_DAYS", default=30)  # as long as Stripe itself still has an event
WEBHOOK_MAX_ATTEMPTS = 20  # with the backoff of billing.webhooks.inbox: about a day
OUTBOX_MAX_ATTEMPTS = 20  # with the backoff of outbox.dispatching: about two days
MAX_WEBHOOK_ENDPOINTS_PER_ACCOUNT = 10
# Payment pages and visits to the billing portal of one account: each calls Stripe, whose limit all customers share.
PAYMENT_PAGES_PER_MINUTE = env.int("PAYMENT_PAGES_PER_MINUTE", default=30)
MAX_WEBHOOK_TESTS_PER_HOUR = 20  # of one endpoint; each is a call from this server to an address that somebody named
MAX_WEBHOOK_REPLAYS_PER_HOUR = 100
# Stripe charges a renewal about an hour after the period ends: so long a renewing plan's credits live on at most.
RENEWAL_GRACE_HOURS = env.int("RENEWAL_GRACE_HOURS", default=24)
# A renewal that bills nothing but a plan is finalised and charged as soon as its event arrives.
FINALIZE_RENEWALS = env.bool("FINALIZE_RENEWALS", default=True)
MAX_PACKS_PER_CHECKOUT = 100
MAX_TOP_UP_BELOW = 1_000_000  # credits; a line that is never reached from above would buy for ever
MAX_TOP_UPS_A_MONTH = 30  # one a day is a plan
MAX_SPENDS_PER_BATCH = 500  # they commit together: more would hold their wallets for too long
RATE_CARD_MAX_AGE_S = 30  # half of the notice that a new price gives (usage.rate_card.NOTICE)
MAX_API_KEYS_PER_ACCOUNT = 20
MAX_TEAMS_PER_USER = 10  # each is an account that is billed; who needs more asks
MAX_OPEN_HOLDS_PER_ACCOUNT = 100  # calls to an AI at the same time; more is a client that forgets to capture
IDLE_AFTER_DAYS = 7  # accounts untouched for longer are settled when they come back, not by jobs

# Outgoing webhooks go to https on the public internet; a sandbox sends them to the app on the same machine.
WEBHOOKS_TO_PRIVATE_ADDRESSES = env.bool("WEBHOOKS_TO_PRIVATE_ADDRESSES", default=SANDBOX)
# Requests a minute; 0 is no limit. A key of an app's backend spends for all of its users, a customer's for one.
REQUESTS_PER_MINUTE_PER_KEY = env.int("REQUESTS_PER_MINUTE_PER_KEY", default=120_000)
REQUESTS_PER_MINUTE_PER_ACCOUNT = env.int("REQUESTS_PER_MINUTE_PER_ACCOUNT", default=6_000)

# --- API -----------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "api.authentication.BearerAuthentication",
        "api.authentication.BrowserSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["api.authentication.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["api.throttling.CallerThrottle"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "api.negotiation.UsualFirstNegotiation",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["api.parsers.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "api.schema.OperationSchema",
    "EXCEPTION_HANDLER": "api.problems.problem_response",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Tegoed API",
    "DESCRIPTION": "Check, spend and buy credits. Errors are RFC 9457 problems with a stable `code`.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "api.problem_codes.describe",
        "config.openapi.complete",
    ],
    "ENUM_NAME_OVERRIDES": {
        "CheckoutStatusEnum": "billing.models.Order.Status",
        "PaymentStateEnum": "billing.models.PaymentRecord.State",
        "BlockCodeEnum": "credits.api.balance.BLOCK_CODES",
        "PlanIntervalEnum": "billing.api.subscription.INTERVALS",
    },
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# Whoever sells to nobody but themselves may let an account's own keys give spends back and settle holds.
BUYERS_MAY_UNDO = env.bool("BUYERS_MAY_UNDO", default=False)
# Whose access tokens are taken beside our own keys and tokens: a JSON list of objects (docs/api.md).
TOKEN_ISSUERS = env.json("TOKEN_ISSUERS", default=[])
# The addresses of the apps that this replaces (config/compat_urls.py).
API_COMPAT_PATHS = env.bool("API_COMPAT_PATHS", default=True)

# --- Operator console ------------------------------------------------------------------------------
UNFOLD = {
    "SITE_TITLE": "branding.console.site_name",
    "SITE_HEADER": "branding.console.site_name",
    "SITE_SUBHEADER": _("Operator console"),
    "SITE_SYMBOL": "toll",
    "SITE_FAVICONS": [
        {"rel": "icon", "href": "branding.console.icon"},
    ],
    "SITE_URL": "/",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "COLORS": {
        "primary": {
            "50": "#eef6f3",
            "100": "#d5ebe3",
            "200": "#aed7c8",
            "300": "#7dbca7",
            "400": "#4f9d86",
            "500": "#32826c",
            "600": "#236857",
            "700": "#1d5447",
            "800": "#19433a",
            "900": "#163831",
            "950": "#0a201c",
        },
    },
    "SIDEBAR": {
        "show_search": True,
        "navigation": "console.navigation.sidebar",
    },
    "COMMAND": {"search_models": ["accounts.account", "billing.order", "accounts.user"], "show_history": True},
    "DASHBOARD_CALLBACK": "console.dashboard.front_page",
    "STYLES": [lambda _request: static("console/console.css")],
}

SUPPORT_GRANT_LIMIT_PER_DAY = env.int("SUPPORT_GRANT_LIMIT_PER_DAY", default=100)
# What gives or takes more credits than this waits for a second person.
APPROVAL_ABOVE_CREDITS = env.int("APPROVAL_ABOVE_CREDITS", default=10_000)
# Refunds and the like, in a currency's minor units: 50,000 is EUR 500.00.
APPROVAL_ABOVE_MINOR = env.int("APPROVAL_ABOVE_MINOR", default=50_000)
# What a service key may grant in a day, unless it was given a number of its own.
SERVICE_KEY_GRANTS_PER_DAY = env.int("SERVICE_KEY_GRANTS_PER_DAY", default=10_000)
# Where each hourly seal of the ledger is published, so that nobody can make another chain unseen: an append-only file
# (best on another machine), a webhook, e-mail addresses.
SEAL_FILE = env.str("SEAL_FILE", default="")
SEAL_WEBHOOK_URL = env.str("SEAL_WEBHOOK_URL", default="")
SEAL_EMAILS = env.list("SEAL_EMAILS", default=[])
# Staff without a second factor are led to set one up. A sandbox has no phones.
STAFF_NEED_SECOND_FACTOR = env.bool("STAFF_NEED_SECOND_FACTOR", default=not SANDBOX)

# --- Metrics: /metrics, for who sends the token; without one there is nothing at that address ----------
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")

# --- Errors: to Sentry, if there is a place for them ------------------------------------------------
SENTRY_DSN = env.str("SENTRY_DSN", default="")
SENTRY_ENVIRONMENT = env.str("SENTRY_ENVIRONMENT", default="sandbox" if SANDBOX else "production")
if SENTRY_DSN:
    sentry.start(dsn=SENTRY_DSN, environment=SENTRY_ENVIRONMENT)

# --- Logs ------------------------------------------------------------------------------------------
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOG_FORMAT = env.str("LOG_FORMAT", default="console" if DEBUG or SANDBOX else "json")
LOGGING = logs.configure(level=LOG_LEVEL, as_json=LOG_FORMAT == "json")
STAFF_HOME = reverse_lazy("admin:index")
