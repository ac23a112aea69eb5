from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "sql"


def sql(name: str) -> str:
    return (SQL / name).read_text()


class Migration(migrations.Migration):
    """Spending with limits and debt, and holds; rows that are updated often keep room on their page for it."""

    dependencies = [("credits", "0004_ledger_complete")]

    operations = [
        migrations.RunSQL("DROP FUNCTION credits_spend", sql("spend_v1.sql")),
        migrations.RunSQL(
            sql("draw_v1.sql"),
            "DROP FUNCTION credits_crossed; DROP FUNCTION credits_lots; DROP FUNCTION credits_draw;"
            "DROP FUNCTION credits_refusal",
        ),
        migrations.RunSQL(sql("spend_v2.sql"), "DROP FUNCTION credits_spend"),
        migrations.RunSQL(sql("hold_v1.sql"), "DROP FUNCTION credits_hold_lots; DROP FUNCTION credits_hold"),
        migrations.RunSQL(sql("capture_v1.sql"), "DROP FUNCTION credits_capture"),
        migrations.RunSQL(
            "ALTER TABLE credits_wallet SET (fillfactor = 50); ALTER TABLE credits_grant SET (fillfactor = 70)",
            "ALTER TABLE credits_wallet RESET (fillfactor); ALTER TABLE credits_grant RESET (fillfactor)",
        ),
    ]
