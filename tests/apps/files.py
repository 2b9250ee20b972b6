"""Sends files by wsgi.file_wrapper: from the middle, bounded, wrapped, and things that are no files at all."""

import gzip
import io
import json
import os

PLAIN = [("Content-Type", "application/octet-stream")]
BLOCK = bytes(range(256)) * 4096
PATH = os.path.join(os.getcwd(), "block.bin")
HAPPENED = []

with open(PATH, "wb") as block:
    block.write(BLOCK)


def application(environ, start_response):
    return ROUTES[environ["PATH_INFO"]](environ, start_response)


def happened(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(HAPPENED).encode()]


def length(count):
    return [("Content-Length", str(count)), *PLAIN]


def whole(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](open(PATH, "rb"))


def announced(environ, start_response):
    start_response("200 OK", length(len(BLOCK)))
    return environ["wsgi.file_wrapper"](open(PATH, "rb"), 8192)


def from_position(environ, start_response):
    file = open(PATH, "rb")
    file.read(100)
    file.seek(1000)
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](file)


def part(environ, start_response):
    file = open(PATH, "rb")
    file.seek(1000)
    start_response("206 Partial Content", length(300))
    return environ["wsgi.file_wrapper"](file)


def too_short(environ, start_response):
    start_response("200 OK", length(len(BLOCK) + 1))
    return environ["wsgi.file_wrapper"](open(PATH, "rb"))


def unbuffered(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](open(PATH, "rb", buffering=0))


def in_memory(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](io.BytesIO(BLOCK))


class ReadOnly:
    """All that PEP 3333 asks of a file-like object, and that it is closed."""

    def __init__(self):
        self.file = io.BytesIO(BLOCK)

    def read(self, size):
        return self.file.read(size)


class Closable(ReadOnly):
    def close(self):
        HAPPENED.append("closed")


def read_only(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](ReadOnly(), 1000)


def closable(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](Closable())


def pipe(environ, start_response):
    reader, writer = os.pipe()
    os.write(writer, b"through a pipe")
    os.close(writer)
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](os.fdopen(reader, "rb"))


def compressed(environ, start_response):
    """Its descriptor holds other bytes than it reads."""
    with gzip.open(PATH + ".gz", "wb") as file:
        file.write(BLOCK)
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](gzip.open(PATH + ".gz", "rb"))


class Upper(io.FileIO):
    """A real file whose read() is its own."""

    def read(self, size=-1):
        return super().read(size).replace(b"a", b"A")


def subclass(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](Upper(PATH))


def wrapped(environ, start_response):
    """What middleware does that changes every chunk."""
    start_response("200 OK", PLAIN)
    inner = environ["wsgi.file_wrapper"](Closable(), 1000)
    try:
        for chunk in inner:
            yield chunk.replace(b"a", b"A")
    finally:
        inner.close()


def patched_close(environ, start_response):
    """What Django does: close() of the file becomes that of the response."""
    file = open(PATH, "rb")
    close = file.close

    class Patched:
        read = file.read

        def close(self):
            HAPPENED.append("closed")
            close()

    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](Patched())


def watched(environ, start_response):
    """A file that can be looked at afterwards."""
    file = open(PATH, "rb")
    HAPPENED.append(file)
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](file)


def was_closed(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([file.closed for file in HAPPENED]).encode()]


def duplicated(environ, start_response):
    """A duplicate of the descriptor shares its offset, which reading moves and sendfile does not."""
    file = open(PATH, "rb")
    HAPPENED.append(os.dup(file.fileno()))
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](file)


def offsets(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([os.lseek(file, 0, os.SEEK_CUR) for file in HAPPENED]).encode()]


def empty(environ, start_response):
    path = PATH + ".empty"
    open(path, "wb").close()
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](open(path, "rb"))


def middle_of_nothing(environ, start_response):
    file = open(PATH, "rb")
    file.seek(10 * len(BLOCK))
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](file)


def not_a_file(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](object())


def text_file(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](io.StringIO("text"))


ROUTES = {
    "/happened": happened,
    "/whole": whole,
    "/announced": announced,
    "/from-position": from_position,
    "/part": part,
    "/too-short": too_short,
    "/unbuffered": unbuffered,
    "/in-memory": in_memory,
    "/read-only": read_only,
    "/closable": closable,
    "/pipe": pipe,
    "/compressed": compressed,
    "/subclass": subclass,
    "/wrapped": wrapped,
    "/patched-close": patched_close,
    "/watched": watched,
    "/was-closed": was_closed,
    "/duplicated": duplicated,
    "/offsets": offsets,
    "/empty": empty,
    "/beyond-the-end": middle_of_nothing,
    "/not-a-file": not_a_file,
    "/text-file": text_file,
}
