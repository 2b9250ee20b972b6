#!/usr/bin/env python3
"""A stand-in for systemctl where no systemd runs: enough to start, reload and stop a unit as its file says.

usage: systemctl.py daemon-reload | enable --now UNIT | reload UNIT | stop UNIT
"""

import grp
import os
import pathlib
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time

UNITS = pathlib.Path("/etc/systemd/system")
STATE = pathlib.Path("/run/stand-in")
DEADLINE = 30


def read(name):
    """The unit's settings; of one given twice, the last."""
    settings = {}
    for line in UNITS.joinpath(f"{name}.service").read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            settings[key] = value
    return settings


def enable(name):
    unit = read(name)
    user, group = pwd.getpwnam(unit["User"]), grp.getgrnam(unit["Group"])
    runtime = pathlib.Path("/run", unit["RuntimeDirectory"])
    runtime.mkdir(mode=0o755, exist_ok=True)
    shutil.chown(runtime, user.pw_uid, group.gr_gid)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(STATE / f"{name}.notify"))
    os.chmod(STATE / f"{name}.notify", 0o666)
    log = open(STATE / f"{name}.log", "w")
    process = subprocess.Popen(
        shlex.split(unit["ExecStart"]),
        cwd=unit["WorkingDirectory"],
        env={"PATH": "/usr/bin:/bin", "NOTIFY_SOCKET": listener.getsockname(), "RUNTIME_DIRECTORY": str(runtime)},
        user=user.pw_uid,
        group=group.gr_gid,
        extra_groups=[],
        umask=int(unit["UMask"], 8),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    STATE.joinpath(f"{name}.pid").write_text(str(process.pid))
    await_ready(listener, process, name)


def await_ready(listener, process, name):
    until = time.monotonic() + DEADLINE
    listener.settimeout(1)
    while time.monotonic() < until and process.poll() is None:
        try:
            if b"READY=1" in listener.recv(4096):
                return
        except TimeoutError:
            continue
    sys.exit(f"{name}: not ready:\n" + STATE.joinpath(f"{name}.log").read_text())


def reload(name):
    if name == "nginx":
        pid = pathlib.Path("/run/nginx.pid")
        # `nginx -t` leaves an empty one
        running = pid.exists() and pid.stat().st_size > 0
        subprocess.run(["nginx", "-s", "reload"] if running else ["nginx"], check=True)
        return
    pid = STATE.joinpath(f"{name}.pid").read_text()
    subprocess.run(shlex.split(read(name)["ExecReload"].replace("$MAINPID", pid)), check=True)


def stop(name):
    pid = int(STATE.joinpath(f"{name}.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + int(read(name)["TimeoutStopSec"])
    while is_alive(pid):
        if time.monotonic() > until:
            sys.exit(f"{name}: still there after TimeoutStopSec")
        time.sleep(0.05)


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def main(*arguments):
    match arguments:
        case ["daemon-reload"]:
            for unit in UNITS.glob("*.service"):
                subprocess.run(["systemd-analyze", "verify", unit], check=True)
        case ["enable", "--now", name]:
            enable(name)
        case ["reload", name]:
            reload(name)
        case ["stop", name]:
            stop(name)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    STATE.mkdir(exist_ok=True)
    main(*sys.argv[1:])
