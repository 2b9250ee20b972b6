"""Puts the path into a response header, as careless redirects do."""


def application(environ, start_response):
    start_response("302 Found", [("Location", environ["PATH_INFO"]), ("Content-Type", "text/plain")])
    return [b"elsewhere"]
