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
    ]
