"""The smallest WSGI application that says everything about its answer."""

BODY = b"Hello, world!\n"
LENGTH = str(len(BODY))


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", LENGTH)])
    return [BODY]
