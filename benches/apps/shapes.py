"""Bodies of some size, in and out, and an application that waits; chosen by the path."""

import time

PLAIN = ("Content-Type", "text/plain")
MIB = b"0123456789abcdef" * 65536
CHUNK = MIB[:8192]


def application(environ, start_response):
    return ROUTES[environ["PATH_INFO"]](environ, start_response)


def large(environ, start_response):
    start_response("200 OK", [PLAIN, ("Content-Length", str(len(MIB)))])
    return [MIB]


def stream(environ, start_response):
    start_response("200 OK", [PLAIN])
    return (CHUNK for _ in range(128))


def upload(environ, start_response):
    read, size = environ["wsgi.input"].read, 0
    while piece := read(65536):
        size += len(piece)
    return said(b"%d\n" % size, start_response)


def sleep(environ, start_response):
    time.sleep(0.05)
    return said(b"slept\n", start_response)


def said(body, start_response):
    start_response("200 OK", [PLAIN, ("Content-Length", str(len(body)))])
    return [body]


ROUTES = {"/large": large, "/stream": stream, "/upload": upload, "/sleep": sleep}
