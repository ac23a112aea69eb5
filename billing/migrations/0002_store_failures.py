from django.db import migrations


class Migration(migrations.Migration):
    """What dj-stripe could not store is called that."""

    dependencies = [("billing", "0001_initial")]

    operations = [
        migrations.RenameModel("MirrorFailure", "StoreFailure"),
        migrations.RenameIndex("storefailure", new_name="store_failure_due", old_name="mirror_failure_due"),
    ]
