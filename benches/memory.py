"""Django's memory with several workers, after it has worked and Python has collected all there is to collect."""

from concurrent.futures import ThreadPoolExecutor

import load
from machine import Tree
from measure import say
from works import Setting

WORKERS = 4
REQUESTS = 2000
SECONDS = 4
ATTEMPTS = 15


def run(bench):
    """rusgi and gunicorn with --preload, uWSGI as it is without lazy-apps (the same); granian has no such mode."""
    peers = {label: peer for label, peer in bench.peers.items() if label != "floor"}
    with bench.site("django", Setting(WORKERS, 1, preload=True), peers) as site:
        return {label: used(bench, site, label) for label in peers}


def used(bench, site, label):
    loaded = load.paced(bench.options.tools, site.url(label), REQUESTS / SECONDS, SECONDS)
    collected = collect_everywhere(site, label)
    found = {"requests": loaded["requests"], "collected": collected, **Tree(site.pid(label)).memory()}
    say(f"{label}: {found['memory_kib'] / 1024:.1f} MiB, {found['private_kib'] / 1024:.1f} MiB private")
    return found


def collect_everywhere(site, label):
    """How many workers have said that they have collected; each takes a while, so that all get a turn."""
    seen = set()
    with ThreadPoolExecutor(2 * WORKERS) as clients:
        for _ in range(ATTEMPTS):
            seen.update(clients.map(lambda _: site.ask(label, "/gc"), range(2 * WORKERS)))
            if len(seen) >= WORKERS:
                break
    return len(seen)
