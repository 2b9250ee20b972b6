"""Tells about the process it runs in, now and when it was imported."""

import gc
import json
import os
import signal
import sys
import threading

IMPORTED_BY = os.getpid()
SIGNALS = []
THREAD = threading.local()

signal.signal(signal.SIGUSR1, lambda number, frame: SIGNALS.append(number))


def application(environ, start_response):
    if environ["PATH_INFO"] == "/gated":
        import gate

        gate.reach(os.getpid())
    THREAD.served = getattr(THREAD, "served", 0) + 1
    start_response("200 OK", [("Content-Type", "application/json")])
    facts = {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "imported_by": IMPORTED_BY,
        "frozen": gc.get_freeze_count(),
        "main_thread": threading.current_thread() is threading.main_thread(),
        "directory": os.getcwd(),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "path": sys.path,
        "signals": len(SIGNALS),
        "served_by_thread": THREAD.served,
    }
    return [json.dumps(facts).encode()]
