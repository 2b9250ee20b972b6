"""Load on one URL: a closed loop made by wrk, an open one by paced.c."""

import json
import re
import subprocess
import tempfile
from urllib.parse import urlsplit

MICROSECONDS = {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}
# more than are ever needed at once while a server keeps up
CONNECTIONS = 256


def closed(url, work, connections, seconds):
    """Keeps `connections` clients busy for `seconds` (whole ones: wrk knows no others)."""
    command = ["wrk", "--latency", "--threads", "1", "--connections", str(connections)]
    command += ["--duration", f"{max(1, round(seconds))}s"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        if work.upload:
            script.write(f'wrk.method = "POST"\nwrk.body = string.rep("x", {work.upload})\n')
            script.flush()
            command += ["--script", script.name]
        said = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    return parsed(said.stdout)


def paced(tools, url, rate, seconds):
    """Sends `rate` requests per second, whatever becomes of them."""
    return figures(paced_process(tools, url, rate, seconds))


def paced_process(tools, url, rate, seconds):
    where = urlsplit(url)
    command = [tools / "paced", where.port, where.path, rate, seconds, CONNECTIONS]
    return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)


def figures(process):
    """What an open loop saw, once it has ended; SIGTERM ends it early."""
    return json.loads(process.communicate()[0])


def parsed(text):
    """What wrk says, as figures."""
    socket_errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    failed = sum(map(int, socket_errors.groups())) if socket_errors else 0
    return {
        "requests": int(re.search(r"(\d+) requests in", text)[1]),
        "failed": failed + (int(refused[1]) if refused else 0),
        "per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
        "p50_us": percentile(text, "50%"),
        "p99_us": percentile(text, "99%"),
    }


def percentile(text, name):
    number, unit = re.search(rf"{name}\s+([\d.]+)(us|ms|s|m)\b", text).groups()
    return float(number) * MICROSECONDS[unit]
