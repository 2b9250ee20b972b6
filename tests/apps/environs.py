"""Looks at the environ as an object: what types it is made of, and whether it is fresh every time."""

import json

KEPT = []


def application(environ, start_response):
    facts = ROUTES[environ["PATH_INFO"]](environ)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(facts).encode()]


def types(environ):
    """Of the environ, of its keys, and of each value that CGI knows."""
    values = {key: type(value).__name__ for key, value in environ.items() if "." not in key}
    keys = sorted({type(key).__name__ for key in environ})
    return {"environ": type(environ).__name__, "keys": keys, "values": values}


def keep(environ):
    """Every environ so far, after each request has done its worst to its own."""
    KEPT.append(environ)
    seen = [each.get("QUERY_STRING") for each in KEPT]
    environ["left.behind"] = True
    environ["HTTP_HOST"] = environ["wsgi.url_scheme"] = "spoiled"
    spoiled = sum("left.behind" in each for each in KEPT)
    return {"seen": seen, "distinct": len({id(each) for each in KEPT}), "spoiled": spoiled}


def look(environ):
    return {key: environ.get(key) for key in ("left.behind", "HTTP_HOST", "wsgi.url_scheme")}


ROUTES = {"/types": types, "/keep": keep, "/look": look}
