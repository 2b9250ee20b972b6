"""rusgi: a WSGI server for the uwsgi protocol. Start it as `rusgi` or `python -m rusgi`.

In a server's workers the two names below are the server's own; elsewhere (a shell, a test, a management command) they do nothing.
"""


class RequestTimeout(BaseException):
    """Raised in a request that has had its time. It is no Exception, so that `except Exception` lets it pass."""


def request_timeout(seconds, /):
    """Gives the request that this thread serves so many seconds, from now on; 0 or None is as many as it likes."""


def __getattr__(name):
    # lazily: a server's workers should not pay for importlib.metadata
    if name == "__version__":
        from importlib.metadata import version

        return version("rusgi")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
