"""Calls start_response in every way, with what the request's body describes as JSON."""

import json
import sys

import gate

PLAIN = [("Content-Type", "text/plain")]


def application(environ, start_response):
    return ROUTES[environ["PATH_INFO"]](environ, start_response)


def described(environ, start_response):
    """Starts as told; a refusal becomes the response."""
    asked = json.loads(environ["wsgi.input"].read())
    try:
        start_response(made(asked["status"]), made(asked["headers"]))
    except Exception as error:
        start_response("200 OK", PLAIN, sys.exc_info())
        return [f"refused: {type(error).__name__}: {error}".encode("ascii", "backslashreplace")]
    return [b"started"]


def made(value):
    """JSON has neither bytes nor tuples: an object names the one, a list of two texts is the other."""
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        return content.encode() if kind == "bytes" else tuple(map(made, content))
    if isinstance(value, list):
        return [tuple(map(made, item)) if isinstance(item, list) else made(item) for item in value]
    return value


def empty_first(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b""
    gate.reach("after an empty chunk")
    yield b""
    yield b"something at last"


def empty_writes(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"")
    gate.reach("after an empty write")
    return [b"something at last"]


def replaced_after_empty_chunks(environ, start_response):
    start_response("200 OK", [("X-First", "1")])
    yield b""
    start_response("503 Replaced", [("X-Second", "2")], failure())
    yield b"replaced"


def too_late(environ, start_response):
    """Passes exc_info when the head has gone."""
    start_response("200 OK", PLAIN)
    yield b"the first half"
    info = failure()
    try:
        start_response("500 Oh", PLAIN, info)
    except BaseException as error:
        gate.reach("the same" if error is info[1] else repr(error))
        raise
    gate.reach("nothing was raised")
    yield b"the second half"


def again_after_failure(environ, start_response):
    try:
        start_response("200 OK", [("Bad Name", "x")])
    except ValueError:
        pass
    start_response("200 OK", PLAIN)
    return [b"started after a start that failed"]


def write_after_refusal(environ, start_response):
    """Goes on writing although the page that was to replace the first one was refused."""
    write = start_response("200 OK", PLAIN)
    try:
        start_response("500 Oh", [("Bad Name", "x")], failure())
    except ValueError:
        pass
    write(b"HTTP/1.1 200 OK\r\nX-Forged: 1\r\n\r\n")
    return []


def again(environ, start_response):
    start_response("200 OK", PLAIN)
    start_response("200 OK", PLAIN)
    return [b"started twice"]


def keywords(environ, start_response):
    start_response(status="202 Accepted", headers=PLAIN, exc_info=None)
    return [b"by keywords"]


def exc_info_keyword(environ, start_response):
    start_response("202 Accepted", PLAIN, exc_info=None)
    return [b"by keywords"]


def pep_keywords(environ, start_response):
    start_response(status="202 Accepted", response_headers=PLAIN, exc_info=None)
    return [b"by keywords"]


def write_and_wait(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"written ")
    gate.reach("after write()")
    return [b"and returned"]


def write_text(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write("text")
    return []


def write_too_much(environ, start_response):
    write = start_response("200 OK", [("Content-Length", "5"), *PLAIN])
    write(b"hello")
    try:
        write(b" and more")
    except Exception as error:
        gate.reach(f"raised {type(error).__name__}")
    else:
        gate.reach("nothing was raised")
    return []


def in_another_function(environ, start_response):
    """What __iter__ of a class does when the class is the application."""
    class Response:
        def __iter__(self):
            start_response("200 OK", PLAIN)
            yield b"started by __iter__"

    return Response()


def failure():
    try:
        raise LookupError("the application's own")
    except LookupError:
        return sys.exc_info()


ROUTES = {
    "/described": described,
    "/empty-first": empty_first,
    "/empty-writes": empty_writes,
    "/replaced": replaced_after_empty_chunks,
    "/too-late": too_late,
    "/again-after-failure": again_after_failure,
    "/write-after-refusal": write_after_refusal,
    "/again": again,
    "/keywords": keywords,
    "/exc-info-keyword": exc_info_keyword,
    "/pep-keywords": pep_keywords,
    "/write-and-wait": write_and_wait,
    "/write-text": write_text,
    "/write-too-much": write_too_much,
    "/iter-starts": in_another_function,
}
