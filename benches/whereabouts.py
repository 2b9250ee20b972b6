"""Where the time of a request goes: kernel, the server's own code, Python, other libraries (perf samples)."""

import contextlib
import re
import shutil
import signal
import subprocess
import time

import load
from machine import Tree
from measure import say
from works import Setting

SAMPLES_PER_SECOND = 5000
SECONDS = 3
PARTS = ["kernel", "server", "Python", "libraries"]
# the first that fits; an extension module has its server's name, whatever interpreter runs it
KINDS = [
    ("kernel", r"^\[(?!vdso)"),
    ("server", r"^(_rusgi\b.*|rusgi|uwsgi|floor)$"),
    ("Python", r"python3"),
    ("libraries", r""),
]


# an application that does nothing, and one that does what most do; the floor knows only the first
SAMPLED = {"hello": ["wheel", "embedded", "uwsgi", "floor"], "django": ["wheel", "embedded", "uwsgi"]}


def run(bench):
    if not shutil.which("perf"):
        say("perf: not there: where the time goes is left out (Debian: apt-get install linux-perf)")
        return None
    return {work: of_work(bench, work, bench.chosen(*names)) for work, names in SAMPLED.items()}


def of_work(bench, work, peers):
    with bench.site(work, Setting(1, 1), peers) as site:
        return {label: microseconds(bench, site, label) for label in peers}


def microseconds(bench, site, label):
    """What is spent without perf, divided as perf sees it."""
    cost = bench.loaded(site, label)["cpu_us"]
    samples = bench.directory / f"{label}.perf"
    with sampling(Tree(site.pid(label)), samples):
        load.closed(site.url(label), site.work, bench.options.connections, SECONDS)
    command = ["perf", "report", "--stdio", "--input", samples, "--sort", "dso"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {part: cost * share for part, share in shares(said.stdout).items()}
    say(f"{site.work.title}, {label}: " + ", ".join(f"{part} {spent:.1f} µs" for part, spent in found.items()))
    return found


@contextlib.contextmanager
def sampling(tree, samples):
    pids = ",".join(map(str, tree.pids()))
    command = ["perf", "record", "--quiet", "--event", "cpu-clock", "--freq", str(SAMPLES_PER_SECOND)]
    tracer = subprocess.Popen([*command, "--output", samples, "--pid", pids], stderr=subprocess.DEVNULL)
    # it does not say when it has begun, and shares do not depend on it
    time.sleep(0.5)
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait()


def shares(report):
    """Lines such as `    78.04%  [kernel.kallsyms]`, summed by kind; together they are 1."""
    rows = re.findall(r"^\s*([\d.]+)%\s+(\S+)", report, re.MULTILINE)
    found = dict.fromkeys(PARTS, 0.0)
    for percent, name in rows:
        kind = next(kind for kind, pattern in KINDS if re.search(pattern, name))
        found[kind] += float(percent)
    whole = sum(found.values()) or 1
    return {part: percent / whole for part, percent in found.items()}
