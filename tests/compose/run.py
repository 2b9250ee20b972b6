#!/usr/bin/env python3
"""docker-compose.yml, brought up and driven: `make test-compose` calls this.

usage: run.py DATA    DATA: where an engine of our own keeps its images between runs
"""

import contextlib
import pathlib
import signal
import sys
import time
import traceback

import images
import replicas
import unix_socket
from engine import docker, engine
from load import await_answer
from stack import Stack, container_compose, free_ports, host_compose, is_version_1


def main(data):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    with engine(data) as is_ours, prepared(is_ours):
        results = [*run_unix_socket(), *run_replicas()]
    failed = results.count(False)
    print(f"test result: {'FAILED' if failed else 'ok'}. {len(results) - failed} passed; {failed} failed")
    sys.exit(failed > 0)


@contextlib.contextmanager
def prepared(is_ours):
    """Everything is built; stand-ins do not stay in an engine that others use under names that are not ours."""
    try:
        images.make_all(with_compose_2=is_version_1(host_compose()[1]))
        yield
    finally:
        if images.STAND_INS and not is_ours:
            docker("image", "rm", "--force", *images.STAND_INS)


def run_unix_socket():
    """With the host's docker-compose."""
    command, version = host_compose()
    ports = free_ports("UNIX_PORT")
    stack, base = Stack(command, "unix", ports=ports), f"http://{ports['UNIX_PORT']}"
    with stack.up():
        await_answer(base)
        return check(f"unix socket, docker-compose {version}", unix_socket.tests(stack, base))


def run_replicas():
    """With docker compose 2, wherever that is; the host's must accept the file as well."""
    command, version = host_compose()
    ports = free_ports("TCP_PORT")
    if is_version_1(version):
        Stack(command, "tcp", ("--profile", "tcp"))("config", "--quiet")
        command = container_compose(ports)
    stack = Stack(command, "tcp", ("--profile", "tcp"), ports)
    base = f"http://{ports['TCP_PORT']}"
    with stack.up("--scale", "rusgi-tcp=1", "nginx-tcp"):
        await_answer(base)
        return check(f"replicas, docker-compose {stack('version', '--short')}", replicas.tests(stack, base))


def check(title, tests):
    print(f"\n{title}", flush=True)
    return [passes(name, test) for name, test in tests]


def passes(name, test):
    started = time.monotonic()
    try:
        said = test()
    except Exception:
        print(f"test {name} ... FAILED\n{traceback.format_exc()}", flush=True)
        return False
    print(f"test {name} ... ok ({time.monotonic() - started:.1f} s{f', {said}' if said else ''})", flush=True)
    return True


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]).absolute())
