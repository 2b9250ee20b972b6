"""Tells Python's switch interval; /compute starts a thread that never gives up the GIL by itself."""

import sys
import threading


def compute():
    while True:
        pass


def application(environ, start_response):
    if environ["PATH_INFO"] == "/compute":
        threading.Thread(target=compute, daemon=True).start()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(sys.getswitchinterval()).encode()]
