"""What rusgi owes: ratios of figures taken side by side in one run. The smaller the better."""

from collections.abc import Callable
from dataclasses import dataclass

from measure import cpu_ratio


@dataclass(frozen=True)
class Budget:
    """`required` must be kept, `stretch` is wanted; `value` finds a server's figure, None if it was not measured."""

    title: str
    required: float
    stretch: float | None
    value: Callable

    def verdict(self, results, label):
        value = self.value(results, label)
        if value is None:
            return None, "not measured"
        if value > self.required:
            return value, "missed"
        return value, "met" if self.stretch is None or value > self.stretch else "met, stretch too"


def cpu(work, setting, against="uwsgi"):
    def value(results, label):
        servers = servers_of(results, work, setting)
        return cpu_ratio(servers, label, against)

    return value


def hello_memory(results, label):
    return memory_ratio(servers_of(results, "hello", "1x1"), label)


def django_memory(results, label):
    return memory_ratio(results.get("memory") or {}, label)


def memory_ratio(servers, label):
    return servers[label]["memory_kib"] / servers["uwsgi"]["memory_kib"] if {label, "uwsgi"} <= set(servers) else None


def stalled_peers(results, label):
    return ((results.get("stalled") or {}).get(label) or {}).get("p99_ratio")


def failed_in_reloads(results, label):
    return (results.get("reloads") or {}).get("failed") if label == "wheel" else None


def system_calls(results, label):
    calls = ((results.get("count") or {}).get("calls") or {}).get(label)
    return round(sum(calls.values()), 1) if calls else None


def servers_of(results, work, setting):
    for cell in results.get("works") or []:
        if (cell["work"], cell["setting"]) == (work, setting):
            return cell["servers"]
    return {}


BUDGETS = [
    Budget("CPU per request, hello, 1x1, to uWSGI", 0.92, 0.88, cpu("hello", "1x1")),
    Budget("CPU per request, hello, 1x1, to the floor", 1.10, 1.06, cpu("hello", "1x1", "floor")),
    Budget("CPU per request, hello, 1x8, to uWSGI", 1.00, 0.92, cpu("hello", "1x8")),
    Budget("CPU per request, Flask hello, 1x1, to uWSGI", 0.92, 0.85, cpu("flask", "1x1")),
    Budget("CPU per request, Django hello, 1x1, to uWSGI", 0.92, 0.85, cpu("django", "1x1")),
    Budget("CPU per request, 1 MiB response, 1x1, to uWSGI", 1.00, 0.90, cpu("large", "1x1")),
    Budget("CPU per request, 128 × 8 KiB stream, 1x1, to uWSGI", 1.00, 0.85, cpu("stream", "1x1")),
    Budget("CPU per request, 1 MiB upload, 1x1, to uWSGI", 0.90, 0.75, cpu("upload", "1x1")),
    Budget("memory, hello, 1 worker, to uWSGI with master", 1.20, 1.00, hello_memory),
    Budget("memory, Django, 4 workers, to uWSGI prefork", 0.60, 0.50, django_memory),
    # unchanged, as far as a 99th percentile can be told from itself
    Budget("p99 beside 50 stalled peers, 2x1, to that without", 1.10, None, stalled_peers),
    Budget("failed requests over all reloads", 0, None, failed_in_reloads),
    Budget("system calls per hello request", 5.0, None, system_calls),
]
