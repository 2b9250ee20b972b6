"""`manage.py prepare`: tables, and a user for the admin."""

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, call_command


class Command(BaseCommand):
    help = "make the tables, and the user 'admin' with the password 'admin'"

    def handle(self, *args, **options):
        call_command("migrate", verbosity=options["verbosity"], interactive=False)
        people = get_user_model().objects
        admin, _ = people.get_or_create(username="admin", defaults={"is_staff": True, "is_superuser": True})
        admin.set_password("admin")
        admin.save()
