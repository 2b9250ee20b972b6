#!/usr/bin/env python3
"""Runs every command of docs/deploy.md in its order, in namespaces of its own, so that the machine stays as it is.

usage: walk.py WHEELS    (the directory that `make wheels` fills; needs root)
"""

import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs/deploy.md"
INSIDE = "RUSGI_WALK_INSIDE"

# What the commands change is a copy, or empty.
WORLD = """
set -e
ip link set lo up
# the mount point is there on every machine, and is not used here otherwise
copies=/mnt
mount -t tmpfs -o mode=755 tmpfs "$copies"
for directory in /etc /var/lib/nginx /var/log/nginx; do
    mkdir -p "$copies$directory"
    cp -a "$directory/." "$copies$directory"
    mount --bind "$copies$directory" "$directory"
done
for directory in /run /srv; do
    mount -t tmpfs -o mode=755 tmpfs "$directory"
done
mkdir "$copies/bin"
ln -s "$0" "$copies/bin/systemctl"
ln -s "$1" "$copies/bin/python3"
rm -f /etc/nginx/sites-enabled/* /etc/nginx/conf.d/* /etc/systemd/system/*.service
echo "$copies"
"""


def main(wheels):
    if os.environ.get(INSIDE):
        return walk(wheels)
    if os.geteuid() != 0:
        sys.exit("walk.py: makes users and namespaces: run it as root")
    namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [*namespaces, sys.executable, __file__, wheels]
    return subprocess.run(command, env={**os.environ, INSIDE: "1"}).returncode


def walk(wheels):
    made = subprocess.run(["sh", "-c", WORLD, HERE / "systemctl.py", os.path.realpath(sys.executable)], check=True, text=True, capture_output=True)
    copies = pathlib.Path(made.stdout.strip())
    environ = {
        **os.environ,
        "PATH": f"{copies}/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin",
        # the wheel of this checkout, and no other
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": wheels,
    }
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    failed = sum(not step(block, environ) for block in blocks)
    print(f"test result: {'FAILED' if failed else 'ok'}. {len(blocks) - failed} passed; {failed} failed; docs/deploy.md")
    return 1 if failed or not blocks else 0


def step(block, environ):
    """One block of the page, as somebody would paste it into a root shell."""
    done = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", block], env=environ, text=True, capture_output=True)
    print(f"{'ok' if done.returncode == 0 else 'FAILED'}: {block.splitlines()[0]}")
    if done.returncode:
        print(done.stdout + done.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(str(pathlib.Path(sys.argv[1]).absolute())))
