"""What a client waits: at a fixed rate, at growing concurrency, and beside peers that have stalled."""

import contextlib
import socket
from statistics import median

import load
from measure import say, summary
from works import Setting

SHARES = [0.3, 0.7]
LEVELS = [1, 4, 16, 64, 256, 1024]
STALLED = 50
# the first half of a packet whose header announces 256 bytes
HALF_A_HEAD = b"\x00\x00\x01\x00" + b"\x0e\x00REQUEST_METHOD"


def fixed_rate(bench):
    """The same rates for all: shares of what uWSGI (else the first server) answers when asked without pause."""
    labels = list(bench.peers)
    reference = "uwsgi" if "uwsgi" in labels else labels[0]
    with bench.site("hello", Setting(1, 1)) as site:
        capacity = median(bench.loaded(site, reference)["per_second"] for _ in range(3))
        found = {"capacity": capacity, "of": reference}
        found["rates"] = [one_rate(bench, site, share, round(share * capacity)) for share in SHARES]
    return found


def one_rate(bench, site, share, rate):
    rounds = bench.rounds(list(bench.peers), lambda label: at_rate(bench, site, label, rate), bench.options.few)
    servers = {label: summary(taken) for label, taken in rounds.items()}
    say(f"{rate}/s: " + ", ".join(f"{label} p99 {of['p99_us']:.0f} µs" for label, of in servers.items()))
    return {"share": share, "per_second": rate, "servers": servers}


def at_rate(bench, site, label, rate):
    return load.paced(bench.options.tools, site.url(label), rate, 2 * bench.options.seconds)


def concurrency(bench):
    with bench.site("hello", Setting(1, 1)) as site:
        return [one_level(bench, site, level) for level in LEVELS]


def one_level(bench, site, level):
    rounds = bench.rounds(list(bench.peers), lambda label: bench.loaded(site, label, level), bench.options.few)
    servers = {label: summary(taken) for label, taken in rounds.items()}
    say(f"{level} connections: " + ", ".join(f"{label} {of['per_second']:.0f}/s" for label, of in servers.items()))
    return {"connections": level, "servers": servers}


def stalled(bench):
    """rusgi alone: on a server whose threads read heads themselves nothing would be left to measure."""
    rusgi = {
        label: peer.with_options("--head-timeout", "1h") for label, peer in bench.chosen("wheel", "embedded").items()
    }
    if not rusgi:
        return None
    with bench.site("hello", Setting(2, 1), rusgi) as site:
        capacity = {label: bench.loaded(site, label)["per_second"] for label in rusgi}
        return {label: stalled_rounds(bench, site, label, round(0.3 * capacity[label])) for label in rusgi}


def stalled_rounds(bench, site, label, rate):
    taken = {0: [], STALLED: []}
    # a percentile of one second is mostly chance
    for number in range(5 * bench.options.few):
        for count in (0, STALLED) if number % 2 == 0 else (STALLED, 0):
            with idle_connections(site.paths[label], count):
                taken[count].append(at_rate(bench, site, label, rate))
    pairs = zip(taken[STALLED], taken[0])
    found = {
        "per_second": rate,
        "p99_ratio": median(with_them["p99_us"] / alone["p99_us"] for with_them, alone in pairs),
    }
    say(f"{label}: p99 beside {STALLED} stalled peers is {found['p99_ratio']:.2f} of that without")
    return found | {"stalled": summary(taken[STALLED]), "alone": summary(taken[0])}


@contextlib.contextmanager
def idle_connections(path, count):
    """Peers that have sent half a head and then nothing."""
    with contextlib.ExitStack() as held:
        for _ in range(count):
            peer = held.enter_context(socket.socket(socket.AF_UNIX))
            peer.connect(str(path))
            peer.sendall(HALF_A_HEAD)
        yield
