"""Shows the request: the environ as JSON, or the body read in the way the path names."""

import json


def application(environ, start_response):
    answer = ROUTES[environ["PATH_INFO"]](environ)
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return answer


def show_environ(environ):
    texts = {key: value for key, value in environ.items() if isinstance(value, str)}
    others = {key: repr(value) for key, value in environ.items() if not isinstance(value, str)}
    return [json.dumps({"texts": texts, "others": others}).encode()]


def read_all(environ):
    return [environ["wsgi.input"].read()]


def read_none(environ):
    return [b"read nothing"]


def read_ten(environ):
    return [environ["wsgi.input"].read(10)]


def read_pieces(environ):
    return list(iter(lambda: environ["wsgi.input"].read(7919), b""))


def read_lines(environ):
    return [line.upper() for line in environ["wsgi.input"]]


def read_by_every_method(environ):
    body = environ["wsgi.input"]
    seen = [body.readline(), body.readline(3), body.read(4), body.read(0), body.readlines(), body.read(), body.readline()]
    return [json.dumps([item.decode() if isinstance(item, bytes) else [line.decode() for line in item] for item in seen]).encode()]


ROUTES = {
    "/environ": show_environ,
    "/all": read_all,
    "/none": read_none,
    "/ten": read_ten,
    "/pieces": read_pieces,
    "/lines": read_lines,
    "/methods": read_by_every_method,
}
