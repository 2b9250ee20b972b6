#!/usr/bin/env python3
"""Fills the figures into docs/performance.md and README.md and draws the plots beside them.

usage: publish.py [FILE]   FILE: what a measurement has written (default: bench.json)

A block is what stands between `<!-- figures: NAME -->` and `<!-- end -->`; the rest of a page is written by hand.
"""

import json
import pathlib
import re
import sys

import svg
import tables
from budgets import servers_of
from tables import name
from works import WORKS

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [ROOT / "docs/performance.md", ROOT / "README.md"]
PLOTS = ROOT / "docs/performance"
BLOCK = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
# beyond this a bar says its figure and no more
TALLEST_RATIO = 2.5


def fill(results):
    blocks = {key: make(results) for key, make in BLOCKS.items()}
    for page in PAGES:
        page.write_text(filled(page.read_text(), blocks))
    PLOTS.mkdir(exist_ok=True)
    for title, drawing in plots(results).items():
        (PLOTS / f"{title}.svg").write_text(drawing)


def filled(page, blocks):
    return BLOCK.sub(lambda found: f"{found[1]}{blocks[found[2]] or '(not measured in this run)'}\n{found[3]}", page)


def described(machine):
    kind = f"{machine['cpus']} CPUs ({machine['cpu']}), {machine['kernel']}, {machine['system']}"
    return f"a machine with {kind}, CPython {machine['python']}, nginx {machine['nginx']}"


def heading(results):
    machine, settings = results["machine"], results["settings"]
    # both of rusgi's doors have the same one
    servers = ", ".join(dict.fromkeys(results["servers"].values()))
    rounds = (
        f"{settings['rounds']} rounds of {settings['seconds']} s where a budget stands, {settings['few']} elsewhere"
    )
    return "\n".join(
        [
            f"    {results['command']}",
            "",
            f"took {results['took_s'] / 60:.0f} minutes on {described(machine)}.",
            f"{settings['connections']} clients; {rounds}. Servers: {servers}.",
        ]
    )


def marked(make):
    """The tables of one kind, each below its title."""
    return lambda results: "\n\n".join(f"{table.title}:\n\n{table.as_markdown()}" for table in make(results))


def bare(make):
    return lambda results: "\n\n".join(table.as_markdown() for table in make(results))


def readme(results):
    """The table people see first: hello at 1x1, and Django's memory."""
    labels = [label for label in ("wheel", "embedded", "uwsgi", "gunicorn", "granian") if label in results["servers"]]
    servers, memory = servers_of(results, "hello", "1x1"), results.get("memory")
    if not servers or not memory:
        return None
    rows = [
        ["CPU per hello request", *(f"{servers[label]['median']['cpu_us']:.1f} µs" for label in labels)],
        ["the same, to uWSGI", *(tables.number(tables.cpu_ratio(servers, label, "uwsgi"), 2) for label in labels)],
        ["requests per second", *(tables.number(servers[label]["median"]["per_second"]) for label in labels)],
        ["memory, hello, one worker", *(f"{tables.mib(servers[label]['memory_kib'])} MiB" for label in labels)],
        ["memory, Django, 4 workers", *(f"{tables.mib(memory[label]['memory_kib'])} MiB" for label in labels)],
    ]
    clients = f"{results['settings']['connections']} clients, one worker with one thread"
    said = f"One run on {described(results['machine'])}; {clients} unless it says otherwise:"
    return f"{said}\n\n{tables.Table('', ['', *map(name, labels)], rows).as_markdown()}"


def plots(results):
    """Drawings by name, of the parts that were measured."""
    drawn = {}
    if results.get("works"):
        drawn["cpu"] = cpu_plot(results)
    if results.get("rate"):
        drawn["rate"] = rate_plot(results)
    if results.get("concurrency"):
        drawn["concurrency"] = level_plot(results, "requests per second", lambda of: of["per_second"])
        drawn["waiting"] = level_plot(results, "99th percentile in ms", lambda of: of["p99_us"] / 1000, True)
    if results.get("many"):
        drawn |= {kind: size_plot(results, kind) for kind in ("workers", "threads")}
    if results.get("memory"):
        drawn["memory"] = memory_plot(results)
    return drawn


def names_of(servers):
    return {label: name(label) for label in servers}


def cpu_plot(results):
    """Ratios, since a request to Django costs thirty of hello's."""
    cells = [cell for cell in results["works"] if cell["setting"] == "1x1"]
    groups = {
        WORKS[cell["work"]].title: {
            label: tables.cpu_ratio(cell["servers"], label, "uwsgi") for label in cell["servers"]
        }
        for cell in cells
    }
    return svg.bars("CPU per request, uWSGI = 1 (1x1)", groups, names_of(cells[0]["servers"]), TALLEST_RATIO)


def rate_plot(results):
    kinds = {"p50_us": "p50", "p99_us": "p99", "p999_us": "p99.9"}
    rates = results["rate"]["rates"]
    # who cannot keep up has no latency, only a queue that grows
    labels = [label for label in rates[0]["servers"] if not any(of["servers"][label]["failed"] for of in rates)]
    groups = {
        f"{kind} at {of['per_second']}/s": {label: of["servers"][label][key] / 1000 for label in labels}
        for of in rates
        for key, kind in kinds.items()
    }
    return svg.bars("Latency in ms at a fixed rate (hello, 1x1)", groups, names_of(labels))


def level_plot(results, what, value, is_log=False):
    levels = results["concurrency"]
    labels = list(levels[0]["servers"])
    series = {label: [value(level["servers"][label]) for level in levels] for label in labels}
    title = f"{what} by concurrency (hello, 1x1)"
    return svg.lines(title, [level["connections"] for level in levels], series, names_of(labels), is_log)


def size_plot(results, kind):
    cells = results["many"][kind]
    labels = list(cells[0]["servers"])
    series = {label: [cell["servers"][label]["cpu_us"] for cell in cells] for label in labels}
    return svg.lines(
        f"CPU per request in µs by {kind} (hello)", [cell["setting"] for cell in cells], series, names_of(labels)
    )


def memory_plot(results):
    groups = {
        title: {label: of[key] / 1024 for label, of in results["memory"].items()}
        for title, key in (("all processes", "memory_kib"), ("private", "private_kib"))
    }
    title = "Memory in MiB: Django, 4 workers, after 2000 requests and a full gc"
    return svg.bars(title, groups, names_of(results["memory"]))


BLOCKS = {
    "heading": heading,
    "readme": readme,
    "budgets": bare(tables.budgets),
    "rates": marked(tables.rates),
    "concurrency": marked(tables.concurrency),
    "memory": bare(tables.memory),
    "sizes": marked(tables.sizes),
    "idle": bare(tables.idle),
    "stalled": bare(tables.stalled),
    "counts": bare(tables.counts),
    "spent": marked(tables.spent),
    "works": marked(tables.works),
}


if __name__ == "__main__":
    fill(json.loads(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "bench.json").read_text()))
