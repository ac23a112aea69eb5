"""manage.py seal_ledger: append a head over all transactions and entries since the last one, and publish it."""

from django.core.management.base import BaseCommand, CommandError

from common import clock
from credits import seal_publishing, seals


class Command(BaseCommand):
    help = (
        "Seal what was added to the ledger since the last seal, and publish the head to SEAL_FILE, SEAL_WEBHOOK_URL "
        "and SEAL_EMAILS. `audit_ledger --verify-seals` finds what was changed afterwards."
    )

    def handle(self, *_arguments: object, **_options: object) -> None:
        now = clock.now()
        count = 0
        try:
            seal_publishing.check_chain()
        except seal_publishing.HeadsFileError as error:
            raise CommandError(str(error)) from error
        while (created := seals.seal(now=now)) is not None:
            count += 1
            seal_publishing.publish(created, now=now)
            self.stdout.write(
                f"Seal {created.number}: {created.transactions} transactions, head {bytes(created.head).hex()}"
            )
        if not count:
            self.stdout.write("Everything is sealed already.")
