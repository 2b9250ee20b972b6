"""The servers that are compared, and the nginx in front of all of them."""

import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEADLINE = 20


@dataclass(frozen=True)
class Setting:
    """How much of a server is started."""

    processes: int
    threads: int


class Rusgi:
    """rusgi, from the wheel or as the embedding binary."""

    def __init__(self, program, environment=()):
        self.program = program
        self.environment = environment

    def version(self):
        return first_line([self.program, "--version"])

    def command(self, work, setting, path):
        command = [self.program, "serve", "--socket", f"unix:{path}", "--chdir", work.chdir, *self.environment]
        command += ["--workers", setting.processes, "--threads", setting.threads, work.target]
        return [str(word) for word in command]


class Uwsgi:
    """uWSGI with a master, as operators run it, but without what costs it time: request log, unasked threads."""

    def __init__(self, program):
        self.program = program

    def version(self):
        return "uWSGI " + first_line([self.program, "--version"])

    def command(self, work, setting, path):
        command = [
            self.program,
            "--master",
            "--die-on-term",
            "--need-app",
            "--disable-logging",
            "--buffer-size",
            "65535",
        ]
        command += ["--socket", path, "--chdir", work.chdir, "--module", work.module, "--callable", work.callable]
        command += ["--processes", setting.processes]
        if setting.threads > 1:
            command += ["--threads", setting.threads]
        return [str(word) for word in command]


PEERS = {
    "wheel": lambda options: Rusgi(options.venv / "bin/rusgi"),
    "embedded": lambda options: Rusgi(options.binary, ["--virtualenv", options.venv]),
    "uwsgi": lambda options: Uwsgi(options.venv / "bin/uwsgi"),
}


class Site:
    """One nginx, and behind it each server on a Unix socket and a port of its own; used as a context."""

    def __init__(self, directory, peers, work, setting):
        self.directory = directory
        self.peers = peers
        self.work = work
        self.setting = setting
        self.ports = dict(zip(peers, free_ports(len(peers))))
        self.children = {}

    def __enter__(self):
        try:
            for number, (label, peer) in enumerate(self.peers.items()):
                path = self.directory / f"{number}.sock"
                self.render(f"site{number}", label, path)
                self.start(label, peer.command(self.work, self.setting, path))
            self.start("nginx", ["nginx", "-e", "error.log", "-p", self.directory, "-c", "nginx.conf"])
            for label in self.peers:
                self.await_answer(label)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for child in reversed(self.children.values()):
            child.send_signal(signal.SIGTERM)
        for child in self.children.values():
            try:
                child.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def url(self, label):
        return f"http://127.0.0.1:{self.ports[label]}{self.work.path}"

    def pid(self, label):
        return self.children[label].pid

    def render(self, name, label, path):
        """The very configuration the project recommends."""
        script = [ROOT / "nginx/render.sh", self.directory, "unix-socket.conf"]
        subprocess.run([*script, f"127.0.0.1:{self.ports[label]}", f"unix:{path}", name], check=True)

    def start(self, label, command):
        if not shutil.which(command[0]):
            sys.exit(f"{command[0]}: not there: run `make bench`, which builds it")
        with open(self.log(label), "wb") as log:
            self.children[label] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def log(self, label):
        return self.directory / f"{re.sub(r'[^a-z0-9]', '-', label)}.log"

    def await_answer(self, label):
        """The right body must come back before anything is measured."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline, seen = time.monotonic() + DEADLINE, None
        while time.monotonic() < deadline:
            try:
                seen = opener.open(self.url(label), timeout=2).read()
                if seen == self.work.expected:
                    return
            except OSError as error:
                seen = error
            if self.children[label].poll() is not None:
                break
            time.sleep(0.05)
        sys.exit(f"{label}: no good answer ({seen!r}); its log:\n{self.log(label).read_text()[-4000:]}")


def first_line(command):
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    return said.stdout.splitlines()[0]


def free_ports(count):
    """Held all at once, so that they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
