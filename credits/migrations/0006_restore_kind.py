from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('credits', '0005_ledger_functions'),
    ]

    operations = [
        migrations.AlterField(
            model_name='transaction',
            name='kind',
            field=models.CharField(choices=[('grant', 'Credits added'), ('spend', 'Credits spent'), ('expire', 'Credits expired'), ('reverse', 'Credits given back'), ('revoke', 'Credits taken back'), ('restore', 'Credits restored'), ('adjust', 'Adjusted'), ('debt', 'Debt paid')], max_length=10, verbose_name='kind'),
        ),
    ]
