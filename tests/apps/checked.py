"""Another application, named by CHECKED as MODULE:CALLABLE, with a checker of the WSGI rules around it."""

import importlib
import os
import warnings


def named():
    module, _, name = os.environ["CHECKED"].partition(":")
    return getattr(importlib.import_module(module), name)


def by_wsgiref():
    from wsgiref.validate import validator

    return validator(named())


def by_werkzeug():
    from werkzeug.middleware.lint import HTTPWarning, LintMiddleware, WSGIWarning

    # a complaint shall be an exception, which costs the request
    warnings.simplefilter("error", WSGIWarning)
    warnings.simplefilter("error", HTTPWarning)
    # outdated since RFC 7231: a Location may be relative
    warnings.filterwarnings("ignore", "Absolute URLs required for location header")
    return LintMiddleware(named())
