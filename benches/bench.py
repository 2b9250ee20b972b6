#!/usr/bin/env python3
"""Servers side by side behind one nginx: CPU per request, speed, latency, memory, system calls.

Every round measures every server once, in turn, so that whatever changes on the machine changes for all of them;
figures are medians over the rounds, and the ratios are between medians of the same run.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

import load
import report
from machine import Tree, busy_share, system_calls
from peers import PEERS, Setting, Site
from works import WORKS

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    options = parse_options()
    peers = {label: PEERS[label.partition("#")[0]](options) for label in options.servers}
    with tempfile.TemporaryDirectory(prefix="rusgi-bench-") as directory:
        results = measure(options, peers, pathlib.Path(directory))
    print()
    print(report.table(results))
    options.output.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\nwritten to {options.output}")


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--servers",
        type=lambda text: text.split(","),
        default=["wheel", "embedded", "uwsgi"],
        help="comma-separated, the last is what the others are compared with; NAME#2 measures NAME a second time "
        f"(known: {', '.join(PEERS)}; default: wheel,embedded,uwsgi)",
    )
    parser.add_argument("--work", choices=WORKS, default="hello", help="what is asked for (default: hello)")
    parser.add_argument("--processes", type=int, default=1, help="worker processes of each server (default: 1)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each worker process (default: 1)")
    parser.add_argument("--connections", type=int, default=32, help="clients, each with a connection (default: 32)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each server is measured (default: 5)")
    parser.add_argument("--seconds", type=float, default=4, help="length of one measurement, in s (default: 4)")
    parser.add_argument("--warm-up", type=float, default=2, help="load before the first round, in s (default: 2)")
    parser.add_argument(
        "--output", type=pathlib.Path, default=ROOT / "bench.json", help="results (default: bench.json)"
    )
    parser.add_argument("--venv", type=pathlib.Path, default=ROOT / "target/venv", help="holds rusgi and uWSGI")
    parser.add_argument(
        "--binary", type=pathlib.Path, default=ROOT / "target/release/rusgi", help="the embedding binary"
    )
    options = parser.parse_args()
    for label in options.servers:
        if label.partition("#")[0] not in PEERS:
            parser.error(f"{label}: not a server known here: use {', '.join(PEERS)}")
    return options


def measure(options, peers, directory):
    work, setting = WORKS[options.work], Setting(options.processes, options.threads)
    if (others := busy_share()) > 0.05:
        print(f"others use {others:.0%} of this machine's CPUs: expect noise", file=sys.stderr)
    with Site(directory, peers, work, setting) as site:
        for label in peers:
            load.run(site.url(label), work, options.connections, options.warm_up)
        rounds = {label: [] for label in peers}
        for number in range(options.rounds):
            # there and back again: what drifts during a round falls on each as first and as last
            for label in peers if number % 2 == 0 else reversed(peers):
                rounds[label].append(one_round(options, site, label, work))
                print(f"round {number + 1}  {label:12} {report.one_line(rounds[label][-1])}", flush=True)
        servers = {
            label: {
                "version": peers[label].version(),
                "rounds": rounds[label],
                "memory_kib": Tree(site.pid(label)).memory(),
                "processes": len(Tree(site.pid(label)).pids()),
                "system_calls": counted_calls(options, site, label, work),
            }
            for label in peers
        }
    return {"machine": described_machine(), "settings": described_settings(options), "servers": servers}


def one_round(options, site, label, work):
    tree = Tree(site.pid(label))
    before, started = tree.cpu_seconds(), time.monotonic()
    loaded = load.run(site.url(label), work, options.connections, options.seconds)
    cpu, elapsed = tree.cpu_seconds() - before, time.monotonic() - started
    if loaded.failed:
        sys.exit(f"{label}: {loaded.failed} requests failed: the figures would mean nothing; see its log")
    return {
        "cpu_us": 1e6 * cpu / loaded.requests,
        "busy": cpu / elapsed,
        "per_second": loaded.per_second,
        "p50_us": loaded.p50_us,
        "p99_us": loaded.p99_us,
        "requests": loaded.requests,
    }


def counted_calls(options, site, label, work):
    with system_calls(Tree(site.pid(label))) as counted:
        loaded = load.run(site.url(label), work, options.connections, 2)
    return {name: calls / loaded.requests for name, calls in counted.items()}


def described_machine():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr.strip()
    return {
        "cpus": os.cpu_count(),
        "cpu": model[0] if model else platform.machine(),
        "kernel": platform.release(),
        "nginx": nginx,
    }


def described_settings(options):
    return {key: str(value) if isinstance(value, pathlib.Path) else value for key, value in vars(options).items()}


if __name__ == "__main__":
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin"
    # whoever measures as root means it
    os.environ["RUSGI_ALLOW_ROOT"] = "1"
    main()
