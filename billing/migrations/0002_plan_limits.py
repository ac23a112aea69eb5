from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0001_billing'),
    ]

    operations = [
        migrations.AddField(
            model_name='plan',
            name='daily_cap',
            field=models.PositiveIntegerField(blank=True, default=100, help_text='Empty for no limit. An account may have its own.', null=True, verbose_name='paid credits a day, at most'),
        ),
        migrations.AddField(
            model_name='plan',
            name='rollover',
            field=models.CharField(choices=[('none', 'Is gone'), ('capped', 'Rolls over up to a limit'), ('all', 'Rolls over')], default='none', help_text='Rolls over as long as the plan goes on.', max_length=6, verbose_name='what is not used by the end of the month'),
        ),
        migrations.AddField(
            model_name='plan',
            name='rollover_limit',
            field=models.PositiveIntegerField(blank=True, null=True, verbose_name='rolls over at most'),
        ),
        migrations.AddConstraint(
            model_name='plan',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('rollover', 'capped'), ('rollover_limit__isnull', False)), models.Q(models.Q(('rollover', 'capped'), _negated=True), ('rollover_limit__isnull', True)), _connector='OR'), name='plan_capped_rollover_has_a_limit'),
        ),
    ]
