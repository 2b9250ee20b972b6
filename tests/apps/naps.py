"""Answers after NAP milliseconds, or, below /gated, when the test says so."""

import os
import time

NAP = int(os.environ.get("NAP", "0")) / 1000


def application(environ, start_response):
    if environ["PATH_INFO"] == "/gated":
        import gate

        gate.reach(os.getpid())
    time.sleep(NAP)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
