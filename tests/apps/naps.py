"""Answers after NAP milliseconds, or, below /gated, when the test says so; leaves a byte in the file RUNS each time."""

import os
import time

NAP = int(os.environ.get("NAP", "0")) / 1000


RUNS = os.open(os.environ.get("RUNS", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def application(environ, start_response):
    os.write(RUNS, b".")
    if environ["PATH_INFO"] == "/gated":
        import gate

        gate.reach(os.getpid())
    time.sleep(NAP)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
