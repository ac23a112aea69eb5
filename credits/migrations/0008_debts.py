from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Made beside the spending that goes on."""

    atomic = False

    dependencies = [("credits", "0007_usage")]

    operations = [
        AddIndexConcurrently(
            model_name="transaction",
            index=models.Index(
                condition=models.Q(("debt_change", 0), _negated=True), fields=["account"], name="transaction_debts"
            ),
        ),
    ]
