"""A Docker engine: the one that runs, or one of our own that ends with us."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

STARTING = 60
STOPPING = 60
# the distribution's client first: it fits the distribution's engine, and can build with secrets
DOCKER = "/usr/bin/docker" if os.access("/usr/bin/docker", os.X_OK) else "docker"


def docker(*arguments, **options):
    """What a docker command printed; a command that fails ends the run with what it said."""
    return run([DOCKER, *arguments], **options)


def run(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        last = "\n".join(done.stdout.splitlines()[-60:])
        raise SystemExit(f"{' '.join(map(str, command))}: status {done.returncode}:\n{last}")
    return done.stdout.strip()


def attempt(command):
    """Whether a command succeeded, and what it printed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode == 0, done.stdout.strip()


@contextlib.contextmanager
def engine(data):
    """Yields whether the engine is ours; DOCKER_HOST says where it is. `data` keeps the images between runs."""
    os.environ["DOCKER_BUILDKIT"] = "1"
    if attempt([DOCKER, "info"])[0]:
        print("engine: one runs already, and is used")
        yield False
        return
    with one_at_a_time(), tempfile.TemporaryDirectory(prefix="rusgi-docker-") as directory:
        with network_as_it_was(), daemon(pathlib.Path(directory), data):
            yield True


@contextlib.contextmanager
def one_at_a_time():
    """Two engines of our own would share a bridge and the packet filter."""
    with open(pathlib.Path(tempfile.gettempdir(), "rusgi-docker.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def daemon(directory, data):
    if not shutil.which("dockerd"):
        sys.exit("dockerd: not found: .ci/install.sh docker installs it")
    os.environ["DOCKER_HOST"] = f"unix://{directory}/docker.sock"
    log = data.parent / "dockerd.log"
    data.mkdir(parents=True, exist_ok=True)
    command = ["dockerd", "--host", os.environ["DOCKER_HOST"], "--data-root", data, "--exec-root", directory / "exec"]
    with log.open("w") as output:
        # a session of its own: Ctrl-C must not take it away before the containers are down
        process = subprocess.Popen(
            [*command, "--pidfile", directory / "pid"], stdout=output, stderr=output, start_new_session=True
        )
    try:
        await_engine(process, log)
        yield
    finally:
        process.terminate()
        process.wait(STOPPING)


def await_engine(process, log):
    deadline = time.monotonic() + STARTING
    while not attempt([DOCKER, "info"])[0]:
        if process.poll() is not None or time.monotonic() > deadline:
            last = "".join(log.read_text().splitlines(keepends=True)[-20:])
            sys.exit(f"dockerd: does not run here; it needs root and the right to mount and to make networks:\n{last}")
        time.sleep(0.1)
    print("engine: started, of its own:", docker("info", "--format", "{{.ServerVersion}}, {{.Driver}}"))


@contextlib.contextmanager
def network_as_it_was():
    """An engine leaves its bridge, its packet filter and forwarding behind."""
    forwarding = pathlib.Path("/proc/sys/net/ipv4/ip_forward")
    had_bridge, forwarded = pathlib.Path("/sys/class/net/docker0").exists(), forwarding.read_text()
    rules = run(["iptables-save"]) + "\n"
    try:
        yield
    finally:
        # the tables that were empty at the start are not in what was saved
        for table in ("filter", "nat"):
            run(["iptables-restore"], input=empty(table))
        run(["iptables-restore"], input=rules)
        if not had_bridge:
            subprocess.run(["ip", "link", "delete", "docker0"], check=False)
        forwarding.write_text(forwarded)


def empty(table):
    chains = {"filter": ("INPUT", "FORWARD", "OUTPUT"), "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")}[table]
    return "\n".join([f"*{table}", *(f":{chain} ACCEPT [0:0]" for chain in chains), "COMMIT", ""])
