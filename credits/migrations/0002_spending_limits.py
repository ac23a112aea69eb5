import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from credits.functions import InstallFunctions


class Migration(migrations.Migration):
    """Limits of what one key or one member spends in a day and in a month."""

    dependencies = [
        ('accounts', '0001_initial'),
        ('credits', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='wallet',
            name='has_spending_limits',
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.CreateModel(
            name='SpendingLimit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('subject', models.CharField(max_length=64, verbose_name='whose')),
                ('actors', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=64), size=None, verbose_name='counts')),
                ('per_day', models.BigIntegerField(blank=True, null=True, verbose_name='a day')),
                ('per_month', models.BigIntegerField(blank=True, null=True, verbose_name='a month')),
                ('is_hard', models.BooleanField(default=True, verbose_name='refuses')),
                ('day_used', models.BigIntegerField(default=0, verbose_name='used today')),
                ('month_used', models.BigIntegerField(default=0, verbose_name='used this month')),
                ('day_started_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('day_ends_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('month_started_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('month_ends_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='spending_limits', to='accounts.account')),
            ],
            options={
                'verbose_name': 'spending limit',
                'verbose_name_plural': 'spending limits',
                'constraints': [models.UniqueConstraint(fields=('account', 'subject'), name='spending_limit_once_per_subject'), models.CheckConstraint(condition=models.Q(models.Q(('per_day__gt', 0), ('per_day', None), _connector='OR'), models.Q(('per_month__gt', 0), ('per_month', None), _connector='OR')), name='spending_limit_is_positive'), models.CheckConstraint(condition=models.Q(('day_used__gte', 0), ('month_used__gte', 0)), name='spending_limit_use_not_negative')],
            },
        ),
        InstallFunctions(),
    ]
