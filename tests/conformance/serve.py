#!/usr/bin/env python3
"""Takes the command line of `rusgi serve` and starts another server in its place, so that rusgi's tests run against it.

PEER names the executable, uwsgi or gunicorn. Only the options that the tests of the conformance table give are known.
"""

import argparse
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

PATIENCE = 20


def main():
    options = parse()
    command = command_of(pathlib.Path(os.environ["PEER"]), options)
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment(options))
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    await_listener(server, options.socket)
    print("ready: another server than rusgi", file=sys.stderr, flush=True)
    return server.wait()


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("serve")
    parser.add_argument("target")
    parser.add_argument("--socket", required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pythonpath", action="append", default=[])
    options = parser.parse_args()
    if ":" not in options.target:
        options.target += ":application"
    return options


def environment(options):
    return {**os.environ, "PYTHONPATH": os.pathsep.join(options.pythonpath)}


def command_of(peer, options):
    address = options.socket
    if peer.name == "uwsgi":
        # what its own documentation advises, and the largest packet there can be
        command = [peer, "--master", "--die-on-term", "--need-app", "--enable-threads", "--buffer-size", "65535"]
        command += ["--processes", options.workers, "--threads", options.threads]
        command += ["--socket", address.removeprefix("unix:"), "--module", options.target]
        command += [word for path in options.pythonpath for word in ("--pythonpath", path)]
    else:
        command = [peer, "--protocol", "uwsgi", "--no-control-socket", "--bind", address]
        command += ["--workers", options.workers, "--threads", options.threads, options.target]
    return [str(word) for word in command]


def await_listener(server, address):
    """Both bind before they load the application: a request then waits, as it does for rusgi."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        try:
            connect(address)
            return
        except OSError:
            time.sleep(0.02)
    server.kill()
    sys.exit(f"{os.environ['PEER']}: does not listen on {address}")


def connect(address):
    if address.startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(address.removeprefix("unix:"))
    else:
        host, _, port = address.rpartition(":")
        socket.create_connection((host, port)).close()


if __name__ == "__main__":
    sys.exit(main())
