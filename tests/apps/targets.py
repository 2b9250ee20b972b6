"""Callables of every kind a target may name."""


def named(text):
    def respond(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [text.encode()]

    return respond


application = named("the default")
other = named("another")


def factory():
    return named("made by a factory")


class Holder:
    inside = staticmethod(named("inside a class"))
