"""Reads its body in the ways the query lists, as `read:3,readline,readlines:None`."""

import io
import json
import threading

import gate

PLAIN = [("Content-Type", "text/plain")]
SERVED = []


def application(environ, start_response):
    SERVED.append(environ["PATH_INFO"])
    return ROUTES[environ["PATH_INFO"]](environ, start_response)


def compared(environ, start_response):
    """Each step beside what a file of the same bytes does."""
    model = io.BytesIO(environ["HTTP_X_BODY"].encode("latin-1"))
    steps = [(step, perform(environ["wsgi.input"], step), perform(model, step)) for step in asked(environ)]
    return answer(start_response, steps)


def performed(environ, start_response):
    return answer(start_response, [perform(environ["wsgi.input"], step) for step in asked(environ)])


def lengths(environ, start_response):
    """How long each piece is, read until nothing comes."""
    size = int(environ["QUERY_STRING"])
    return answer(start_response, [len(piece) for piece in iter(lambda: environ["wsgi.input"].read(size), b"")])


def watched(environ, start_response):
    """Tells by the gate, for a peer that does not wait for the answer."""
    gate.reach("before the body")
    results = [perform(environ["wsgi.input"], step) for step in asked(environ)]
    gate.reach(json.dumps(results))
    return answer(start_response, results)


def after_the_head(environ, start_response):
    """Begins its response, then reads."""
    start_response("200 OK", PLAIN)
    yield b"head, then "
    result = perform(environ["wsgi.input"], "read")
    yield (result if result.startswith("raised") else f"{len(result)} bytes").encode()


def aside(environ, start_response):
    """Begins its response while another thread reads the body in small pieces."""
    pieces = [environ["wsgi.input"].read(10)]

    def read():
        try:
            pieces.extend(iter(lambda: environ["wsgi.input"].read(7), b""))
        except OSError:
            pass

    reader = threading.Thread(target=read)
    reader.start()
    start_response("200 OK", PLAIN)
    yield b"begun: "
    reader.join()
    yield b"".join(pieces)


def unread(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"unread"]


def served(environ, start_response):
    return answer(start_response, SERVED)


def asked(environ):
    return environ["QUERY_STRING"].split(",")


def perform(stream, step):
    name, _, size = step.partition(":")
    try:
        if name == "iterate":
            return shown(list(stream))
        arguments = [None if size == "None" else int(size)] if size else []
        return shown(getattr(stream, name)(*arguments))
    except OSError as error:
        return f"raised OSError: {type(error).__name__}: {error}"
    except Exception as error:
        return f"raised {type(error).__name__}: {error}"


def shown(result):
    return [shown(line) for line in result] if isinstance(result, list) else result.decode("latin-1")


def answer(start_response, facts):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(facts).encode()]


ROUTES = {
    "/compared": compared,
    "/performed": performed,
    "/lengths": lengths,
    "/watched": watched,
    "/after-the-head": after_the_head,
    "/aside": aside,
    "/unread": unread,
    "/served": served,
}
