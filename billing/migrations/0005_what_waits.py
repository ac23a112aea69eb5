from django.db import migrations, models


class Migration(migrations.Migration):
    """Indexes of what waits for an operator: orders in review, and plans whose payment failed."""

    dependencies = [
        ('accounts', '0002_key_rotations'),
        ('billing', '0004_catalogue_from_the_console'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='order',
            index=models.Index(condition=models.Q(('status', 'review')), fields=['created_at'], name='order_in_review'),
        ),
        migrations.AddIndex(
            model_name='subscription',
            index=models.Index(condition=models.Q(('status__in', ['past_due', 'unpaid'])), fields=['current_period_end'], name='subscription_payment_failed'),
        ),
    ]
