"""Every work at every setting: CPU per request, speed, latency, memory."""

from machine import Tree
from measure import say, summary
from works import WORKS, Setting


def run(bench):
    options = bench.options
    return [
        cell(bench, work, Setting.parse(setting))
        for work in options.works
        for setting in options.settings or WORKS[work].settings
    ]


def cell(bench, work, setting):
    with bench.site(work, setting) as site:
        count = bench.options.rounds if is_budgeted(work, setting) else bench.options.few
        rounds = bench.rounds(list(bench.peers), lambda label: bench.loaded(site, label), count)
        servers = {
            label: {"rounds": taken, "median": summary(taken), **Tree(site.pid(label)).memory()}
            for label, taken in rounds.items()
        }
        clients = bench.clients(site)
    say(f"{work} {setting}: " + ", ".join(f"{label} {of['median']['cpu_us']:.1f} µs" for label, of in servers.items()))
    return {"work": work, "setting": str(setting), "clients": clients, "servers": servers}


def is_budgeted(work, setting):
    """Where budgets stand, more rounds are worth their time."""
    return work == "hello" or str(setting) == "1x1"
