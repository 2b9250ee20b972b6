"""Returns iterables of every kind, and remembers what was asked of them."""

import json

import gate

PLAIN = [("Content-Type", "text/plain")]
HAPPENED = []


def application(environ, start_response):
    return ROUTES[environ["PATH_INFO"]](environ, start_response)


def happened(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(HAPPENED).encode()]


class Watched:
    """An iterable that remembers its close()."""

    chunks = (b"one ", b"two")

    def __iter__(self):
        return iter(self.chunks)

    def close(self):
        HAPPENED.append("closed")


def watched(environ, start_response):
    start_response("200 OK", PLAIN)
    return Watched()


def never_started(environ, start_response):
    return Watched()


class FailingIter(Watched):
    def __iter__(self):
        raise ValueError("raised by __iter__")


def failing_iter(environ, start_response):
    start_response("200 OK", PLAIN)
    return FailingIter()


class FailingNext(Watched):
    def __iter__(self):
        yield b"one "
        raise ValueError("raised after a chunk")


def failing_next(environ, start_response):
    start_response("200 OK", PLAIN)
    return FailingNext()


class FailingStart(Watched):
    def __init__(self, start_response):
        self.start_response = start_response

    def __iter__(self):
        self.start_response("200 OK", [("Split", "a\r\nb")])
        yield b"never"


def failing_start(environ, start_response):
    return FailingStart(start_response)


class Wrong(Watched):
    chunks = ("text",)


def wrong_chunk(environ, start_response):
    start_response("200 OK", PLAIN)
    return Wrong()


class TwoCloses(Watched):
    """Its iterator has a close() too, which is nobody's business."""

    def __iter__(self):
        return self.Iterator()

    class Iterator:
        def __init__(self):
            self.left = [b"one ", b"two"]

        def __iter__(self):
            return self

        def __next__(self):
            if not self.left:
                raise StopIteration
            return self.left.pop(0)

        def close(self):
            HAPPENED.append("iterator closed")


def two_closes(environ, start_response):
    start_response("200 OK", PLAIN)
    return TwoCloses()


def finishing(environ, start_response):
    start_response("200 OK", PLAIN)
    try:
        yield b"one "
        yield b"two"
    finally:
        HAPPENED.append("closed")


def endless(environ, start_response):
    start_response("200 OK", PLAIN)
    try:
        while True:
            yield b"x" * 10_000
    finally:
        HAPPENED.append("closed")


class Reversing(list):
    """A list that is not iterated over as lists are."""

    def __iter__(self):
        return reversed(list(super().__iter__()))


def list_subclass(environ, start_response):
    start_response("200 OK", PLAIN)
    return Reversing([b"two", b"one "])


def a_tuple(environ, start_response):
    start_response("200 OK", PLAIN)
    return b"one ", b"", b"two"


class Single(Watched):
    chunks = (b"the only one",)

    def __len__(self):
        return 1


def single(environ, start_response):
    start_response("200 OK", PLAIN)
    return Single()


class Indexed:
    """Iterable by the old protocol alone."""

    def __getitem__(self, index):
        return [b"one ", b"two"][index]


def indexed(environ, start_response):
    start_response("200 OK", PLAIN)
    return Indexed()


def empty_chunks(environ, start_response):
    start_response("200 OK", PLAIN)
    yield from (b"", b"one ", b"", b"", b"two", b"")


def nothing(environ, start_response):
    start_response("200 OK", PLAIN)
    return iter(())


def too_much(environ, start_response):
    start_response("200 OK", [("Content-Length", "5"), *PLAIN])
    for number in range(5):
        HAPPENED.append(f"chunk {number}")
        yield b"hello"


def too_much_at_once(environ, start_response):
    start_response("200 OK", [("Content-Length", "5"), *PLAIN])
    return [b"hello and more"]


def bodiless(code, headers):
    def respond(environ, start_response):
        start_response(code, [("Content-Length", "8"), *headers])
        return Watched()

    return respond


def returning(result):
    def respond(environ, start_response):
        start_response("200 OK", PLAIN)
        return result

    return respond


def late_text(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"one "
    yield "two"


def gated(environ, start_response):
    """Stops between two chunks, so that a peer may leave there."""
    start_response("200 OK", PLAIN)
    try:
        yield b"before "
        gate.reach("between the chunks")
        while True:
            yield b"x" * 10_000
    finally:
        HAPPENED.append("closed")


class ClassApplication:
    """The class of PEP 3333's example: calling it makes the iterable."""

    def __init__(self, environ, start_response):
        self.start_response = start_response

    def __iter__(self):
        self.start_response("200 OK", PLAIN)
        yield b"by a class"


class Instance:
    def __call__(self, environ, start_response):
        start_response("200 OK", PLAIN)
        return [b"by an instance"]


instance = Instance()
bound = Instance().__call__


def arguments(*given, **named):
    """Tells how it was called."""
    given[1]("200 OK", PLAIN)
    return [f"{len(given)} positional, {len(named)} named".encode()]


ROUTES = {
    "/happened": happened,
    "/watched": watched,
    "/never-started": never_started,
    "/failing-iter": failing_iter,
    "/failing-next": failing_next,
    "/failing-start": failing_start,
    "/wrong-chunk": wrong_chunk,
    "/two-closes": two_closes,
    "/finishing": finishing,
    "/endless": endless,
    "/list-subclass": list_subclass,
    "/tuple": a_tuple,
    "/single": single,
    "/indexed": indexed,
    "/empty-chunks": empty_chunks,
    "/nothing": nothing,
    "/too-much": too_much,
    "/too-much-at-once": too_much_at_once,
    "/204": bodiless("204 No Content", []),
    "/304": bodiless("304 Not Modified", [("ETag", '"a"')]),
    "/bytes": returning(b"returned whole"),
    "/no-bytes": returning(b""),
    "/text": returning("text"),
    "/text-in-list": returning([b"one ", "two"]),
    "/bytearray": returning([bytearray(b"one")]),
    "/memoryview": returning([memoryview(b"one")]),
    "/number": returning([b"one ", 2]),
    "/none-in-list": returning([b"one ", None]),
    "/late-text": late_text,
    "/gated": gated,
}
