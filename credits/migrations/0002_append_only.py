from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "sql"


class Migration(migrations.Migration):
    """Transactions and entries can be added, and never changed or taken away."""

    dependencies = [("credits", "0001_ledger")]

    operations = [
        migrations.RunSQL((SQL / "append_only.sql").read_text(), (SQL / "append_only.drop.sql").read_text()),
    ]
