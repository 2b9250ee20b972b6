"""Fails with any exception, before the head or after it; computes for long; says things to wsgi.errors."""

import builtins
import logging
import threading
import time

import gate

PLAIN = [("Content-Type", "text/plain")]
CLOSED = []


def application(environ, start_response):
    return ROUTES[environ["PATH_INFO"]](environ, start_response)


def well(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"well"]


def fail(name):
    if name == "RecursionError":
        fail(name)
    raise getattr(builtins, name)("asked for")


def before(environ, start_response):
    fail(environ["QUERY_STRING"])


def streamed(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"the first half"
    fail(environ["QUERY_STRING"])


def in_close(environ, start_response):
    class Failing(list):
        def close(self):
            fail(environ["QUERY_STRING"])

    start_response("200 OK", PLAIN)
    return Failing([b"well"])


class Closing:
    def __iter__(self):
        return iter([b"for nobody"])

    def close(self):
        CLOSED.append("closed")


def long(environ, start_response):
    """Computes until nobody waits any more."""
    disconnected = environ["rusgi.disconnected"]
    gate.reach(disconnected())
    deadline = time.monotonic() + 15
    while not disconnected() and time.monotonic() < deadline:
        time.sleep(0.002)
    gate.reach(disconnected())
    start_response("200 OK", PLAIN)
    return Closing()


def still_there(environ, start_response):
    start_response("200 OK", PLAIN)
    return [str(environ["rusgi.disconnected"]()).encode()]


def closed(environ, start_response):
    start_response("200 OK", PLAIN)
    return [f"{len(CLOSED)}".encode()]


def large_head(environ, start_response):
    start_response("200 OK", [("X-Large", "x" * int(environ["QUERY_STRING"])), *PLAIN])
    return [b"large"]


def say(environ, start_response):
    errors = environ["wsgi.errors"]
    errors.write("said in ")
    errors.write("two writes\n")
    errors.writelines(["first of two lines\n", "second of two lines\n"])
    errors.write("caf\xe9 \u2603 \U0001f600 lone \udc80\ud800 surrogates\n")
    errors.write("not ended")
    errors.flush()
    print("printed", file=errors)
    record = logging.LogRecord("app", logging.INFO, "app.py", 1, "logged %s", ("by logging",), None)
    logging.StreamHandler(errors).handle(record)
    try:
        errors.write(b"bytes")
    except TypeError:
        errors.write("bytes are refused\n")
    start_response("200 OK", PLAIN)
    return [b"said"]


def say_at_once(environ, start_response):
    """Many threads, each with lines of its own letter, in several writes a line."""
    errors = environ["wsgi.errors"]

    def talk(letter):
        for _ in range(50):
            errors.write(letter * 500 + "\n")

    threads = [threading.Thread(target=talk, args=(letter,)) for letter in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    start_response("200 OK", PLAIN)
    return [b"said"]


ROUTES = {
    "/well": well,
    "/before": before,
    "/streamed": streamed,
    "/in-close": in_close,
    "/long": long,
    "/still-there": still_there,
    "/closed": closed,
    "/large-head": large_head,
    "/say": say,
    "/say-at-once": say_at_once,
}
