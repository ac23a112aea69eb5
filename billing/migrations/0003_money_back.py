import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_accounts'),
        ('billing', '0002_plan_limits'),
    ]

    operations = [
        migrations.AddField(
            model_name='order',
            name='is_disputed',
            field=models.BooleanField(default=False, verbose_name='disputed'),
        ),
        migrations.AddField(
            model_name='order',
            name='refunded_minor',
            field=models.PositiveBigIntegerField(default=0, verbose_name='refunded'),
        ),
        migrations.CreateModel(
            name='Clawback',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('grant_source_key', models.CharField(max_length=255, verbose_name='grant')),
                ('cause', models.CharField(choices=[('refund', 'Refund'), ('dispute', 'Dispute')], max_length=7, verbose_name='cause')),
                ('stripe_charge_id', models.CharField(db_index=True, max_length=255, verbose_name='Stripe charge')),
                ('target', models.PositiveBigIntegerField(default=0, verbose_name='to take back')),
                ('taken', models.PositiveBigIntegerField(default=0, verbose_name='taken')),
                ('owed', models.PositiveBigIntegerField(default=0, verbose_name='became debt')),
                ('steps', models.PositiveIntegerField(default=0, editable=False)),
                ('seen', models.CharField(blank=True, max_length=120, verbose_name='seen')),
                ('updated_at', models.DateTimeField(verbose_name='updated')),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='clawbacks', to='accounts.account')),
            ],
            options={
                'verbose_name': 'clawback',
                'verbose_name_plural': 'clawbacks',
                'constraints': [models.UniqueConstraint(fields=('account', 'grant_source_key', 'cause'), name='clawback_once_per_grant_and_cause')],
            },
        ),
    ]
