"""rusgi: a WSGI server for the uwsgi protocol. Start it as `rusgi` or `python -m rusgi`."""


def __getattr__(name):
    # lazily: a server's workers should not pay for importlib.metadata
    if name == "__version__":
        from importlib.metadata import version

        return version("rusgi")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
