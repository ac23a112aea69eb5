import branding.models
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Name, logo, colour, sender and links of the shop, in versions."""

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Brand',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(help_text="On pages, e-mails, the API's documents, checkout.", max_length=40, verbose_name='name')),
                ('description', models.CharField(blank=True, help_text='One sentence, for search engines and shared links.', max_length=200, verbose_name='description')),
                ('accent', models.CharField(blank=True, help_text='Of buttons and links, as #236857. Where it could not be read, pages use a shade of it.', max_length=7, validators=[django.core.validators.RegexValidator('^#[0-9a-fA-F]{6}\\Z', 'Write a colour as #236857.')], verbose_name='colour')),
                ('sender', models.CharField(blank=True, help_text='As Acme <billing@acme.com>. Your mail server must be allowed to send for it.', max_length=200, validators=[branding.models.validate_sender], verbose_name='sender of e-mails')),
                ('support_email', models.EmailField(blank=True, max_length=254, verbose_name='support address')),
                ('terms_url', models.CharField(blank=True, max_length=300, validators=[django.core.validators.URLValidator(schemes=['https', 'http'])], verbose_name='terms')),
                ('privacy_url', models.CharField(blank=True, max_length=300, validators=[django.core.validators.URLValidator(schemes=['https', 'http'])], verbose_name='privacy')),
                ('imprint_url', models.CharField(blank=True, max_length=300, validators=[django.core.validators.URLValidator(schemes=['https', 'http'])], verbose_name='imprint')),
                ('logo', models.BinaryField(blank=True, default=bytes, verbose_name='logo')),
                ('dark_logo', models.BinaryField(blank=True, default=bytes, verbose_name='logo on dark pages')),
                ('icon', models.BinaryField(blank=True, default=bytes, verbose_name='icon')),
                ('logo_type', models.CharField(blank=True, editable=False, max_length=20)),
                ('dark_logo_type', models.CharField(blank=True, editable=False, max_length=20)),
                ('icon_type', models.CharField(blank=True, editable=False, max_length=20)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='made')),
                ('published_at', models.DateTimeField(blank=True, db_index=True, editable=False, null=True, verbose_name='published')),
                ('created_by', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='made by')),
            ],
            options={
                'verbose_name': 'brand',
                'verbose_name_plural': 'brand',
            },
        ),
    ]
