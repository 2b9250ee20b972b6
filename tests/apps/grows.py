"""Takes memory inside a request: /to?N until the process holds N MiB more, a MiB every two milliseconds; then waits."""

import os
import time


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/to":
        kept = []
        for _ in range(int(environ["QUERY_STRING"])):
            # A text of its own each time: untouched zeroes would not be resident.
            kept.append(b"x" * (1 << 20))
            time.sleep(0.002)
        time.sleep(20)
    return [b"%d" % os.getpid()]
