import django.db.models.deletion
from datetime import datetime, timezone

from django.db import migrations, models

ALWAYS = datetime(2000, 1, 1, tzinfo=timezone.utc)


def from_features(apps, schema_editor):
    """Each feature's one price becomes the first of its prices."""
    price = apps.get_model("usage", "FeaturePrice")
    for feature in apps.get_model("usage", "Feature").objects.all():
        price.objects.create(feature=feature, credits=feature.credits, effective_from=ALWAYS)


def to_features(apps, schema_editor):
    """The latest price per unit is the feature's one price again."""
    price = apps.get_model("usage", "FeaturePrice")
    for row in price.objects.filter(model="", basis="unit").order_by("effective_from"):
        apps.get_model("usage", "Feature").objects.filter(pk=row.feature_id).update(credits=row.credits)


class Migration(migrations.Migration):

    dependencies = [("usage", "0001_features")]

    operations = [
        migrations.CreateModel(
            name='FeaturePrice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('model', models.CharField(blank=True, help_text='As the app names it in a spend; empty for every other.', max_length=100, verbose_name='AI model')),
                ('basis', models.CharField(choices=[('unit', 'Per unit'), ('1k_tokens', 'Per 1,000 tokens')], default='unit', max_length=9, verbose_name='basis')),
                ('credits', models.PositiveIntegerField(default=1, help_text='Per unit, or per 1,000 tokens.', verbose_name='credits')),
                ('output_credits', models.PositiveIntegerField(blank=True, help_text='Per 1,000 tokens of output, if they differ.', null=True, verbose_name='credits for output')),
                ('effective_from', models.DateTimeField(verbose_name='from')),
                ('feature', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='prices', to='usage.feature')),
            ],
            options={
                'verbose_name': 'price of a feature',
                'verbose_name_plural': 'prices of features',
                'constraints': [models.CheckConstraint(condition=models.Q(('credits__gt', 0)), name='feature_price_costs_something'), models.CheckConstraint(condition=models.Q(('output_credits__isnull', True), models.Q(('basis', '1k_tokens'), ('output_credits__gt', 0)), _connector='OR'), name='feature_price_of_output_is_for_tokens'), models.UniqueConstraint(fields=('feature', 'model', 'effective_from'), name='feature_price_once_per_moment')],
            },
        ),
        migrations.RunPython(from_features, to_features),
        migrations.RemoveConstraint(model_name='feature', name='feature_costs_something'),
        migrations.RemoveField(model_name='feature', name='credits'),
        migrations.AlterField(
            model_name='feature',
            name='unit',
            field=models.CharField(default='use', help_text='What is counted: a message, an image.', max_length=40, verbose_name='unit'),
        ),
    ]
