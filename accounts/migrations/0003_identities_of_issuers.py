import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_account_language'),
    ]

    operations = [
        migrations.AddField(
            model_name='externalidentity',
            name='ended_at',
            field=models.DateTimeField(blank=True, null=True, verbose_name='deleted there'),
        ),
        migrations.AddField(
            model_name='externalidentity',
            name='issuer',
            field=models.CharField(blank=True, max_length=255, verbose_name='issuer'),
        ),
        migrations.AddField(
            model_name='externalidentity',
            name='told_at',
            field=models.DateTimeField(default=django.utils.timezone.now, verbose_name='last told of'),
        ),
        migrations.AddField(
            model_name='externalidentity',
            name='user',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='identities', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AlterField(
            model_name='externalidentity',
            name='subject',
            field=models.CharField(max_length=255, verbose_name='their id'),
        ),
        migrations.AddConstraint(
            model_name='externalidentity',
            constraint=models.UniqueConstraint(fields=('issuer', 'subject'), name='identity_once_per_issuer'),
        ),
    ]
