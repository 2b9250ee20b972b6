"""What holds of nginx and one rusgi that share a Unix socket."""

import os
import tempfile
import time

from engine import DOCKER, attempt, docker, run
from images import BASE, BUNDLE, CANARY, EXAMPLE
from load import Load, Stream, ask, sha256, upload
from stack import eventually, host_compose, inside, state, workers

SOCKET = "/run/rusgi/app.sock"


def tests(stack, base):
    rusgi = stack.containers("rusgi")[0]
    yield "requests_reach_the_application", lambda: requests_reach_the_application(base)
    yield "an_upload_arrives_whole", lambda: an_upload_arrives_whole(base)
    yield "the_image_adds_little", the_image_adds_little
    yield "nothing_of_the_host_is_in_the_image", nothing_of_the_host_is_in_the_image
    yield "what_init_prints_is_a_compose_file", what_init_prints_is_a_compose_file
    yield "process_one_is_rusgi_without_privileges", lambda: process_one_is_rusgi_without_privileges(rusgi)
    yield "only_nginx_may_open_the_socket", lambda: only_nginx_may_open_the_socket(rusgi)
    yield "workers_are_as_many_as_the_container_has_cpus", lambda: workers_are_as_many_as_the_container_has_cpus(rusgi)
    yield "orphans_are_reaped", lambda: orphans_are_reaped(rusgi)
    yield "docker_finds_it_healthy", lambda: docker_finds_it_healthy(rusgi)
    yield "a_reload_fails_no_request", lambda: a_reload_fails_no_request(rusgi, base)
    yield "a_killed_worker_is_replaced", lambda: a_killed_worker_is_replaced(rusgi, base)
    yield "a_worker_beyond_the_memory_limit_costs_its_own_request", lambda: beyond_the_memory_limit(rusgi, base)
    yield "docker_stop_finishes_what_is_in_flight", lambda: docker_stop_finishes_what_is_in_flight(rusgi, base)
    yield "it_starts_again_after_a_kill", lambda: it_starts_again_after_a_kill(rusgi, base)


def requests_reach_the_application(base):
    status, body = ask(base, "/hello/docker")
    assert status == 200 and b"Hello, docker!" in body, (status, body)


def an_upload_arrives_whole(base):
    content = os.urandom(5 << 20)
    answer = upload(base, content)
    assert (answer["size"], answer["sha256"]) == (len(content), sha256(content)), answer


def what_init_prints_is_a_compose_file():
    for address in ("unix:/run/rusgi/app.sock", "0.0.0.0:3031"):
        text = docker("run", "--rm", EXAMPLE, "init", "compose", "app:app", "--socket", address)
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            file.write(text)
            file.flush()
            run([*host_compose()[0], "--file", file.name, "config", "--quiet"])


def the_image_adds_little():
    """Debian's python alone is some forty megabytes."""
    image, below = (int(docker("image", "inspect", "--format", "{{.Size}}", name)) for name in (EXAMPLE, BASE))
    assert image - below < 80_000_000, f"{image - below} bytes above {BASE}"
    return f"{(image - below) // 1_000_000} MB above {BASE}"


def nothing_of_the_host_is_in_the_image():
    """Every layer is searched for a word of each secret."""
    words = [CANARY, *first_certificate()]
    patterns = "".join(f" -e {word}" for word in words)
    found, said = attempt(["sh", "-c", f"{DOCKER} save {EXAMPLE} | grep --text --count --fixed-strings{patterns}"])
    assert not found and said == "0", f"{said} lines of the image hold something of the host"


def first_certificate():
    """A line from the middle of the host's first certificate."""
    if not os.path.exists(BUNDLE):
        return []
    with open(BUNDLE) as bundle:
        return [bundle.read().partition("BEGIN CERTIFICATE-----\n")[2].splitlines()[5]]


