from pathlib import Path

from django.db import migrations, models

from accounts.public_ids import public_id

SQL = Path(__file__).resolve().parent.parent / "sql"
SIDES = [("buyer", "Buyer"), ("seller", "Seller"), ("internal", "Internal")]
# Whose key was it? The service keys' are the seller's, those of ours begin as we let them begin, the rest is the buyer's.
BACKFILL = """
    UPDATE {table} SET side = CASE
        WHEN actor = ANY(%s) OR actor = 'admin-key' THEN 'seller'
        WHEN actor LIKE 'key\\_%%' OR actor LIKE 'acc\\_%%' THEN 'buyer'
        WHEN actor LIKE 'user:%%' AND idempotency_key !~ '^(§|console:|undo:|closing:|bulk:)' THEN 'buyer'
        ELSE 'internal'
    END
    WHERE idempotency_key IS NOT NULL
"""


def sql(name):
    return (SQL / name).read_text()


def sort_into_sides(apps, schema_editor):
    keys = apps.get_model("accounts", "ApiKey").objects.filter(account=None).values_list("pk", flat=True)
    service_actors = [public_id("key", key) for key in keys]
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("ALTER TABLE credits_transaction DISABLE TRIGGER USER")
        cursor.execute(BACKFILL.format(table="credits_transaction"), [service_actors])
        cursor.execute(
            "UPDATE credits_transaction SET idempotency_key = ltrim(idempotency_key, '§') WHERE idempotency_key LIKE '§%%'",
            [],
        )
        cursor.execute("ALTER TABLE credits_transaction ENABLE TRIGGER USER")
        cursor.execute(BACKFILL.format(table="credits_hold"), [service_actors])
        cursor.execute(
            "UPDATE credits_wallet w SET closed_at = a.closed_at FROM accounts_account a"
            " WHERE a.id = w.account_id AND a.closed_at IS NOT NULL"
        )


def side():
    return models.CharField(choices=SIDES, db_default="internal", default="internal", max_length=8, verbose_name="side")


class Migration(migrations.Migration):
    """Idempotency keys belong to a side; a wallet knows when its account was closed."""

    dependencies = [("credits", "0008_debts"), ("accounts", "0007_mailboxes")]

    operations = [
        migrations.AddField("transaction", "side", side()),
        migrations.AddField("hold", "side", side()),
        migrations.AddField(
            "wallet", "closed_at", models.DateTimeField(blank=True, null=True, verbose_name="account closed")
        ),
        migrations.RunPython(sort_into_sides, migrations.RunPython.noop),
        migrations.RemoveConstraint("transaction", "transaction_once_per_key"),
        migrations.AddConstraint(
            "transaction",
            models.UniqueConstraint(
                condition=models.Q(("idempotency_key__isnull", False)),
                fields=("account", "side", "idempotency_key"),
                name="transaction_once_per_key",
            ),
        ),
        migrations.RemoveConstraint("hold", "hold_once_per_key"),
        migrations.AddConstraint(
            "hold",
            models.UniqueConstraint(fields=("account", "side", "idempotency_key"), name="hold_once_per_key"),
        ),
        migrations.RunSQL(
            sql("refusal_v2.sql"), "DROP FUNCTION credits_returned"
        ),
        migrations.RunSQL("DROP FUNCTION credits_spend", sql("spend_v3.sql")),
        migrations.RunSQL(sql("spend_v4.sql"), "DROP FUNCTION credits_spend"),
        migrations.RunSQL("DROP FUNCTION credits_hold", sql("hold_v1.sql").partition("-- What a hold took")[0]),
        migrations.RunSQL(sql("hold_v2.sql"), "DROP FUNCTION credits_hold"),
        migrations.RunSQL("DROP FUNCTION credits_capture", sql("capture_v2.sql")),
        migrations.RunSQL(sql("capture_v3.sql"), "DROP FUNCTION credits_capture"),
    ]
