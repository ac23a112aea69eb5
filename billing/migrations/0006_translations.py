from django.db import migrations, models


class Migration(migrations.Migration):
    """Texts of plans and packs in other languages."""

    dependencies = [
        ('billing', '0005_what_waits'),
    ]

    operations = [
        migrations.AddField(
            model_name='pack',
            name='translations',
            field=models.JSONField(blank=True, default=dict, verbose_name='translations'),
        ),
        migrations.AddField(
            model_name='plan',
            name='translations',
            field=models.JSONField(blank=True, default=dict, verbose_name='translations'),
        ),
        migrations.AlterField(
            model_name='plan',
            name='rollover',
            field=models.CharField(choices=[('none', 'Expire'), ('capped', 'Roll over up to a limit'), ('all', 'Roll over')], default='none', help_text='Rolls over as long as the plan goes on.', max_length=6, verbose_name='what is not used by the end of the month'),
        ),
    ]
