"""Reload after reload under load: no request may fail."""

import signal
import subprocess

import load
from measure import say
from works import Setting

RATE = 300
LONGEST = 600


def run(bench):
    admin = bench.directory / "admin.sock"
    rusgi = {label: peer.with_options("--admin-socket", admin) for label, peer in bench.chosen("wheel").items()}
    if not rusgi:
        return None
    with bench.site("hello", Setting(2, 1), rusgi) as site:
        (label,) = rusgi
        command = [str(rusgi[label].program), "reload", "--wait", "--admin-socket", str(admin)]
        loading = load.paced_process(bench.options.tools, site.url(label), RATE, LONGEST)
        for _ in range(bench.options.reloads):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        loading.send_signal(signal.SIGTERM)
        seen = load.figures(loading)
    say(f"{bench.options.reloads} reloads at {RATE}/s: {seen['failed']} of {seen['due']} requests failed")
    return {"reloads": bench.options.reloads, "per_second": RATE, **seen}
