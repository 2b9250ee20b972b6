"""An application that is still being imported when the test acts."""

import gate

gate.reach("importing")


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"imported at last"]
