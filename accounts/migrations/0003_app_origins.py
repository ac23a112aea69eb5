import accounts.origins
from django.db import migrations, models


class Migration(migrations.Migration):
    """Where the seller's apps are at home: who may call the API from browsers, and where customers return to."""

    dependencies = [
        ('accounts', '0002_key_rotations'),
    ]

    operations = [
        migrations.CreateModel(
            name='AppOrigin',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('origin', models.CharField(help_text='Scheme and host, such as https://app.example.com.', max_length=200, unique=True, validators=[accounts.origins.validate_origin], verbose_name='origin')),
                ('may_call', models.BooleanField(default=True, help_text='With a key or token; cookies are never taken.', verbose_name='may call the API from browsers')),
                ('may_return', models.BooleanField(default=True, help_text='After paying, and from the billing portal.', verbose_name='customers may be sent back to it')),
            ],
            options={
                'verbose_name': 'app address',
                'verbose_name_plural': 'app addresses',
            },
        ),
    ]
