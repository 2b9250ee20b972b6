"""What the operations are tried on: it loads as slowly as a file beside it says, and answers as its path says."""

import pathlib
import time

PAUSE = pathlib.Path(__file__).with_name("pause")
if PAUSE.exists():
    time.sleep(float(PAUSE.read_text()))


def application(environ, start_response):
    _, _, seconds = environ["PATH_INFO"].partition("/sleep/")
    if seconds:
        time.sleep(float(seconds))
    while environ["PATH_INFO"] == "/stuck":
        time.sleep(1)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"ok\n"]
