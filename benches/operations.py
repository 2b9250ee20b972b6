#!/usr/bin/env python3
"""What clients notice of operations on rusgi, uWSGI and gunicorn behind one nginx; writes docs/operations-compared.md.

usage: operations.py VENV [OPERATION...]   (VENV: the environment that `make bench` makes)
"""

import asyncio
import collections
import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time

from machine import Tree
from peers import UWSGI_CONF, Gunicorn, Rusgi, Uwsgi
from sites import Site

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/operations-compared.md"
APP = ROOT / "benches/apps/operations.py"
TIMEOUT = 8
PATIENCE = 2


@dataclasses.dataclass
class Work:
    """What the site answers once it is up."""

    path: str = "/"
    expected: bytes = b"ok\n"
    upload: int = 0


class Server:
    """A server with two processes of one thread, told where the application is and how long a request may take."""

    conf = UWSGI_CONF

    def __init__(self, make, title):
        self.make = make
        self.title = title
        self.chdir = self.wrapper = None

    def command(self, _work, _setting, path):
        return [*(self.wrapper or []), *self.make(path, self.chdir)]


def servers(venv):
    binary = venv / "bin"

    def rusgi(path, chdir):
        times = ["--request-timeout", TIMEOUT, "--timeout-grace", 1, "--start-timeout", 10]
        return [binary / "rusgi", "serve", "--socket", f"unix:{path}", "--workers", 2, "--chdir", chdir, *times, "app"]

    def uwsgi(path, chdir):
        command = [binary / "uwsgi", "--master", "--die-on-term", "--need-app", "--socket", path, "--processes", 2]
        command += ["--listen", 1024, "--virtualenv", venv, "--chdir", chdir, "--module", "app"]
        return [*command, "--harakiri", TIMEOUT]

    def gunicorn(path, chdir):
        command = [binary / "gunicorn", "--protocol", "uwsgi", "--no-control-socket", "--bind", f"unix:{path}"]
        return [*command, "--workers", 2, "--timeout", TIMEOUT, "--chdir", chdir, "--log-level", "warning", "app"]

    return [
        Server(rusgi, Rusgi(binary / "rusgi").version()),
        Server(uwsgi, Uwsgi(venv).version()),
        Server(gunicorn, Gunicorn(venv).version()),
    ]


