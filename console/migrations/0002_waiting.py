from django.db import migrations, models


class Migration(migrations.Migration):
    """A label of approvals."""

    dependencies = [
        ('console', '0001_initial'),
    ]

    operations = [
        migrations.AlterField(
            model_name='approval',
            name='state',
            field=models.CharField(choices=[('pending', 'Waiting'), ('approved', 'Approved'), ('refused', 'Refused')], default='pending', max_length=8, verbose_name='state'),
        ),
    ]
