from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('credits', '0005_ledger_functions'),
    ]

    operations = [
        migrations.AddField(
            model_name="grant",
            name="is_top_up",
            field=models.BooleanField(default=False, verbose_name="added by an upgrade"),
        ),
        migrations.AlterField(
            model_name='transaction',
            name='kind',
            field=models.CharField(choices=[('grant', 'Credits added'), ('spend', 'Credits spent'), ('expire', 'Credits expired'), ('reverse', 'Credits given back'), ('revoke', 'Credits taken back'), ('restore', 'Credits restored'), ('adjust', 'Adjusted'), ('debt', 'Debt paid')], max_length=10, verbose_name='kind'),
        ),
    ]
