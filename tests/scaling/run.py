#!/usr/bin/env python3
"""Three machines with a rusgi each, in network namespaces, behind nginx/hosts.conf: rolled, lost and killed under load.

usage: run.py RUSGI    RUSGI: the program that is started on each machine
"""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/compose"))

from load import Load, ask, await_answer  # noqa: E402

FRONT = "10.0.0.1"
ADDRESSES = ("10.0.0.11", "10.0.0.12", "10.0.0.13")
BASE = f"http://{FRONT}:80"
PATIENCE = 30
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main(rusgi):
    if os.environ.get("RUSGI_NAMESPACE") != "entered":
        enter()
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    os.environ["RUSGI_ALLOW_ROOT"] = "1"
    with tempfile.TemporaryDirectory(prefix="rusgi-scaling-") as directory, contextlib.ExitStack() as stack:
        make_network()
        machines = [stack.enter_context(Machine(rusgi, address)) for address in ADDRESSES]
        stack.enter_context(nginx(pathlib.Path(directory)))
        for machine in machines:
            machine.await_ready()
        await_answer(BASE)
        results = [passes(name, test, machines) for name, test in TESTS.items()]
    failed = results.count(False)
    print(f"test result: {'FAILED' if failed else 'ok'}. {len(results) - failed} passed; {failed} failed")
    sys.exit(failed > 0)


def enter():
    """Namespaces of our own for users, network and processes: nothing outlives us, and we need not be root."""
    os.environ["RUSGI_NAMESPACE"] = "entered"
    namespaces = ["--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    os.execvp("unshare", ["unshare", *namespaces, sys.executable, *sys.argv])


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def make_network():
    """This namespace is where nginx and the clients are; each machine hangs on its bridge."""
    ip("link", "set", "lo", "up")
    ip("link", "add", "front", "type", "bridge")
    ip("address", "add", f"{FRONT}/24", "dev", "front")
    ip("link", "set", "front", "up")


class Machine:
    """A network namespace, held open by a process that only waits, and the rusgi in it."""

    def __init__(self, rusgi, address):
        self.rusgi, self.address, self.link = rusgi, address, f"to{address.rpartition('.')[2]}"

    def __enter__(self):
        self.anchor = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
        here = os.readlink("/proc/self/ns/net")
        await_that("a namespace", lambda: os.readlink(f"/proc/{self.anchor.pid}/ns/net") != here)
        ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", str(self.anchor.pid))
        ip("link", "set", self.link, "master", "front", "up")
        for each in (["address", "add", f"{self.address}/24", "dev", "eth0"], ["link", "set", "eth0", "up"]):
            subprocess.run([*self.within(), "ip", *each], check=True)
        self.start()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.anchor.stdin.close()
        self.anchor.wait()

    def within(self):
        return ["nsenter", f"--net=/proc/{self.anchor.pid}/ns/net", "--"]

    def start(self):
        serve = [self.rusgi, "serve", "--chdir", ROOT / "examples/hello", "--workers", "2", "--log-level", "error"]
        listen = ["--socket", f"{self.address}:3031", "--admin", f"{self.address}:9000"]
        self.process = subprocess.Popen([*self.within(), *serve, *listen, "app:application"])

    def stop(self):
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        assert code == 0, f"rusgi on {self.address} stopped with {code}"

    def is_ready(self):
        try:
            return DIRECT.open(f"http://{self.address}:9000/readyz", timeout=2).status == 200
        except OSError:
            return False

    def await_ready(self):
        await_that(f"{self.address} ready", self.is_ready)

    def await_requests(self):
        """Until it receives what some requests weigh."""
        before = self.received()
        await_that(f"requests at {self.address}", lambda: self.received() > before + 10_000)

    def received(self):
        """In bytes: what this side's end of its cable has sent, the ninth of the numbers."""
        lines = pathlib.Path("/proc/net/dev").read_text().splitlines()
        return next(int(line.split(":")[1].split()[8]) for line in lines if line.strip().startswith(f"{self.link}:"))


@contextlib.contextmanager
def nginx(directory):
    """nginx/hosts.conf as it is; only that a machine which falls silent in mid-request is given up sooner."""
    render = [ROOT / "nginx/render.sh", directory, "hosts.conf", f"{FRONT}:80", f"{ADDRESSES[0]}:3031"]
    subprocess.run(render, check=True)
    (directory / "sites/timeouts.conf").write_text("uwsgi_read_timeout 3s;\n")
    process = subprocess.Popen(["nginx", "-e", "error.log", "-p", directory, "-c", "nginx.conf"])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def await_that(what, holds):
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE} s"
        time.sleep(0.02)


def rolling_all_machines_fails_no_request(machines):
    with Load(BASE, "/") as load:
        for machine in machines:
            machine.stop()
            machine.start()
            machine.await_ready()
            machine.await_requests()
    return str(load)


def a_machine_that_falls_silent_fails_no_request(machines):
    """Its cable is pulled: nothing is refused, nothing is answered. Later it is put back."""
    lost = machines[0]
    with Load(BASE, "/") as load:
        ip("link", "set", lost.link, "down")
        load.goes_on(400)
        ip("link", "set", lost.link, "up")
        lost.await_requests()
    return str(load)


def a_killed_supervisor_fails_no_request(machines):
    """Its workers notice, finish what they have, and go; the machine refuses until rusgi is started again."""
    killed = machines[1]
    with Load(BASE, "/") as load:
        killed.process.kill()
        killed.process.wait()
        load.goes_on(200)
        killed.start()
        killed.await_ready()
        killed.await_requests()
    return str(load)


def every_machine_but_one_may_go(machines):
    with Load(BASE, "/") as load:
        for machine in machines[1:]:
            machine.stop()
        load.goes_on(200)
    assert ask(BASE, "/")[0] == 200
    return str(load)


TESTS = {
    test.__name__: test
    for test in (
        rolling_all_machines_fails_no_request,
        a_machine_that_falls_silent_fails_no_request,
        a_killed_supervisor_fails_no_request,
        every_machine_but_one_may_go,
    )
}


def passes(name, test, machines):
    started = time.monotonic()
    try:
        said = test(machines)
    except Exception:
        print(f"test {name} ... FAILED\n{traceback.format_exc()}", flush=True)
        return False
    print(f"test {name} ... ok ({time.monotonic() - started:.1f} s, {said})", flush=True)
    return True


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
