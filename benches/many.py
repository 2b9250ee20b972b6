"""The cost of many: a request should cost the same whatever else there is."""

from latency import idle_connections
from machine import Tree
from measure import say, summary
from works import Setting

WORKERS = [1, 2, 4, 8, 16]
THREADS = [1, 8, 64, 256]
IDLE = [0, 1000, 10_000]
SPARE_FILES = 500


def run(bench):
    return {
        "workers": [sized(bench, Setting(count, 1)) for count in WORKERS],
        "threads": [sized(bench, Setting(1, count)) for count in THREADS],
        "idle": idle(bench),
    }


def sized(bench, setting):
    peers = bench.chosen("wheel", "uwsgi")
    with bench.site("hello", setting, peers) as site:
        rounds = bench.rounds(list(peers), lambda label: bench.loaded(site, label), bench.options.few)
        servers = {label: summary(taken) | Tree(site.pid(label)).memory() for label, taken in rounds.items()}
    say(f"hello {setting}: " + ", ".join(f"{label} {of['cpu_us']:.1f} µs" for label, of in servers.items()))
    return {"setting": str(setting), "servers": servers}


def idle(bench):
    """In rusgi's lobby: connections that have sent half a head."""
    rusgi = {label: peer.with_options("--head-timeout", "1h") for label, peer in bench.chosen("wheel").items()}
    counts = [count for count in IDLE if count + SPARE_FILES <= bench.options.files]
    with bench.site("hello", Setting(1, 1), rusgi) as site:
        return [beside_idle(bench, site, label, count) for label in rusgi for count in counts]


def beside_idle(bench, site, label, count):
    before = Tree(site.pid(label)).memory()
    with idle_connections(site.paths[label], count):
        # the first is not counted: the lobby may still be taking the connections in
        taken = [bench.loaded(site, label) for _ in range(1 + bench.options.few)][1:]
        after = Tree(site.pid(label)).memory()
    each = 1024 * (after["memory_kib"] - before["memory_kib"]) / count if count else None
    cost = summary(taken)["cpu_us"]
    say(f"{count} idle connections: {cost:.1f} µs, {each or 0:.0f} bytes each")
    return {"connections": count, "cpu_us": cost, "bytes_each": each}
