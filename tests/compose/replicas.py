"""What holds of several rusgi behind nginx's upstream, while they come and go under load."""

import os

from engine import docker
from load import Load, ask, sha256, upload
from stack import eventually, inside, state

REPLICAS = 3


def tests(stack, base):
    yield "scaling_from_one_to_three_fails_no_request", lambda: scaling_fails_no_request(stack, base, REPLICAS)
    yield "an_upload_arrives_whole", lambda: an_upload_arrives_whole(base)
    yield "docker_stop_of_a_replica_fails_no_request", lambda: docker_stop_of_a_replica_fails_no_request(stack, base)
    yield "a_killed_replica_fails_no_request", lambda: a_killed_replica_fails_no_request(stack, base)
    yield "scaling_from_three_to_one_fails_no_request", lambda: scaling_fails_no_request(stack, base, 1)


def scaling_fails_no_request(stack, base, number):
    with Load(base) as load:
        stack("up", "--detach", "--no-build", "--no-recreate", "--scale", f"rusgi-tcp={number}", "nginx-tcp")
        replicas = stack.containers("rusgi-tcp")
        assert len(replicas) == number, replicas
        all_of_them_serve(replicas)
        load.goes_on()
    return str(load)


def all_of_them_serve(replicas):
    """Each receives what a dozen requests weigh: that is, nginx has heard of it from DNS."""
    before = {each: received(each) for each in replicas}
    eventually("requests at each replica", lambda: all(received(each) > before[each] + 10_000 for each in replicas))


def received(replica):
    return int(inside(replica, "cat", "/sys/class/net/eth0/statistics/rx_bytes"))


def an_upload_arrives_whole(base):
    content = os.urandom(5 << 20)
    answer = upload(base, content)
    assert (answer["size"], answer["sha256"]) == (len(content), sha256(content)), answer


def docker_stop_of_a_replica_fails_no_request(stack, base):
    stopped = stack.containers("rusgi-tcp")[0]
    with Load(base) as load:
        docker("stop", stopped)
        assert state(stopped)["ExitCode"] == 0, state(stopped)
        load.goes_on()
        docker("start", stopped)
        all_of_them_serve(stack.containers("rusgi-tcp"))
    return str(load)


def a_killed_replica_fails_no_request(stack, base):
    """Its process 1 is killed from outside, as the kernel does when memory runs out; Docker starts it again."""
    killed = stack.containers("rusgi-tcp")[0]
    first = state(killed)["Pid"]
    with Load(base) as load:
        os.kill(first, 9)
        eventually("restarted", lambda: state(killed)["Running"] and state(killed)["Pid"] not in (0, first))
        all_of_them_serve([killed])
    assert ask(base, "/hello/again")[0] == 200
    return str(load)
