"""One nginx, and behind it each server on a Unix socket and a port of its own."""

import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

from peers import PROXY_CONF

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEADLINE = 30
# what render.sh gives is enough for one site, not for a thousand clients and as many upstreams
CONNECTIONS = ("worker_connections 1024;", "worker_connections 16384;")


class Site:
    """Used as a context: everything is up and has given the right answer within it."""

    def __init__(self, directory, peers, work, setting):
        self.directory = directory
        self.peers = peers
        self.work = work
        self.setting = setting
        self.ports = dict(zip(peers, free_ports(len(peers))))
        self.paths = {label: directory / f"{number}.sock" for number, label in enumerate(peers)}
        self.children = {}

    def __enter__(self):
        try:
            for label, peer in self.peers.items():
                self.render(label, peer)
                self.start(label, peer.command(self.work, self.setting, self.paths[label]))
            self.start("nginx", ["nginx", "-e", "error.log", "-p", self.directory, "-c", self.widened("nginx.conf")])
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

    def render(self, label, peer):
        """The very configuration the project recommends; the proxy's upstream gets a name of its own."""
        name, conf = f"site{self.ports[label]}", peer.conf
        if conf == PROXY_CONF:
            conf = self.directory / f"{name}.conf"
            conf.write_text(PROXY_CONF.read_text().replace("granian", name))
        script = [ROOT / "nginx/render.sh", self.directory, conf, f"127.0.0.1:{self.ports[label]}"]
        subprocess.run([*script, f"unix:{self.paths[label]}", name], check=True)

    def widened(self, name):
        conf = self.directory / name
        text = conf.read_text()
        if CONNECTIONS[0] not in text:
            sys.exit(f"{conf}: no {CONNECTIONS[0]!r} in it: tell benches/sites.py what nginx/render.sh writes now")
        conf.write_text(text.replace(*CONNECTIONS))
        return name

    def start(self, label, command):
        command = [str(word) for word in command]
        if not shutil.which(command[0]):
            sys.exit(f"{command[0]}: not there: run `make bench`, which builds it")
        with open(self.log(label), "wb") as log:
            self.children[label] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def log(self, label):
        return self.directory / f"{re.sub(r'[^a-z0-9]', '-', label)}.log"

    def ask(self, label, path=None):
        """One request; the whole body of its answer."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        url = self.url(label) if path is None else f"http://127.0.0.1:{self.ports[label]}{path}"
        data = b"x" * self.work.upload if self.work.upload else None
        return opener.open(url, data, timeout=5).read()

    def await_answer(self, label):
        """The right body must come back before anything is measured."""
        deadline, seen = time.monotonic() + DEADLINE, None
        while time.monotonic() < deadline:
            try:
                seen = self.ask(label)
                if seen == self.work.expected:
                    return
            except OSError as error:
                seen = error
            if self.children[label].poll() is not None:
                break
            time.sleep(0.05)
        seen = repr(seen)[:200]
        sys.exit(f"{label}: no good answer ({seen}); its log:\n{self.log(label).read_text()[-4000:]}")


def free_ports(count):
    """Held all at once, so that they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
