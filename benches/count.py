"""Where time is too noisy: system calls per request (strace) and instructions per request (callgrind)."""

import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import time

import load
from machine import Tree, system_calls
from measure import say
from works import WORKS, Setting

FEWER, MORE = 1000, 3000
# requests that are under way at the end have been traced and are not counted: enough time makes them few
CLIENTS, SECONDS = 32, 5
DEADLINE = 120
# what nginx sends for a plain GET with Debian's uwsgi_params
VARS = {
    "QUERY_STRING": "",
    "REQUEST_METHOD": "GET",
    "CONTENT_TYPE": "",
    "CONTENT_LENGTH": "",
    "REQUEST_URI": "/",
    "PATH_INFO": "/",
    "DOCUMENT_ROOT": "/usr/share/nginx/html",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REQUEST_SCHEME": "http",
    "REMOTE_ADDR": "127.0.0.1",
    "REMOTE_PORT": "40000",
    "SERVER_PORT": "8000",
    "SERVER_NAME": "localhost",
    "HTTP_HOST": "127.0.0.1:8000",
}


def run(bench):
    peers = bench.chosen("wheel", "embedded", "uwsgi")
    with bench.site("hello", Setting(1, 1), peers) as site:
        calls = {label: calls_per_request(bench, site, label) for label in peers}
    instructions = {label: instructions_per_request(bench, label, peer) for label, peer in peers.items()}
    return {"calls": calls, "instructions": instructions}


def calls_per_request(bench, site, label):
    """strace slows the server down, so requests wait for it: this is what a busy one does."""
    with system_calls(Tree(site.pid(label)).pids()[1:]) as counted:
        loaded = load.closed(site.url(label), site.work, CLIENTS, SECONDS)
    found = {name: round(calls / loaded["requests"], 2) for name, calls in counted.items()}
    say(f"{label}: {sum(found.values()):.2f} system calls per request")
    return {name: count for name, count in sorted(found.items(), key=lambda each: -each[1]) if count}


def instructions_per_request(bench, label, peer):
    """In user space, of all processes; what starting and stopping costs is in both runs and falls out."""
    fewer, more = (instructions(bench, label, peer, count) for count in (FEWER, MORE))
    found = (more - fewer) / (MORE - FEWER)
    say(f"{label}: {found:.0f} instructions per request")
    return found


def instructions(bench, label, peer, requests):
    directory = bench.directory / f"callgrind-{label}-{requests}"
    directory.mkdir()
    path = directory / "app.sock"
    command = ["valgrind", "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={directory}/out.%p"]
    command += [*interpreted(peer.program), *peer.command(WORKS["hello"], Setting(1, 1), path)[1:]]
    with open(directory / "log", "wb") as log:
        server = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log, start_new_session=True)
    try:
        await_server(server, path, directory / "log")
        for _ in range(requests):
            ask(path)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(DEADLINE)
    return sum(map(total, directory.glob("out.*")))


def interpreted(program):
    """valgrind runs no scripts: their interpreter comes first."""
    with open(program, "rb") as file:
        first = file.readline()
    return [first[2:].decode().strip(), program] if first.startswith(b"#!") else [program]


def await_server(server, path, log):
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline and server.poll() is None:
        try:
            return ask(path)
        except OSError:
            time.sleep(0.1)
    server.kill()
    sys.exit(f"no answer under valgrind; the log:\n{log.read_text()[-4000:]}")


def ask(path):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(DEADLINE)
        peer.connect(str(path))
        peer.sendall(packet(VARS))
        answer = b"".join(iter(lambda: peer.recv(65536), b""))
    if not answer.endswith(WORKS["hello"].expected):
        raise SystemExit(f"{path}: answered {answer[:200]!r}")


def packet(request):
    pairs = [word.encode() for pair in request.items() for word in pair]
    body = b"".join(struct.pack("<H", len(word)) + word for word in pairs)
    return struct.pack("<BHB", 0, len(body), 0) + body


def total(path):
    found = re.search(r"^totals: (\d+)", pathlib.Path(path).read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
