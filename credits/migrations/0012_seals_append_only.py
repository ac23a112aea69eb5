from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "sql"
DROP = "DROP TRIGGER seal_is_append_only ON credits_seal; DROP TRIGGER seal_is_not_truncated ON credits_seal"


class Migration(migrations.Migration):
    """Seals can be added, and never changed or taken away."""

    dependencies = [("credits", "0011_seals")]

    operations = [migrations.RunSQL((SQL / "seals_append_only.sql").read_text(), DROP)]
