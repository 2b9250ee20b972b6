"""What the servers are asked to do, and how large they are started."""

import pathlib
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
APPS = HERE / "apps"
MIB = b"0123456789abcdef" * 65536


@dataclass(frozen=True)
class Setting:
    """How much of a server is started."""

    processes: int
    threads: int
    preload: bool = False

    @classmethod
    def parse(cls, text):
        processes, threads = text.split("x")
        return cls(int(processes), int(threads))

    def __str__(self):
        return f"{self.processes}x{self.threads}"


SETTINGS = ["1x1", "2x1", "1x8"]


@dataclass(frozen=True)
class Work:
    """An application, and the one request that is sent to it over and over."""

    title: str
    chdir: pathlib.Path
    module: str
    callable: str
    path: str
    expected: bytes
    # the rest is for the floor, which knows no application
    chunks: int = 1
    upload: int = 0
    pause_us: int = 0

    @property
    def target(self):
        return f"{self.module}:{self.callable}"

    @property
    def settings(self):
        """One thread sleeps as well as the other: only how many there are matters."""
        return ["1x8"] if self.pause_us else SETTINGS


def shape(title, path, expected, **floor):
    return Work(title, APPS, "shapes", "application", path, expected, **floor)


HELLO = b"Hello, world!\n"
WORKS = {
    "hello": Work("hello", HERE.parent / "examples/hello", "app", "application", "/", HELLO),
    "flask": Work("Flask hello", APPS, "flask_hello", "app", "/", HELLO),
    "django": Work("Django hello", APPS, "django_hello", "application", "/", HELLO),
    "large": shape("1 MiB response", "/large", MIB),
    "stream": shape("128 × 8 KiB stream", "/stream", MIB[:8192] * 128, chunks=128),
    "upload": shape("1 MiB upload", "/upload", b"%d\n" % len(MIB), upload=len(MIB)),
    "sleep": shape("50 ms sleep", "/sleep", b"slept\n", pause_us=50_000),
}
