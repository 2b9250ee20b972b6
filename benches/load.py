"""Load on one URL, made by wrk."""

import re
import subprocess
from dataclasses import dataclass

MICROSECONDS = {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}


@dataclass(frozen=True)
class Loaded:
    """What the clients saw."""

    requests: int
    per_second: float
    p50_us: float
    p99_us: float
    failed: int


def run(url, work, connections, seconds):
    """Keeps `connections` clients busy for `seconds` (whole ones: wrk knows no others)."""
    command = ["wrk", "--latency", "--threads", "1", "--connections", str(connections)]
    command += ["--duration", f"{max(1, round(seconds))}s", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    return parsed(said.stdout)


def parsed(text):
    socket_errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    failed = sum(map(int, socket_errors.groups())) if socket_errors else 0
    return Loaded(
        requests=int(re.search(r"(\d+) requests in", text)[1]),
        per_second=float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
        p50_us=percentile(text, "50%"),
        p99_us=percentile(text, "99%"),
        failed=failed + (int(refused[1]) if refused else 0),
    )


def percentile(text, name):
    number, unit = re.search(rf"{name}\s+([\d.]+)(us|ms|s|m)\b", text).groups()
    return float(number) * MICROSECONDS[unit]
