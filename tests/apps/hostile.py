"""Does what makes a server suffer when its peer does not play along."""

import threading

PLAIN = [("Content-Type", "text/plain")]


def application(environ, start_response):
    return ROUTES[environ["PATH_INFO"]](environ, start_response)


def well(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"well"]


def endless(environ, start_response):
    start_response("200 OK", PLAIN)
    while True:
        yield b"tick"


def broken(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"the first half"
    raise ValueError("raised in mid-stream")


def refuse_early(environ, start_response):
    environ["wsgi.input"].read(1000)
    start_response("401 Unauthorized", PLAIN)
    return [b"no"]


def half_a_line(environ, start_response):
    environ["wsgi.errors"].write("a line without an end")
    return well(environ, start_response)


def framing(environ, start_response):
    text = [environ.get("CONTENT_LENGTH", "none"), environ["REQUEST_METHOD"], environ["wsgi.input"].read().decode()]
    start_response("200 OK", PLAIN)
    return [" ".join(text).encode()]


def two_readers(environ, start_response):
    pieces = []
    read = environ["wsgi.input"].read
    readers = [threading.Thread(target=lambda: pieces.append(read(400_000))) for _ in range(2)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    start_response("200 OK", PLAIN)
    return [f"{sum(map(len, pieces))} {b''.join(pieces).count(b'x')}".encode()]


ROUTES = {
    "/well": well,
    "/endless": endless,
    "/broken": broken,
    "/refuse-early": refuse_early,
    "/half-a-line": half_a_line,
    "/framing": framing,
    "/two-readers": two_readers,
}
