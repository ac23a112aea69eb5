from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "sql"


class Migration(migrations.Migration):
    """Credits whose money went back while they were spent or held are taken when they come back."""

    dependencies = [("credits", "0013_grace_of_renewals")]

    operations = [
        migrations.AddField("grant", "awaited", models.BigIntegerField(db_default=0, default=0, editable=False)),
        migrations.AddConstraint(
            "grant",
            models.CheckConstraint(
                condition=models.Q(("awaited__gte", 0), ("awaited__lte", models.F("amount"))),
                name="grant_awaits_no_more_than_it_gave",
            ),
        ),
        migrations.RunSQL(
            (SQL / "capture_v4.sql").read_text(), "DROP FUNCTION credits_capture;" + (SQL / "capture_v3.sql").read_text()
        ),
    ]
