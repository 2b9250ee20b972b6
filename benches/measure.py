"""How figures are taken: every round measures every server once, so that what changes meanwhile changes for all."""

import contextlib
import itertools
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import load
from machine import Tree
from peers import PEERS
from sites import Site
from works import WORKS


class Bench:
    """What all parts need: the options, the servers, a place for files."""

    def __init__(self, options, directory):
        self.options = options
        self.peers = {label: PEERS[label.partition("#")[0]](options) for label in options.servers}
        self.directory = directory
        self.numbers = itertools.count()

    @contextlib.contextmanager
    def site(self, work, setting, peers=None):
        """The chosen servers (a dict from labels), up and warm."""
        peers = self.peers if peers is None else peers
        directory = self.directory / str(next(self.numbers))
        directory.mkdir()
        with Site(directory, peers, WORKS[work], setting) as site:
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda label: self.warm(site, label), peers))
            yield site

    def warm(self, site, label):
        return load.closed(site.url(label), site.work, self.clients(site), self.options.seconds)

    def chosen(self, *names):
        """Those of the servers that were asked for, by name."""
        return {label: peer for label, peer in self.peers.items() if label.partition("#")[0] in names}

    def clients(self, site):
        """Where the application sleeps, more clients than threads would only measure the queue."""
        return site.setting.processes * site.setting.threads if site.work.pause_us else self.options.connections

    def rounds(self, labels, measure, count=None):
        """For each label what `measure(label)` returned in each round."""
        taken = {label: [] for label in labels}
        for number in range(count or self.options.rounds):
            # there and back again: what drifts during a round falls on each as first and as last
            for label in labels if number % 2 == 0 else reversed(labels):
                taken[label].append(measure(label))
        return taken

    def loaded(self, site, label, connections=None):
        """One measurement: what a closed loop saw, and what it cost."""
        tree = Tree(site.pid(label))
        before, started = tree.cpu_seconds(), time.monotonic()
        figures = load.closed(site.url(label), site.work, connections or self.clients(site), self.options.seconds)
        cpu, elapsed = tree.cpu_seconds() - before, time.monotonic() - started
        if figures["failed"]:
            say(f"{label}: {figures['failed']} requests failed: its figures mean little")
        return {"cpu_us": 1e6 * cpu / max(1, figures["requests"]), "busy": cpu / elapsed, **figures}


def summary(rounds):
    """The median of each figure over the rounds."""
    return {key: median(each[key] for each in rounds) for key in rounds[0]}


def cpu_ratio(servers, label, to):
    """The median of the ratios of CPU per request within each round; None when one of the two was not measured."""
    if not {label, to} <= set(servers):
        return None
    pairs = zip(servers[label]["rounds"], servers[to]["rounds"])
    return median(each["cpu_us"] / other["cpu_us"] for each, other in pairs)


def say(line):
    print(line, file=sys.stderr, flush=True)