def process_one_is_rusgi_without_privileges(rusgi):
    status = inside(rusgi, "cat", "/proc/1/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split()[0] == "10001" and int(fields["CapBnd"], 16) == 0, fields
    assert fields["NoNewPrivs"] == "1", fields
    assert "rusgi" in inside(rusgi, "cat", "/proc/1/cmdline"), "process 1 is something else"
    written, said = attempt([DOCKER, "exec", "--user", "0", rusgi, "touch", "/app/file"])
    assert not written and "Read-only file system" in said, said


def only_nginx_may_open_the_socket(rusgi):
    said = inside(rusgi, "stat", "--format", "%a %u %g", SOCKET, "/run/rusgi")
    assert said.splitlines() == ["660 10001 101", "750 10001 101"], said
    volume = docker("inspect", "--format", "{{(index .Mounts 0).Name}}", rusgi)
    as_user = [DOCKER, "run", "--rm", "--network", "none", "--volume", f"{volume}:/run/rusgi", "--user"]
    reached, said = attempt([*as_user, "101:101", EXAMPLE, "ping", f"unix:{SOCKET}"])
    assert reached, said
    reached, said = attempt([*as_user, "12345:12345", EXAMPLE, "ping", f"unix:{SOCKET}"])
    assert not reached and "Permission denied" in said, said


def workers_are_as_many_as_the_container_has_cpus(rusgi):
    assert len(workers(rusgi)) == 1, workers(rusgi)


def orphans_are_reaped(rusgi):
    inside(rusgi, "sh", "-c", "(sleep 0.2 &)")
    eventually("no zombie", lambda: "Z" not in docker("top", rusgi, "-o", "pid,state").split())
    eventually("no orphan", lambda: "sleep" not in docker("top", rusgi, "-o", "pid,comm"))


def docker_finds_it_healthy(rusgi):
    eventually("healthy", lambda: state(rusgi)["Health"]["Status"] == "healthy")


def a_reload_fails_no_request(rusgi, base):
    before = {each["pid"] for each in workers(rusgi)}
    with Load(base) as load:
        for _ in range(3):
            inside(rusgi, "rusgi", "reload", "--wait")
    eventually("the old worker gone", lambda: before.isdisjoint(each["pid"] for each in workers(rusgi)))
    return str(load)


def a_killed_worker_is_replaced(rusgi, base):
    killed = workers(rusgi)[0]["pid"]
    inside(rusgi, "python3", "-c", f"import os; os.kill({killed}, 9)")
    status, _ = ask(base, "/hello/again")
    assert status == 200 and killed != workers(rusgi)[0]["pid"], status


def beyond_the_memory_limit(rusgi, base):
    """The kernel kills the worker, not the supervisor: the container goes on."""
    status, _ = ask(base, "/large?size=300000000")
    assert status == 502, status
    status, _ = ask(base, "/hello/again")
    assert status == 200 and state(rusgi)["Running"] and restarts(rusgi) == 0, (status, state(rusgi))


def restarts(container):
    return int(docker("inspect", "--format", "{{.RestartCount}}", container))


def docker_stop_finishes_what_is_in_flight(rusgi, base):
    """Four streams of two seconds each have begun when it is told to stop."""
    streams = [Stream(base, "/stream?chunks=5&pause=0.4") for _ in range(4)]
    for stream in streams:
        stream.await_beginning()
    started = time.monotonic()
    docker("stop", rusgi)
    took = time.monotonic() - started
    ends = [stream.rest() for stream in streams]
    assert all(len(end) == 64 and end.splitlines()[-1].startswith(b"4.") for end in ends), ends
    assert took < 9 and state(rusgi)["ExitCode"] == 0, (took, state(rusgi))
    return f"in {took:.1f} s"


def it_starts_again_after_a_kill(rusgi, base):
    """The socket that was left behind is in nobody's way."""
    docker("start", rusgi)
    eventually("serving", lambda: ask(base, "/hello/again")[0] == 200)
    os.kill(state(rusgi)["Pid"], 9)
    eventually("restarted", lambda: state(rusgi)["Running"] and ask(base, "/hello/again")[0] == 200)
