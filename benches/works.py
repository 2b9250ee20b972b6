"""What the servers are asked to do."""

import pathlib
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Work:
    """An application, and the one request that is sent to it over and over."""

    chdir: pathlib.Path
    module: str
    callable: str
    path: str
    expected: bytes

    @property
    def target(self):
        return f"{self.module}:{self.callable}"


WORKS = {
    "hello": Work(ROOT / "examples/hello", "app", "application", "/", b"Hello, world!\n"),
}