class Trial:
    """One server under one operation."""

    def __init__(self, server, wrapper=None):
        self.server = server
        server.wrapper = wrapper

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="rusgi-operations-"))
        self.directory.chmod(0o755)
        self.server.chdir = self.directory / "app"
        self.server.chdir.mkdir()
        shutil.copy(APP, self.server.chdir / "app.py")
        self.site = Site(self.directory, {"server": self.server}, Work(), None)
        self.site.__enter__()
        return self

    def __exit__(self, *_):
        self.kill_all()
        self.site.__exit__()
        shutil.rmtree(self.directory)

    def kill_all(self):
        """A master that is dead may have left workers."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    @property
    def pid(self):
        return self.site.pid("server")

    @property
    def port(self):
        return self.site.ports["server"]

    @property
    def socket(self):
        return self.site.paths["server"]

    def write(self, name, text):
        (self.server.chdir / name).write_text(text)

    def signal(self, which):
        os.kill(self.pid, which)

    def kill_worker(self):
        """Whichever process has no children of its own."""
        leaf = [pid for pid in Tree(self.pid).pids() if len(Tree(pid).pids()) == 1][-1]
        os.kill(leaf, signal.SIGKILL)


class Load:
    """Requests at a fixed rate while the `with` block runs, whatever becomes of those before."""

    def __init__(self, port, rate, path="/", patience=30):
        self.port, self.rate, self.path, self.patience = port, rate, path, patience
        self.answers = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    async def run(self):
        began, asked = time.monotonic(), []
        while not self.over.is_set():
            await asyncio.sleep(max(0.0, began + len(asked) / self.rate - time.monotonic()))
            if self.over.is_set():
                break
            asked.append(asyncio.create_task(self.ask()))
        await asyncio.gather(*asked)

    async def ask(self):
        began = time.monotonic()
        try:
            status = await asyncio.wait_for(exchange(self.port, self.path), self.patience)
        except asyncio.TimeoutError:
            status = "gave up"
        except OSError:
            status = "reset"
        self.answers.append((status, time.monotonic() - began))

    def failed(self):
        return sum(status != 200 for status, _ in self.answers)

    def statuses(self):
        counted = collections.Counter(status for status, _ in self.answers)
        rows = sorted(counted.items(), key=lambda item: str(item[0]))
        return ", ".join(f"{count} × {status}" for status, count in rows)

    def worst(self):
        return max(seconds for _, seconds in self.answers)

    def p99(self):
        served = [seconds for status, seconds in self.answers if status == 200]
        return statistics.quantiles(served, n=100)[98] if len(served) > 1 else float("nan")

    def summary(self):
        if self.failed():
            return f"{self.failed()} of {len(self.answers)} failed ({self.statuses()}); slowest {self.worst():.2f} s"
        return f"none failed; slowest {self.worst():.2f} s"


async def exchange(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.close()
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else "no answer"


def reload(server):
    with Trial(server) as trial:
        trial.write("pause", "2")
        with Load(trial.port, 1, "/sleep/5") as slow, Load(trial.port, 100) as load:
            time.sleep(0.5)
            slow.over.set()
            trial.signal(signal.SIGHUP)
            time.sleep(9)
        return f"{load.summary()}; the long one: {slow.statuses()}"


def broken_reload(server):
    with Trial(server) as trial:
        trial.write("app.py", "def application(:\n")
        with Load(trial.port, 100) as load:
            time.sleep(0.5)
            trial.signal(signal.SIGHUP)
            time.sleep(5)
        return load.summary()


def killed_worker(server):
    with Trial(server) as trial:
        with Load(trial.port, 100) as load:
            time.sleep(0.5)
            trial.kill_worker()
            time.sleep(2.5)
        return load.summary()


def killed_master(server):
    with Trial(server) as trial:
        with Load(trial.port, 100, patience=PATIENCE) as load:
            time.sleep(0.5)
            trial.signal(signal.SIGKILL)
            time.sleep(2)
        return load.summary()


def stuck(server):
    with Trial(server) as trial:
        with Load(trial.port, 1, "/stuck", patience=4 * TIMEOUT) as load:
            time.sleep(0.2)
            load.over.set()
        (status, seconds), *_ = load.answers
        log = trial.site.log("server").read_text()
        stack = "with the Python stack" if 'File "' in log else "without a stack"
        return f"{status} after {seconds:.1f} s; log {stack}"


def overload(server):
    # half of what the clients' patience is, as docs/overload.md advises; the others know nothing like it
    with Trial(server, ["env", "RUSGI_QUEUE_TIMEOUT=1"]) as trial:
        with Load(trial.port, 500, "/sleep/0.02", PATIENCE) as load:
            time.sleep(5)
        with Load(trial.port, 20, patience=PATIENCE) as after:
            time.sleep(1)
        served = sum(status == 200 for status, _ in load.answers)
        rate = f"{served / 5:.0f}/s of 100/s served, p99 {load.p99():.2f} s"
        return f"{rate} ({load.statuses()}); after it: {after.summary()}"


def slow_peers(server):
    with Trial(server) as trial, contextlib.ExitStack() as stack:
        for number in range(100):
            peer = stack.enter_context(socket.socket(socket.AF_UNIX))
            peer.connect(str(trial.socket))
            # fifty with half a head, fifty that announce a body and do not send it
            peer.send(b"\0\xff\x01\0" if number % 2 else packet(b"100000"))
        with Load(trial.port, 20, patience=PATIENCE) as load:
            time.sleep(3)
        return load.summary()


def packet(length):
    pairs = [(b"REQUEST_METHOD", b"POST"), (b"PATH_INFO", b"/"), (b"QUERY_STRING", b""), (b"CONTENT_LENGTH", length)]
    pairs += [(b"SERVER_NAME", b"x"), (b"SERVER_PORT", b"80"), (b"SERVER_PROTOCOL", b"HTTP/1.1")]
    body = b"".join(len(word).to_bytes(2, "little") + word for pair in pairs for word in pair)
    return b"\0" + len(body).to_bytes(2, "little") + b"\0" + body


def stopped_while_loading(server):
    with Trial(server) as trial:
        trial.write("pause", "60")
        trial.signal(signal.SIGHUP)
        time.sleep(1)
        began = time.monotonic()
        trial.signal(signal.SIGTERM)
        try:
            trial.site.children["server"].wait(15)
        except Exception:
            return "still there after 15 s"
        return f"gone after {time.monotonic() - began:.1f} s"


def full_log(server):
    with Trial(server, ["sh", "-c", 'exec "$@" >/dev/full 2>&1', "sh"]) as trial:
        with Load(trial.port, 100) as load:
            time.sleep(2)
        return load.summary()


OPERATIONS = {
    "a reload (HUP) while a request of 5 s runs; the new code takes 2 s to import": reload,
    "a reload (HUP) of code with a syntax error": broken_reload,
    "`kill -9` of a worker": killed_worker,
    "`kill -9` of the supervisor or master, nobody restarts it": killed_master,
    f"a request that never ends; timeout or harakiri {TIMEOUT} s": stuck,
    f"five times the capacity (2 × 20 ms) for 5 s, clients give up after {PATIENCE} s": overload,
    "50 peers with half a head and 50 with a stalled body on the socket": slow_peers,
    "TERM while a reload hangs in the import": stopped_while_loading,
    "`/dev/full` for a log": full_log,
}

HEAD = """# Operations, compared

What clients notice behind the same nginx (`nginx/unix-socket.conf`) when something happens to the server, with two
processes of one thread each and 100 requests a second where nothing else is said. Written by `make operations`, which
tries each thing once on each server; every cell is what was seen in that run.

| | {titles} |
|---|{rules}|
"""


def main(venv, chosen):
    compared = servers(venv)
    rows = []
    for title, operation in OPERATIONS.items():
        if chosen and operation.__name__ not in chosen:
            continue
        cells = [attempt(operation, server) for server in compared]
        rows.append(f"| {title} | " + " | ".join(cells) + " |")
        print(rows[-1], flush=True)
    if not chosen:
        titles, rules = " | ".join(server.title for server in compared), "|".join("---" for _ in compared)
        PAGE.write_text(HEAD.format(titles=titles, rules=rules) + "\n".join(rows) + "\n")


def attempt(operation, server):
    """A server that cannot even be started under an operation has that in its cell."""
    try:
        return operation(server)
    except SystemExit as problem:
        print(problem, file=sys.stderr)
        return "does not start"


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]).absolute(), sys.argv[2:])
