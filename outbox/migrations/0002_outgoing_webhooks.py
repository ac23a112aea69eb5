import accounts.public_ids
import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0003_identities_of_issuers'),
        ('outbox', '0001_outbox'),
    ]

    operations = [
        migrations.AlterField(
            model_name='alert',
            name='kind',
            field=models.CharField(choices=[('payment_failed', 'Payment failed'), ('dispute', 'Dispute'), ('review', 'Paid, but not as ordered'), ('unplaced', 'Paid, but not placed'), ('webhook_dead', 'Webhook given up'), ('no_webhooks', 'No webhooks come in'), ('two_plans', 'Two plans at once'), ('top_up_failed', 'Top-up failed'), ('transfer_due', 'A refund to be transferred'), ('reconciliation', 'Stripe and the ledger disagree'), ('ledger', 'The ledger disagrees with itself'), ('webhook_off', 'An outgoing webhook was switched off')], max_length=20, verbose_name='kind'),
        ),
        migrations.CreateModel(
            name='WebhookEndpoint',
            fields=[
                ('id', models.UUIDField(default=accounts.public_ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('url', models.CharField(max_length=500, verbose_name='address')),
                ('description', models.CharField(blank=True, max_length=120, verbose_name='description')),
                ('events', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=64), blank=True, default=list, help_text='Empty: all.', size=None, verbose_name='events')),
                ('secret', models.TextField(editable=False)),
                ('old_secret', models.TextField(blank=True, editable=False)),
                ('old_secret_until', models.DateTimeField(blank=True, editable=False, null=True)),
                ('created_at', models.DateTimeField(verbose_name='created')),
                ('created_by', models.CharField(blank=True, max_length=64, verbose_name='by')),
                ('failing_since', models.DateTimeField(blank=True, null=True, verbose_name='failing since')),
                ('disabled_at', models.DateTimeField(blank=True, null=True, verbose_name='switched off')),
                ('disabled_why', models.CharField(blank=True, max_length=120, verbose_name='why')),
                ('account', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='webhook_endpoints', to='accounts.account')),
            ],
            options={
                'verbose_name': 'webhook endpoint',
                'verbose_name_plural': 'webhook endpoints',
            },
        ),
        migrations.CreateModel(
            name='WebhookDelivery',
            fields=[
                ('id', models.UUIDField(default=accounts.public_ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('attempts', models.PositiveSmallIntegerField(default=0, verbose_name='attempts')),
                ('next_attempt_at', models.DateTimeField(blank=True, null=True, verbose_name='next attempt')),
                ('delivered_at', models.DateTimeField(blank=True, null=True, verbose_name='delivered')),
                ('status_code', models.PositiveSmallIntegerField(blank=True, null=True, verbose_name='answer')),
                ('answer', models.TextField(blank=True, verbose_name='what it said')),
                ('duration_ms', models.PositiveIntegerField(blank=True, null=True, verbose_name='took (ms)')),
                ('created_at', models.DateTimeField(verbose_name='created')),
                ('event', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='outbox.outboxevent')),
                ('endpoint', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='outbox.webhookendpoint')),
            ],
            options={
                'verbose_name': 'webhook delivery',
                'verbose_name_plural': 'webhook deliveries',
            },
        ),
        migrations.AddIndex(
            model_name='webhookendpoint',
            index=models.Index(condition=models.Q(('disabled_at', None)), fields=['account'], name='endpoint_listening'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('next_attempt_at__isnull', False)), fields=['next_attempt_at'], name='delivery_due'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(fields=['endpoint', '-id'], name='delivery_log'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.UniqueConstraint(fields=('endpoint', 'event'), name='delivery_once_per_endpoint'),
        ),
    ]
