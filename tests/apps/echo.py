"""Shows its environ as JSON, whatever the path."""

import mirror


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return mirror.show_environ(environ)
