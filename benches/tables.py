"""Results as tables, for a terminal and for Markdown."""

from dataclasses import dataclass

from budgets import BUDGETS
from measure import cpu_ratio
from whereabouts import PARTS
from works import WORKS

NAMES = {
    "wheel": "rusgi, wheel",
    "embedded": "rusgi, embedded",
    "uwsgi": "uWSGI",
    "gunicorn": "gunicorn",
    "granian": "granian",
    "floor": "C, no Python",
}
RUSGI = ["wheel", "embedded"]


@dataclass(frozen=True)
class Table:
    """The first column is text, the others mostly numbers."""

    title: str
    header: list
    rows: list

    def as_text(self):
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        return "\n".join([self.title, *("  " + padded(line, widths) for line in lines)])

    def as_markdown(self):
        rule = ["---"] + ["--:"] * (len(self.header) - 1)
        return "\n".join("| " + " | ".join(line) + " |" for line in [self.header, rule, *self.rows])


def padded(line, widths):
    first, *rest = zip(line, widths)
    return "  ".join([f"{first[0]:{first[1]}}", *(f"{word:>{width}}" for word, width in rest)]).rstrip()


def name(label):
    known, _, number = label.partition("#")
    return NAMES[known] + (f" #{number}" if number else "")


def number(value, digits=0):
    return "–" if value is None else f"{value:.{digits}f}"


def latency(microseconds):
    return f"{microseconds / 1000:.2f} ms" if microseconds < 100_000 else f"{microseconds / 1000:.0f} ms"


def mib(kib):
    return f"{kib / 1024:.1f}"


def every(results):
    """All tables there are figures for."""
    makers = [works, rates, concurrency, memory, sizes, idle, stalled, counts, spent, budgets]
    return [table for maker in makers for table in maker(results)]


def budgets(results):
    labels = [label for label in results["servers"] if label in RUSGI]
    header = ["budget", "required", "stretch", *(word for label in labels for word in (name(label), ""))]
    rows = []
    for budget in BUDGETS:
        verdicts = [budget.verdict(results, label) for label in labels]
        if any(value is not None for value, _ in verdicts):
            words = [word for value, verdict in verdicts for word in (number(value, 2), verdict)]
            rows.append([budget.title, f"≤ {budget.required:g}", stretch_of(budget), *words])
    return [Table("The budgets", header, rows)] if rows else []


def stretch_of(budget):
    return "–" if budget.stretch is None else f"≤ {budget.stretch:g}"


def works(results):
    header = ["", "CPU µs", "to uWSGI", "to floor", "requests/s", "p50", "p99", "memory MiB", "processes"]
    return [
        Table(
            f"{WORKS[cell['work']].title}, {cell['setting']}, {cell['clients']} clients",
            header,
            [server_row(cell["servers"], label) for label in cell["servers"]],
        )
        for cell in results.get("works") or []
    ]


def server_row(servers, label):
    server = servers[label]
    figures = server["median"]
    row = [name(label), number(figures["cpu_us"], 1)]
    row += [number(cpu_ratio(servers, label, to), 2) for to in ("uwsgi", "floor")]
    row += [number(figures["per_second"]), latency(figures["p50_us"]), latency(figures["p99_us"])]
    return [*row, mib(server["memory_kib"]), str(server["processes"])]


def rates(results):
    found = results.get("rate") or {"rates": []}
    return [one_rate(of, name(found["of"])) for of in found["rates"]]


def one_rate(of, reference):
    title = f"hello, 1x1, at {of['per_second']} requests/s ({of['share']:.0%} of {reference}'s capacity here)"
    header = ["", "p50", "p90", "p99", "p99.9", "worst", "unanswered"]
    return Table(title, header, [rate_row(label, figures) for label, figures in of["servers"].items()])


def rate_row(label, figures):
    seen = [latency(figures[key]) for key in ("p50_us", "p90_us", "p99_us", "p999_us", "max_us")]
    return [name(label), *seen, f"{figures['failed'] / figures['due']:.0%}" if figures["failed"] else "none"]


def concurrency(results):
    levels = results.get("concurrency") or []
    if not levels:
        return []
    header = ["clients", *(name(label) for label in levels[0]["servers"])]
    kinds = {"requests/s": lambda of: number(of["per_second"]), "p99": lambda of: latency(of["p99_us"])}
    return [
        Table(
            f"hello, 1x1, {kind} by concurrency",
            header,
            [[str(level["connections"]), *map(shown, level["servers"].values())] for level in levels],
        )
        for kind, shown in kinds.items()
    ]


def memory(results):
    servers = results.get("memory") or {}
    reference = servers.get("uwsgi")
    rows = [
        [
            name(label),
            mib(of["memory_kib"]),
            number(of["memory_kib"] / reference["memory_kib"] if reference else None, 2),
            mib(of["private_kib"]),
            number(of["private_kib"] / reference["private_kib"] if reference else None, 2),
            str(of["processes"]),
        ]
        for label, of in servers.items()
    ]
    header = ["", "memory MiB", "to uWSGI", "private MiB", "to uWSGI", "processes"]
    return [Table("Django, 4 workers, after 2000 requests and a full gc in each", header, rows)] if rows else []


def sizes(results):
    many = results.get("many") or {}
    tables = []
    for kind in ("workers", "threads"):
        cells = many.get(kind) or []
        if cells and cells[0]["servers"]:
            labels = list(cells[0]["servers"])
            header = [kind, *(f"{name(label)}: {what}" for label in labels for what in ("CPU µs", "memory MiB"))]
            rows = [
                [cell["setting"], *(word for label in labels for word in sized(cell["servers"][label]))]
                for cell in cells
            ]
            tables.append(Table(f"hello, by the number of {kind}", header, rows))
    return tables


def sized(figures):
    return number(figures["cpu_us"], 1), mib(figures["memory_kib"])


def idle(results):
    cells = (results.get("many") or {}).get("idle") or []
    rows = [[str(of["connections"]), number(of["cpu_us"], 1), number(of["bytes_each"])] for of in cells]
    header = ["idle connections", "CPU µs per request", "bytes for each"]
    return [Table("hello, 1x1, rusgi, beside connections that have sent half a head", header, rows)] if rows else []


def stalled(results):
    cells = results.get("stalled") or {}
    rows = [[name(label), *map(latency, p99_pair(of)), number(of["p99_ratio"], 2)] for label, of in cells.items()]
    header = ["", "p99 alone", "p99 beside them", "ratio"]
    return [Table("hello, 2x1, 30 % of capacity, beside 50 stalled peers", header, rows)] if rows else []


def p99_pair(of):
    return of["alone"]["p99_us"], of["stalled"]["p99_us"]


def counts(results):
    found = results.get("count") or {}
    header = ["", "system calls", "which", "instructions"]
    rows = [
        [
            name(label),
            number(sum(calls.values()), 2),
            ", ".join(f"{call} {count:.2f}" for call, count in calls.items()),
            number(found["instructions"][label]),
        ]
        for label, calls in (found.get("calls") or {}).items()
    ]
    title = "Per hello request, 1x1: system calls under load; instructions in user space"
    return [Table(title, header, rows)] if rows else []


def spent(results):
    return [spent_on(work, found) for work, found in (results.get("whereabouts") or {}).items()]


def spent_on(work, found):
    rows = [
        [name(label), *(number(of[part], 1) for part in PARTS), number(sum(of.values()), 1)]
        for label, of in found.items()
    ]
    header = ["", *(f"{part} µs" for part in PARTS), "all"]
    return Table(f"{WORKS[work].title}, 1x1, CPU per request by where it is spent", header, rows)
