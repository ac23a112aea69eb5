import accounts.public_ids
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Holds, debt, daily caps, low balances, rollover: the columns and their constraints."""

    dependencies = [
        ('accounts', '0001_accounts'),
        ('credits', '0003_spend'),
    ]

    operations = [
        migrations.CreateModel(
            name='Hold',
            fields=[
                ('id', models.UUIDField(default=accounts.public_ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('status', models.CharField(choices=[('open', 'Open'), ('captured', 'Captured'), ('released', 'Released'), ('lapsed', 'Lapsed')], default='open', max_length=8, verbose_name='status')),
                ('amount', models.BigIntegerField(verbose_name='set aside')),
                ('balance_after', models.BigIntegerField(verbose_name='balance after')),
                ('asked', models.BigIntegerField(blank=True, null=True, verbose_name='cost')),
                ('captured', models.BigIntegerField(blank=True, null=True, verbose_name='captured')),
                ('idempotency_key', models.CharField(max_length=255, verbose_name='idempotency key')),
                ('fingerprint', models.BinaryField(max_length=32)),
                ('feature', models.CharField(blank=True, max_length=64, verbose_name='feature')),
                ('quantity', models.BigIntegerField(blank=True, null=True, verbose_name='quantity')),
                ('description', models.CharField(blank=True, max_length=255, verbose_name='description')),
                ('metadata', models.JSONField(blank=True, default=dict, verbose_name='metadata')),
                ('actor', models.CharField(blank=True, max_length=64, verbose_name='by')),
                ('created_at', models.DateTimeField(verbose_name='at')),
                ('expires_at', models.DateTimeField(verbose_name='lapses')),
                ('ended_at', models.DateTimeField(blank=True, null=True, verbose_name='ended')),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='holds', to='accounts.account')),
            ],
            options={
                'verbose_name': 'hold',
                'verbose_name_plural': 'holds',
            },
        ),
        migrations.CreateModel(
            name='HoldLot',
            fields=[
                ('pk', models.CompositePrimaryKey('hold_id', 'grant_id', blank=True, editable=False, primary_key=True, serialize=False)),
                ('hold', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='lots', to='credits.hold')),
                ('grant', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='hold_lots', to='credits.grant')),
                ('account', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.account')),
                ('place', models.SmallIntegerField()),
                ('amount', models.BigIntegerField(verbose_name='amount')),
                ('captured', models.BigIntegerField(default=0, verbose_name='captured')),
            ],
            options={
                'verbose_name': 'part of a hold',
                'verbose_name_plural': 'parts of holds',
            },
        ),
        migrations.RemoveConstraint(
            model_name='transaction',
            name='transaction_moves_something',
        ),
        migrations.RemoveIndex(
            model_name='wallet',
            name='wallet_due',
        ),
        migrations.AddField(
            model_name='allowance',
            name='next_amount',
            field=models.BigIntegerField(blank=True, null=True, verbose_name='credits from the next period on'),
        ),
        migrations.AddField(
            model_name='allowance',
            name='paused_at',
            field=models.DateTimeField(blank=True, null=True, verbose_name='paused'),
        ),
        migrations.AddField(
            model_name='allowance',
            name='rollover',
            field=models.CharField(choices=[('none', 'Nothing'), ('capped', 'Up to a limit'), ('all', 'Everything')], default='none', max_length=6, verbose_name='rolls over'),
        ),
        migrations.AddField(
            model_name='allowance',
            name='rollover_limit',
            field=models.BigIntegerField(blank=True, null=True, verbose_name='at most'),
        ),
        migrations.AddField(
            model_name='allowance',
            name='series',
            field=models.CharField(default='', max_length=200, verbose_name='series'),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='transaction',
            name='debt_change',
            field=models.BigIntegerField(default=0, help_text='Positive when more is owed.', verbose_name='debt'),
        ),
        migrations.AddField(
            model_name='transaction',
            name='due_at',
            field=models.DateTimeField(blank=True, null=True, verbose_name='due'),
        ),
        migrations.AddField(
            model_name='transaction',
            name='reverses',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='reversals', to='credits.transaction'),
        ),
        migrations.AddField(
            model_name='wallet',
            name='cap_date',
            field=models.DateField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='wallet',
            name='cap_day_ends_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='wallet',
            name='cap_day_started_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='wallet',
            name='cap_used',
            field=models.BigIntegerField(default=0, verbose_name='paid credits used today'),
        ),
        migrations.AddField(
            model_name='wallet',
            name='daily_cap',
            field=models.BigIntegerField(blank=True, null=True, verbose_name='daily cap'),
        ),
        migrations.AddField(
            model_name='wallet',
            name='daily_cap_override',
            field=models.BigIntegerField(blank=True, null=True, verbose_name='daily cap of this account'),
        ),
        migrations.AddField(
            model_name='wallet',
            name='debt',
            field=models.BigIntegerField(default=0, verbose_name='owed'),
        ),
        migrations.AddField(
            model_name='wallet',
            name='held',
            field=models.BigIntegerField(default=0, help_text='In open holds; not to be spent otherwise.', verbose_name='set aside'),
        ),
        migrations.AddField(
            model_name='wallet',
            name='low_threshold',
            field=models.BigIntegerField(default=5, verbose_name='low at'),
        ),
        migrations.AddField(
            model_name='wallet',
            name='low_threshold_override',
            field=models.BigIntegerField(blank=True, null=True, verbose_name='low at, for this account'),
        ),
        migrations.AddField(
            model_name='wallet',
            name='touched_on',
            field=models.DateField(blank=True, null=True, verbose_name='last active'),
        ),
        migrations.AlterField(
            model_name='transaction',
            name='kind',
            field=models.CharField(choices=[('grant', 'Credits added'), ('spend', 'Credits spent'), ('expire', 'Credits expired'), ('reverse', 'Credits given back'), ('revoke', 'Credits taken back'), ('adjust', 'Adjusted'), ('debt', 'Debt paid')], max_length=10, verbose_name='kind'),
        ),
        migrations.AddIndex(
            model_name='allowance',
            index=models.Index(fields=['account', 'series'], name='allowance_series'),
        ),
        migrations.AddIndex(
            model_name='grant',
            index=models.Index(condition=models.Q(('is_open', True), models.Q(('source', 'free'), _negated=True)), fields=['expires_at'], name='grant_expiring'),
        ),
        migrations.AddIndex(
            model_name='wallet',
            index=models.Index(fields=['touched_on', 'next_due_at'], name='wallet_active'),
        ),
        migrations.AddConstraint(
            model_name='allowance',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('rollover', 'capped'), ('rollover_limit__gte', 0)), models.Q(models.Q(('rollover', 'capped'), _negated=True), ('rollover_limit__isnull', True)), _connector='OR'), name='allowance_capped_rollover_has_a_limit'),
        ),
        migrations.AddConstraint(
            model_name='allowance',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', True), ('paused_at__isnull', True)), ('next_at__isnull', True), _connector='OR'), name='allowance_at_rest_has_no_next'),
        ),
        migrations.AddConstraint(
            model_name='wallet',
            constraint=models.CheckConstraint(condition=models.Q(('held__gte', 0)), name='wallet_held_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='wallet',
            constraint=models.CheckConstraint(condition=models.Q(('debt__gte', 0)), name='wallet_debt_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='wallet',
            constraint=models.CheckConstraint(condition=models.Q(('cap_used__gte', 0)), name='wallet_cap_used_not_negative'),
        ),
        migrations.AddField(
            model_name='transaction',
            name='hold',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='transactions', to='credits.hold'),
        ),
        migrations.AddIndex(
            model_name='transaction',
            index=models.Index(condition=models.Q(('reverses__isnull', False)), fields=['account', 'reverses'], name='transaction_reversals'),
        ),
        migrations.AddIndex(
            model_name='transaction',
            index=models.Index(condition=models.Q(('hold__isnull', False)), fields=['account', 'hold'], name='transaction_captures'),
        ),
        migrations.AddConstraint(
            model_name='transaction',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('amount', 0), _negated=True), models.Q(('debt_change', 0), _negated=True), _connector='OR'), name='transaction_moves_something'),
        ),
        migrations.AddIndex(
            model_name='hold',
            index=models.Index(condition=models.Q(('status', 'open')), fields=['account', 'expires_at'], name='hold_open'),
        ),
        migrations.AddIndex(
            model_name='hold',
            index=models.Index(condition=models.Q(('status', 'open')), fields=['expires_at'], name='hold_lapsing'),
        ),
        migrations.AddConstraint(
            model_name='hold',
            constraint=models.CheckConstraint(condition=models.Q(('amount__gt', 0)), name='hold_amount_positive'),
        ),
        migrations.AddConstraint(
            model_name='hold',
            constraint=models.CheckConstraint(condition=models.Q(('expires_at__gt', models.F('created_at'))), name='hold_lapses_after_it_starts'),
        ),
        migrations.AddConstraint(
            model_name='hold',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', True), ('status', 'open')), models.Q(models.Q(('status', 'open'), _negated=True), ('ended_at__isnull', False)), _connector='OR'), name='hold_is_open_or_has_ended'),
        ),
        migrations.AddConstraint(
            model_name='hold',
            constraint=models.CheckConstraint(condition=models.Q(('captured__isnull', True), models.Q(('captured__gt', 0), ('captured__lte', models.F('asked'))), _connector='OR'), name='hold_captured_within_cost'),
        ),
        migrations.AddConstraint(
            model_name='hold',
            constraint=models.UniqueConstraint(fields=('account', 'idempotency_key'), name='hold_once_per_key'),
        ),
        migrations.AddConstraint(
            model_name='holdlot',
            constraint=models.CheckConstraint(condition=models.Q(('amount__gt', 0)), name='hold_lot_amount_positive'),
        ),
        migrations.AddConstraint(
            model_name='holdlot',
            constraint=models.CheckConstraint(condition=models.Q(('captured__gte', 0), ('captured__lte', models.F('amount'))), name='hold_lot_captured_within_amount'),
        ),
        migrations.AlterField(
            model_name='entry',
            name='grant',
            field=models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='entries', to='credits.grant'),
        ),
        migrations.AlterField(
            model_name='entry',
            name='transaction',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='entries', to='credits.transaction'),
        ),
        # What was promised before there were series is a series of its own.
        migrations.RunSQL("UPDATE credits_allowance SET series = source_key", migrations.RunSQL.noop),
    ]
