from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parent.parent / "sql"
DROP = """
DROP TRIGGER audit_event_is_append_only ON console_auditevent;
DROP TRIGGER audit_event_is_not_truncated ON console_auditevent;
"""


class Migration(migrations.Migration):
    """Audit events can be added, and never changed or taken away."""

    dependencies = [("console", "0001_console"), ("credits", "0005_ledger_functions")]

    operations = [migrations.RunSQL((SQL / "append_only.sql").read_text(), DROP)]
