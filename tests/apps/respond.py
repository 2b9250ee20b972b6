"""Responses of every shape, chosen by the path."""

import io
import os
import sys
import threading

import gate

PLAIN = [("Content-Type", "text/plain")]


def application(environ, start_response):
    return ROUTES[environ["PATH_INFO"]](environ, start_response)


def one_chunk(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"one chunk"]


def list_of_chunks(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"first ", b"", b"second ", b"third"]


def generator(environ, start_response):
    start_response("200 OK", PLAIN)
    for number in range(5):
        yield b"chunk %d\n" % number


def late_start(environ, start_response):
    start_response("201 Created", PLAIN)
    yield b"started late"


def gated_stream(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"before "
    gate.reach("in the middle")
    yield b"after"


def gated(environ, start_response):
    gate.reach("called")
    start_response("200 OK", PLAIN)
    return [b"let through"]


def by_write(environ, start_response):
    write = start_response("200 OK", PLAIN)
    write(b"written ")
    write(b"twice ")
    return [b"and returned"]


def large_list(environ, start_response):
    start_response("200 OK", PLAIN)
    return [bytes([65 + number]) * 1024 * 1024 for number in range(5)]


def no_content(environ, start_response):
    start_response("204 No Content", [])
    return []


def not_modified(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"a"')])
    return []


def own_length(environ, start_response):
    start_response("200 OK", [("Content-Length", "5"), *PLAIN])
    return [b"hello"]


def many_headers(environ, start_response):
    cookies = [("Set-Cookie", f"c{number}=v{number}; Path=/") for number in range(3)]
    start_response("418 I'm a teapot", [*PLAIN, *cookies, ("X-Latin", "caf\xe9")])
    return [b"short and stout"]


class Closing:
    """An iterable that tells the gate when it is closed."""

    def __iter__(self):
        return iter([b"closed ", b"afterwards"])

    def close(self):
        gate.reach("close() called")


def closing(environ, start_response):
    start_response("200 OK", PLAIN)
    return Closing()


def endless(environ, start_response):
    start_response("200 OK", PLAIN)
    try:
        while True:
            yield b"x" * 10_000
    finally:
        gate.reach("the stream was closed")


class ClosingFile(io.BytesIO):
    """A file that tells the gate when it is closed."""

    def close(self):
        if not self.closed:
            gate.reach("the file was closed")
        super().close()


def file(environ, start_response):
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](ClosingFile(b"from a file " * 10_000), 4096)


def replaced(environ, start_response):
    start_response("200 OK", PLAIN)
    try:
        raise ValueError("noticed in time")
    except ValueError:
        start_response("503 Replaced", PLAIN, sys.exc_info())
    return [b"what the application made of its error"]


def started_twice(environ, start_response):
    start_response("200 OK", PLAIN)
    start_response("200 OK", PLAIN)
    return [b"never"]


class FailingClose(Closing):
    """An iterable whose close() fails."""

    def close(self):
        raise ValueError("raised by close()")


def failing_close(environ, start_response):
    start_response("200 OK", PLAIN)
    return FailingClose()


def background(environ, start_response):
    threading.Thread(target=gate.reach, args=("in the background",)).start()
    start_response("200 OK", PLAIN)
    return [b"started"]


def program(environ, start_response):
    """Runs a program that shows what it has inherited."""
    os.system("(readlink /proc/self/fd/*; grep Sig /proc/self/status) > inherited.txt")
    start_response("200 OK", PLAIN)
    with open("inherited.txt", "rb") as shown:
        return [shown.read()]


ROUTES = {
    "/one": one_chunk,
    "/list": list_of_chunks,
    "/generator": generator,
    "/late": late_start,
    "/gated-stream": gated_stream,
    "/gated": gated,
    "/write": by_write,
    "/large": large_list,
    "/204": no_content,
    "/304": not_modified,
    "/length": own_length,
    "/headers": many_headers,
    "/closing": closing,
    "/endless": endless,
    "/file": file,
    "/replaced": replaced,
    "/twice": started_twice,
    "/failing-close": failing_close,
    "/background": background,
    "/program": program,
}
