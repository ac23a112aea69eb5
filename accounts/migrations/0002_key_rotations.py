import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Which key another one was rotated from."""

    dependencies = [
        ('accounts', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='apikey',
            name='follows',
            field=models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='followers', to='accounts.apikey'),
        ),
    ]
