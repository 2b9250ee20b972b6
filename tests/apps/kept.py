"""Keeps what belongs to one request, and uses it in a later one."""

PLAIN = [("Content-Type", "text/plain")]
KEPT = {}
HOARD = []


def application(environ, start_response):
    return ROUTES[environ["PATH_INFO"]](environ, start_response)


def keep(environ, start_response):
    write = start_response("200 OK", PLAIN)
    KEPT.update(environ=environ, start_response=start_response, write=write)
    return [environ["wsgi.input"].read(5)]


def hoard(environ, start_response):
    """As requests in a cycle of references do until garbage is collected."""
    HOARD.append(environ["wsgi.input"])
    start_response("200 OK", PLAIN)
    return [b"kept"]


def read_kept(environ, start_response):
    start_response("200 OK", PLAIN)
    try:
        return [KEPT["environ"]["wsgi.input"].read()]
    except OSError as error:
        return [f"raised OSError: {error}".encode()]


def write_kept(environ, start_response):
    """Tries to get a word into somebody else's response."""
    start_response("200 OK", PLAIN)
    return [attempt(KEPT["write"], b"intruder"), attempt(KEPT["start_response"], "500 Intruder", PLAIN, None)]


def attempt(call, *arguments):
    try:
        call(*arguments)
    except Exception as error:
        return f"raised {type(error).__name__} ".encode()
    return b"nothing was raised "


def ask_kept(environ, start_response):
    start_response("200 OK", PLAIN)
    kept, own = KEPT["environ"]["rusgi.disconnected"](), environ["rusgi.disconnected"]()
    return [f"kept {kept}, own {own}".encode()]


ROUTES = {
    "/keep": keep,
    "/hoard": hoard,
    "/read-kept": read_kept,
    "/write-kept": write_kept,
    "/ask-kept": ask_kept,
}
