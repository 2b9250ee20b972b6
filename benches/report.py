"""Results as people read them."""

from statistics import median

ROWS = [
    # title, unit, key, digits
    ("CPU per request, all processes", "µs", "cpu_us", 2),
    ("requests per second", "", "per_second", 0),
    ("latency, median", "µs", "p50_us", 0),
    ("latency, 99th percentile", "µs", "p99_us", 0),
    ("share of one CPU in use", "", "busy", 2),
]
WIDTH = 14


def one_line(figures):
    return "  ".join(
        [
            f"{figures['cpu_us']:7.2f} µs CPU",
            f"{figures['per_second']:8.0f}/s",
            f"p50 {figures['p50_us']:6.0f} µs",
            f"p99 {figures['p99_us']:6.0f} µs",
        ]
    )


def table(results):
    servers = results["servers"]
    *compared, reference = servers
    lines = [heading(results), "", row("", list(servers) + [f"{label}/{reference}" for label in compared])]
    for title, unit, key, digits in ROWS:
        values = {label: median(each[key] for each in server["rounds"]) for label, server in servers.items()}
        lines.append(compared_row(f"{title} {unit}".strip(), values, digits))
    spread = {label: spread_of([each["cpu_us"] for each in server["rounds"]]) for label, server in servers.items()}
    lines.append(row("  its spread over the rounds, %", [f"{value:.1f}" for value in spread.values()]))
    lines.append(
        compared_row("memory (PSS) KiB", {label: server["memory_kib"] for label, server in servers.items()}, 0)
    )
    lines.append(row("processes", [server["processes"] for server in servers.values()]))
    lines.append(compared_row("system calls per request", totals(servers), 2))
    for label, server in servers.items():
        lines += ["", f"system calls per request, {label} ({server['version']}):", *calls(server["system_calls"])]
    return "\n".join(lines)


def heading(results):
    settings, machine = results["settings"], results["machine"]
    load = f"{settings['connections']} connections, {settings['rounds']} rounds of {settings['seconds']:g} s"
    size = f"{settings['processes']} process(es) x {settings['threads']} thread(s)"
    return f"{settings['work']}, {size}, {load}; {machine['cpus']} CPUs, {machine['cpu']}; {machine['nginx']}"


def row(title, values):
    return f"{title:34}" + "".join(f"{value:>{max(WIDTH, len(str(value)) + 2)}}" for value in values)


def compared_row(title, values, digits):
    *compared, reference = values
    ratios = [f"{values[label] / values[reference]:.3f}" for label in compared]
    return row(title, [f"{value:.{digits}f}" for value in values.values()] + ratios)


def spread_of(values):
    return 100 * (max(values) - min(values)) / median(values)


def totals(servers):
    return {label: sum(server["system_calls"].values()) for label, server in servers.items()}


def calls(per_request):
    seen = sorted(per_request.items(), key=lambda each: -each[1])
    shown = [f"  {name:16} {count:6.2f}" for name, count in seen if count >= 0.005]
    return shown + [f"  {'(in all)':16} {sum(per_request.values()):6.2f}"]
