"""Tells Python's switch interval, which the environment may set; /compute starts a thread that never gives up the GIL by itself."""

import os
import sys
import threading

if "SWITCH_INTERVAL" in os.environ:
    sys.setswitchinterval(float(os.environ["SWITCH_INTERVAL"]))


def compute():
    while True:
        pass


def application(environ, start_response):
    if environ["PATH_INFO"] == "/compute":
        threading.Thread(target=compute, daemon=True).start()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(sys.getswitchinterval()).encode()]
