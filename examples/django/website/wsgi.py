"""The WSGI application."""

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "website.settings")

# static files from here keep the example to one process; a real site lets nginx serve them
application = StaticFilesHandler(get_wsgi_application())
