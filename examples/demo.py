#!/usr/bin/env python3
"""The Flask example behind rusgi behind nginx, until Ctrl-C; `make demo` builds it all and calls this.

usage: demo.py RUSGI [PORT]    RUSGI: the program to show; PORT: nginx's, on 127.0.0.1 (default: a free one)
"""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
STARTING = 20
STOPPING = 30


def main(rusgi, port=None):
    # these are only ever taken by sigtimedwait and sigwait, so none can fall between two steps
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING | {signal.SIGCHLD})
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin"
    # whoever runs a demo as root means it
    os.environ["RUSGI_ALLOW_ROOT"] = "1"
    with tempfile.TemporaryDirectory(prefix="rusgi-demo-") as directory, contextlib.ExitStack() as stack:
        url = f"http://127.0.0.1:{free_port(port)}/"
        children = [stack.enter_context(running(command)) for command in commands(rusgi, pathlib.Path(directory), url)]
        if await_answer(url, children):
            say(url)
            watch(children)
        print("\nstopping", flush=True)


def commands(rusgi, directory, url):
    """rusgi, then nginx with the configuration that nginx/README.md recommends for one machine."""
    backend = f"unix:{directory}/app.sock"
    serve = [rusgi, "serve", "--socket", backend, "--chdir", ROOT / "examples/flask", "--workers", "2", "app:app"]
    listen = url.removeprefix("http://").rstrip("/")
    subprocess.run([ROOT / "nginx/render.sh", directory, "unix-socket.conf", listen, backend], check=True)
    return [serve, ["nginx", "-e", "error.log", "-p", directory, "-c", "nginx.conf"]]


@contextlib.contextmanager
def running(command):
    """A process in a session of its own: Ctrl-C reaches this script alone, which stops its children in order."""
    child = subprocess.Popen(command, start_new_session=True, preexec_fn=unblock)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(STOPPING)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def unblock():
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def await_answer(url, children):
    """Whether the application answered; not when it was told to end meanwhile."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            return direct.open(url, timeout=5).status == 200
        if signal.sigtimedwait(ENDING, 0.05):
            return False
        end_if_one_ended(children)
    sys.exit(f"demo: no answer from {url} within {STARTING} s")


def watch(children):
    while signal.sigwait(ENDING | {signal.SIGCHLD}) == signal.SIGCHLD:
        end_if_one_ended(children)


def end_if_one_ended(children):
    for child in children:
        if child.poll() is not None:
            sys.exit(f"demo: {child.args[0]} ended with status {child.returncode}; what it said is above")


def say(url):
    print(f"\nA Flask application behind nginx and rusgi: {url}")
    print(f"Try:  curl -i {url}hello/you")
    print(f"      curl -N '{url}stream?chunks=5&pause=0.5'")
    print("Ctrl-C stops it.", flush=True)


def free_port(wanted):
    try:
        with socket.create_server(("127.0.0.1", int(wanted or 0))) as probe:
            return probe.getsockname()[1]
    except OSError as error:
        sys.exit(f"demo: port {wanted}: {error.strerror}: choose another, or none for a free one")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
