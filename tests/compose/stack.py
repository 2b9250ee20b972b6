"""The services of docker-compose.yml, brought up by one or the other docker-compose."""

import contextlib
import json
import os
import re
import socket
import time

from engine import DOCKER, attempt, docker, run
from images import COMPOSE_2, ROOT

PROJECT = "rusgi-test"


def host_compose():
    """The docker-compose of this host, and its version."""
    for command in (["docker-compose"], [DOCKER, "compose"]):
        there, said = attempt_version(command)
        if there:
            return command, said
    raise SystemExit("docker-compose: not found: .ci/install.sh docker installs it")


def attempt_version(command):
    try:
        return attempt([*command, "version", "--short"])
    except FileNotFoundError:
        return False, ""


def container_compose(ports):
    """docker compose 2 in a container that is given the engine's socket, and this checkout at the same path."""
    engine = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    mounts = ["--volume", f"{engine}:/var/run/docker.sock", "--volume", f"{ROOT}:{ROOT}:ro", "--workdir", ROOT]
    passed = [word for name, value in ports.items() for word in ("--env", f"{name}={value}")]
    return [DOCKER, "run", "--rm", "--network", "none", *mounts, *passed, COMPOSE_2]


class Stack:
    """One profile, up under a project name of its own."""

    def __init__(self, command, project, arguments=(), ports={}):
        self.command = [*command, "--project-name", f"{PROJECT}-{project}", *arguments]
        self.ports = ports

    def __call__(self, *arguments):
        return run([*self.command, *arguments], cwd=ROOT, env={**os.environ, **self.ports})

    @contextlib.contextmanager
    def up(self, *arguments):
        try:
            self("up", "--detach", "--no-build", *arguments)
            yield self
        except AssertionError:
            print(self("logs", "--tail", "40"))
            raise
        finally:
            self("down", "--volumes", "--remove-orphans")

    def containers(self, service):
        """The ids of a service's running containers."""
        name = self.command[self.command.index("--project-name") + 1]
        labels = (f"label=com.docker.compose.project={name}", f"label=com.docker.compose.service={service}")
        return docker("ps", "--quiet", *(word for label in labels for word in ("--filter", label))).split()


def inside(container, *command):
    return docker("exec", container, *command)


def state(container):
    return json.loads(docker("inspect", "--format", "{{json .State}}", container))


def workers(container):
    return json.loads(inside(container, "rusgi", "status", "--json"))["workers"]


def eventually(what, holds, patience=30):
    deadline = time.monotonic() + patience
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {patience} s")
        time.sleep(0.1)


def free_ports(*names):
    """A free port of this machine for each name; only loopback is opened."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        return {name: f"127.0.0.1:{probe.getsockname()[1]}" for name, probe in zip(names, probes)}


def is_version_1(version):
    return re.match(r"v?1\.", version) is not None
