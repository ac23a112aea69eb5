from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "sql"


def sql(name: str) -> str:
    return (SQL / name).read_text()


class Migration(migrations.Migration):
    """A spend remembers what was used. The new functions' parameters have defaults: a process of the release before
    goes on calling them as it did."""

    dependencies = [("credits", "0006_restore_kind")]

    operations = [
        migrations.AddField(
            model_name="transaction",
            name="usage",
            field=models.JSONField(blank=True, editable=False, null=True, verbose_name="usage"),
        ),
        migrations.RunSQL("DROP FUNCTION credits_spend", sql("spend_v2.sql")),
        migrations.RunSQL(sql("spend_v3.sql"), "DROP FUNCTION credits_spend"),
        migrations.RunSQL("DROP FUNCTION credits_capture", sql("capture_v1.sql")),
        migrations.RunSQL(sql("capture_v2.sql"), "DROP FUNCTION credits_capture"),
    ]
