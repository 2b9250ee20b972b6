#!/usr/bin/env python3
"""Whether the wheel installed in a virtual environment is whole: it starts, serves, stops, and needs no libpython.

usage: smoke.py VENV [--with-manual]
"""

import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEADLINE = 20
VARS = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": "", "SERVER_NAME": "smoke", "SERVER_PORT": "80"}


def main(venv, with_manual=False):
    python, rusgi = venv / "bin/python", venv / "bin/rusgi"
    check_linkage(python)
    check_bill(python)
    if with_manual:
        check_manual(venv / "share")
    for command in ([rusgi, "--version"], [python, "-m", "rusgi", "--version"]):
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if not said.startswith("rusgi "):
            sys.exit(f"{command}: said {said!r} where its version was expected")
    with tempfile.TemporaryDirectory(prefix="rusgi-smoke-") as directory:
        serve(rusgi, python, pathlib.Path(directory, "app.sock"))


def check_linkage(python):
    """The extension must take Python from the process it is loaded into."""
    where = "import rusgi._rusgi; print(rusgi._rusgi.__file__)"
    extension = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    linked = subprocess.run(["ldd", extension], capture_output=True, text=True, check=True).stdout
    if "libpython" in linked:
        sys.exit(f"{extension}: is linked to libpython:\n{linked}")


def check_bill(python):
    """The wheel says what it is made of (PEP 770)."""
    listing = "import importlib.metadata as m; print(*[f.locate() for f in m.files('rusgi') if '/sboms/' in str(f)], sep='\\n')"
    bills = subprocess.run([python, "-c", listing], capture_output=True, text=True, check=True).stdout.split()
    named = [one["name"] for bill in bills for one in json.loads(pathlib.Path(bill).read_text())["components"]]
    if not {"rusgi-proto", "pyo3", "tokio"} <= set(named):
        sys.exit(f"the wheel's bill of materials names {named} only")


def check_manual(share):
    """A wheel that is published brings manual pages and completions."""
    for name in ("man/man1/rusgi.1", "man/man1/rusgi-serve.1", "bash-completion/completions/rusgi"):
        if "rusgi" not in share.joinpath(name).read_text():
            sys.exit(f"{share / name}: does not name rusgi")


def serve(rusgi, python, path):
    command = [
        rusgi,
        "serve",
        "--socket",
        f"unix:{path}",
        "--workers",
        "1",
        "--chdir",
        ROOT / "examples/hello",
        "app:application",
    ]
    daemon = subprocess.Popen(command, env={**os.environ, "RUSGI_ALLOW_ROOT": "1"})
    try:
        answer = first_answer(daemon, path)
        if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"\r\n\r\nHello, world!\n"):
            sys.exit(f"rusgi: answered {answer!r}")
        check_processes(daemon.pid, python)
    finally:
        daemon.send_signal(signal.SIGTERM)
        code = daemon.wait(DEADLINE)
    if code != 0 or path.exists():
        sys.exit(f"rusgi: stopped with status {code}, its socket {'left behind' if path.exists() else 'removed'}")


def first_answer(daemon, path):
    """The socket is bound before the application is loaded: connecting may fail for a moment, a request only waits."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline and daemon.poll() is None:
        try:
            return answer_to(packet(VARS), path)
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.02)
    sys.exit(f"rusgi: no answer within {DEADLINE} s (status {daemon.poll()})")


def answer_to(request, path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(DEADLINE)
        client.connect(str(path))
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


def packet(variables):
    """One uwsgi packet: modifier1 0, the size, the vars, modifier2 0."""
    words = [word.encode() for pair in variables.items() for word in pair]
    block = b"".join(struct.pack("<H", len(word)) + word for word in words)
    return struct.pack("<BHB", 0, len(block), 0) + block


def check_processes(pid, python):
    """Every process of the tree must be the user's own python."""
    expected = os.path.realpath(python)
    for each in [pid, *descendants(pid)]:
        program = os.readlink(f"/proc/{each}/exe")
        if program != expected:
            sys.exit(f"process {each}: is {program}, not {expected}")


def descendants(pid):
    children = [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [below for child in children for below in descendants(child)]


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[2:] not in ([], ["--with-manual"]):
        sys.exit(__doc__)
    # not resolved: through the link, bin/python would be the interpreter outside the environment
    main(pathlib.Path(sys.argv[1]).absolute(), with_manual=len(sys.argv) > 2)
