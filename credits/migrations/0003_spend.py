from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "sql"


class Migration(migrations.Migration):
    """The function that spends. A later version of it is a file and a migration of its own."""

    dependencies = [("credits", "0002_append_only")]

    operations = [
        migrations.RunSQL((SQL / "spend_v1.sql").read_text(), "DROP FUNCTION credits_spend"),
    ]
