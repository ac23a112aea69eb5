import accounts.origins
import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Apps of the seller: where they are at home, their users on the hosted pages, and what they keep with an account."""

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
        migrations.AddField(
            model_name='account',
            name='metadata',
            field=models.JSONField(blank=True, default=dict, help_text="What the app's backend keeps here; customers do not see it.", verbose_name='metadata'),
        ),
        migrations.AddField(
            model_name='user',
            name='is_guest',
            field=models.BooleanField(default=False, editable=False, verbose_name='guest'),
        ),
        migrations.AlterField(
            model_name='apikey',
            name='scopes',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('credits:read', 'See balances and the ledger'), ('credits:spend', 'Spend credits'), ('credits:grant', 'Grant credits'), ('billing:write', 'Start purchases'), ('usage:read', 'See usage'), ('accounts:write', 'Open, see, change and erase accounts')], max_length=20), size=None, verbose_name='may'),
        ),
        migrations.CreateModel(
            name='UsedCustomerSession',
            fields=[
                ('nonce', models.CharField(max_length=32, primary_key=True, serialize=False)),
                ('used_at', models.DateTimeField(db_index=True)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.account')),
            ],
        ),
    ]
