"""Stands between systemd and the daemon: takes sockets from a Unix socket and becomes the daemon with them as descriptors 3 and on."""

import fcntl
import os
import socket
import sys

with socket.socket(socket.AF_UNIX) as giver:
    giver.connect(os.environ.pop("GIVER"))
    names, sockets, _, _ = socket.recv_fds(giver, 4096, 16)

# Out of the way first: one of them may have the number that another is to get.
aside = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 100) for descriptor in sockets]
for descriptor in sockets:
    os.close(descriptor)
for number, descriptor in enumerate(aside, 3):
    os.dup2(descriptor, number)
os.environ.setdefault("LISTEN_PID", str(os.getpid()))
os.environ["LISTEN_FDS"] = str(len(sockets))
os.environ["LISTEN_FDNAMES"] = names.decode()
os.execv(os.environ["DAEMON"], [os.environ.pop("DAEMON"), *sys.argv[1:]])
