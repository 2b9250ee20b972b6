"""The application's name, as Django wants it."""

from django.apps import AppConfig


class PagesConfig(AppConfig):
    name = "pages"
