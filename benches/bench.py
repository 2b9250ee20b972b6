#!/usr/bin/env python3
"""Servers side by side behind one nginx: CPU per request, speed, latency, memory, system calls, instructions.

Every round measures every server once, in turn; ratios are taken within a round, and what is shown is their median.
The whole run takes about a quarter of an hour, --quick two minutes. Naming works or settings measures those alone.
"""

import argparse
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time

import count
import latency
import many
import matrix
import memory
import publish
import reloads
import tables
import whereabouts
from machine import busy_share, described, raise_file_limit
from measure import Bench, say
from peers import PEERS
from works import WORKS

ROOT = pathlib.Path(__file__).resolve().parent.parent
PARTS = {
    "works": matrix.run,
    "rate": latency.fixed_rate,
    "concurrency": latency.concurrency,
    "memory": memory.run,
    "many": many.run,
    "stalled": latency.stalled,
    "reloads": reloads.run,
    "count": count.run,
    "whereabouts": whereabouts.run,
}
# what strace, valgrind and perf tell is wanted less often
SLOW = ["count", "whereabouts"]
QUICK = {"servers": ["wheel", "uwsgi", "floor"], "settings": ["1x1"], "rounds": 2, "few": 1, "reloads": 10}


def main():
    options = parse_options()
    started = time.monotonic()
    if (others := busy_share()) > 0.05:
        say(f"others use {others:.0%} of this machine's CPUs: expect noise")
    with tempfile.TemporaryDirectory(prefix="rusgi-bench-") as directory:
        bench = Bench(options, pathlib.Path(directory))
        results = heading(options, bench)
        for part in options.parts:
            results[part] = measured(part, bench)
            results["took_s"] = round(time.monotonic() - started)
            # what has been measured is kept, whatever becomes of the rest
            options.output.write_text(json.dumps(results, indent=1) + "\n")
    print("\n\n".join(table.as_text() for table in tables.every(results)))
    print(f"\ntook {results['took_s']} s; all figures are in {options.output}")
    if options.publish:
        publish.fill(results)
    return any(results[part] is None for part in options.parts)


def measured(part, bench):
    """The figures of a part, or None: one server that does not start shall not cost the whole run."""
    started = time.monotonic()
    try:
        return PARTS[part](bench)
    except (SystemExit, subprocess.CalledProcessError) as reason:
        say(f"{part}: {reason}")
        return None
    finally:
        say(f"({part}: {time.monotonic() - started:.0f} s)\n")


def heading(options, bench):
    settings = {key: getattr(options, key) for key in ("rounds", "few", "seconds", "connections")}
    command = "make bench" + (f' BENCH="{shlex.join(options.given)}"' if options.given else "")
    servers = {label: peer.version() for label, peer in bench.peers.items()}
    return {"command": command, "machine": described(), "settings": settings, "servers": servers}


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_what(parser)
    add_how(parser)
    add_where(parser)
    options = parser.parse_args()
    options.given = given(sys.argv[1:])
    complete(options)
    for known, chosen in ((WORKS, options.works), (PARTS, options.parts)):
        if unknown := [word for word in chosen if word not in known]:
            parser.error(f"{unknown[0]}: not known here: use {', '.join(known)}")
    if unknown := [label for label in options.servers if label.partition("#")[0] not in PEERS]:
        parser.error(f"{unknown[0]}: not a server known here: use {', '.join(PEERS)}")
    return options


def add_what(parser):
    parser.add_argument(
        "--parts", type=words, help=f"comma-separated: {', '.join(PARTS)} (default: all but the last two)"
    )
    parser.add_argument("--works", type=words, help=f"comma-separated: {', '.join(WORKS)} (default: all)")
    parser.add_argument("--settings", type=words, help="processes x threads, comma-separated (default: 1x1,2x1,1x8)")
    parser.add_argument(
        "--servers",
        type=words,
        help=f"comma-separated: {', '.join(PEERS)} (default: all); NAME#2 measures NAME a second time",
    )
    parser.add_argument("--quick", action="store_true", help="one setting, three servers, few rounds: a look, no proof")
    parser.add_argument(
        "--count",
        action="store_true",
        help="system calls and instructions per request, and where time goes, nothing else",
    )
    parser.add_argument(
        "--publish", action="store_true", help="everything, written to docs/performance.md and README.md"
    )


def add_how(parser):
    parser.add_argument(
        "--rounds", type=int, help="how often each server is measured where a budget stands (default: 5)"
    )
    parser.add_argument("--few", type=int, help="how often elsewhere (default: 2)")
    parser.add_argument("--seconds", type=int, default=1, help="length of one measurement, in s (default: 1)")
    parser.add_argument("--connections", type=int, default=32, help="clients, each with a connection (default: 32)")
    parser.add_argument("--reloads", type=int, help="how many reloads under load (default: 200)")


def add_where(parser):
    default = ROOT / "target"
    parser.add_argument(
        "--output", type=pathlib.Path, default=ROOT / "bench.json", help="figures (default: bench.json)"
    )
    parser.add_argument(
        "--venv", type=pathlib.Path, default=default / "venv", help="holds the servers written for Python"
    )
    parser.add_argument("--binary", type=pathlib.Path, default=default / "release/rusgi", help="the embedding binary")
    parser.add_argument("--tools", type=pathlib.Path, default=default / "bench", help="holds floor and paced, compiled")


def words(text):
    return text.split(",")


def given(arguments):
    """What a reader has to repeat: not where things were built."""
    places = ("--output", "--venv", "--binary", "--tools")
    skipped = {at + offset for at, word in enumerate(arguments) if word in places for offset in (0, 1)}
    return [word for at, word in enumerate(arguments) if at not in skipped]


def complete(options):
    """What was not chosen: quick's own values, else all there is."""
    if not options.parts:
        options.parts = chosen_parts(options)
    usual = {"servers": list(PEERS), "settings": None, "rounds": 5, "few": 2, "reloads": 200}
    for key, value in (usual | (QUICK if options.quick else {})).items():
        if getattr(options, key) is None:
            setattr(options, key, value)
    options.works = options.works or list(WORKS)
    options.files = raise_file_limit()


def chosen_parts(options):
    if options.count:
        return SLOW
    if options.works or options.settings:
        return ["works"]
    if options.quick:
        return ["works", "rate", "memory", "stalled", "reloads"]
    return [part for part in PARTS if options.publish or part not in SLOW]


if __name__ == "__main__":
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin"
    # whoever measures as root means it
    os.environ["RUSGI_ALLOW_ROOT"] = "1"
    sys.exit(main())
