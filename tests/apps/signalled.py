"""Comes to the gate when SIGUSR1 has been handled."""

import signal

import gate

signal.signal(signal.SIGUSR1, lambda number, frame: gate.reach("handled"))


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"one chunk"]
