import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Prices that are replaced, running plans that move to the new one, and discount codes."""

    dependencies = [
        ('billing', '0003_first_trial'),
    ]

    operations = [
        migrations.AddField(
            model_name='pack',
            name='agreed_credits',
            field=models.PositiveIntegerField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='plan',
            name='agreed_credits',
            field=models.PositiveIntegerField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='price',
            name='replaced_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='replaces', to='billing.price', verbose_name='replaced by'),
        ),
        migrations.CreateModel(
            name='DiscountCode',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('code', models.CharField(max_length=40, unique=True, verbose_name='code')),
                ('name', models.CharField(help_text='As customers read it.', max_length=40, verbose_name='name')),
                ('percent', models.PositiveSmallIntegerField(verbose_name='percent off')),
                ('duration', models.CharField(choices=[('once', 'the first payment'), ('repeating', 'some months'), ('forever', 'every payment')], default='once', max_length=9, verbose_name='on plans, for')),
                ('months', models.PositiveSmallIntegerField(blank=True, null=True, verbose_name='months')),
                ('is_first_purchase', models.BooleanField(default=False, verbose_name='on the first purchase only')),
                ('max_uses', models.PositiveIntegerField(blank=True, null=True, verbose_name='uses, at most')),
                ('ends_at', models.DateTimeField(blank=True, null=True, verbose_name='until')),
                ('is_active', models.BooleanField(default=True, verbose_name='active')),
                ('stripe_coupon_id', models.CharField(max_length=255, verbose_name='Stripe coupon')),
                ('stripe_promotion_code_id', models.CharField(max_length=255, unique=True, verbose_name='Stripe promotion code')),
                ('packs', models.ManyToManyField(blank=True, related_name='discount_codes', to='billing.pack', verbose_name='packs')),
                ('plans', models.ManyToManyField(blank=True, related_name='discount_codes', to='billing.plan', verbose_name='plans')),
            ],
            options={
                'verbose_name': 'discount code',
                'verbose_name_plural': 'discount codes',
                'constraints': [models.CheckConstraint(condition=models.Q(('percent__gte', 1), ('percent__lte', 100)), name='discount_is_a_part'), models.CheckConstraint(condition=models.Q(models.Q(('duration', 'repeating'), ('months__isnull', False)), models.Q(models.Q(('duration', 'repeating'), _negated=True), ('months', None)), _connector='OR'), name='discount_months_where_it_repeats')],
            },
        ),
        migrations.CreateModel(
            name='PriceMove',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('notice_days', models.PositiveSmallIntegerField(verbose_name='days of notice')),
                ('actor', models.CharField(max_length=64, verbose_name='by')),
                ('created_at', models.DateTimeField(verbose_name='begun')),
                ('announced_at', models.DateTimeField(blank=True, null=True, verbose_name='announced')),
                ('ended_at', models.DateTimeField(blank=True, null=True, verbose_name='done')),
                ('problem', models.TextField(blank=True, verbose_name='last problem')),
                ('from_price', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='moves_away', to='billing.price')),
                ('to_price', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='moves_here', to='billing.price')),
            ],
            options={
                'verbose_name': 'move of running plans',
                'verbose_name_plural': 'moves of running plans',
                'constraints': [models.CheckConstraint(condition=models.Q(('from_price', models.F('to_price')), _negated=True), name='price_move_goes_elsewhere'), models.UniqueConstraint(condition=models.Q(('ended_at__isnull', True)), fields=('from_price',), name='one_open_move_from_a_price')],
            },
        ),
    ]
