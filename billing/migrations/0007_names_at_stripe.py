from django.db import migrations, models


class Migration(migrations.Migration):
    """The name that a customer has at Stripe, while it is the account's."""

    dependencies = [
        ('billing', '0006_translations'),
    ]

    operations = [
        migrations.AddField(
            model_name='stripecustomer',
            name='name',
            field=models.CharField(blank=True, max_length=150, verbose_name='name at Stripe'),
        ),
    ]
