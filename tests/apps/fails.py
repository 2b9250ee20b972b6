"""Applications that fail, each at another moment."""

import ctypes
import os
import signal

import gate

PLAIN = [("Content-Type", "text/plain")]


def application(environ, start_response):
    return ROUTES[environ["PATH_INFO"]](environ, start_response)


def well(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"well"]


def before_the_head(environ, start_response):
    raise ValueError("raised before the head")


def after_start_response(environ, start_response):
    start_response("200 OK", PLAIN)
    raise ValueError("raised after start_response")


def mid_stream(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"the first half"
    gate.reach("before the failure")
    raise ValueError("raised in mid-stream")


def short(environ, start_response):
    start_response("200 OK", [("Content-Length", "100"), *PLAIN])
    return [b"too short"]


def exit_call(environ, start_response):
    raise SystemExit(7)


def never_started(environ, start_response):
    return [b"start_response was not called"]


def not_bytes(environ, start_response):
    start_response("200 OK", PLAIN)
    return ["text, not bytes"]


def not_iterable(environ, start_response):
    start_response("200 OK", PLAIN)
    return None


def bad_status(environ, start_response):
    start_response("99 Too Low", PLAIN)
    return [b"never"]


def split_header(environ, start_response):
    start_response("200 OK", [("X-Bad", "a\r\nSet-Cookie: stolen=1")])
    return [b"never"]


def hop_by_hop(environ, start_response):
    start_response("200 OK", [("Transfer-Encoding", "chunked"), *PLAIN])
    return [b"never"]


def segfault(environ, start_response):
    ctypes.string_at(0)


def crash(environ, start_response):
    os.kill(os.getpid(), signal.SIGKILL)


def leave(environ, start_response):
    os._exit(9)


def crash_mid_stream(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"the first half"
    gate.reach(os.getpid())
    yield b"the second half"


def cut_body(environ, start_response):
    gate.reach("before the body")
    try:
        got = f"read {len(environ['wsgi.input'].read())} bytes"
    except OSError as error:
        got = f"raised {type(error).__name__}"
    gate.reach(got)
    start_response("200 OK", PLAIN)
    return [got.encode()]


ROUTES = {
    "/well": well,
    "/before": before_the_head,
    "/started": after_start_response,
    "/mid": mid_stream,
    "/short": short,
    "/exit": exit_call,
    "/never-started": never_started,
    "/not-bytes": not_bytes,
    "/not-iterable": not_iterable,
    "/bad-status": bad_status,
    "/split-header": split_header,
    "/hop-by-hop": hop_by_hop,
    "/segfault": segfault,
    "/crash": crash,
    "/leave": leave,
    "/crash-mid-stream": crash_mid_stream,
    "/cut-body": cut_body,
}
