"""What the kernel knows about a server's processes, and about the machine."""

import contextlib
import os
import pathlib
import platform
import resource
import subprocess
import tempfile
import time
from array import array

NANOSECONDS = 1e9
PRIVATE = ("Private_Clean:", "Private_Dirty:")
PAGE = os.sysconf("SC_PAGE_SIZE")
ENTRY, PRESENT, FRAME = 8, 1 << 63, (1 << 55) - 1
# above lies the kernel's own page (vsyscall), which pagemap does not know
LAST_PAGE = 1 << 51


class Tree:
    """A process and all its descendants, looked up anew at each call."""

    def __init__(self, root):
        self.root = root

    def pids(self):
        found, todo = [], [self.root]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for task in tasks(pid):
                todo += map(int, read(task / "children").split())
        return found

    def cpu_seconds(self):
        """Time on a CPU, user and system, of all threads; schedstat counts ns, stat only hundredths of a second."""
        ran = [read(task / "schedstat").split() for pid in self.pids() for task in tasks(pid)]
        return sum(int(fields[0]) for fields in ran if fields) / NANOSECONDS

    def memory(self):
        """In KiB: every page once, whoever else has mapped it, and the pages that one process alone has."""
        pids = self.pids()
        rows = [line.split() for pid in pids for line in read(pathlib.Path(f"/proc/{pid}/smaps_rollup")).splitlines()]
        kib = {name: sum(int(row[1]) for row in rows if row[0] == name) for name in ("Pss:", *PRIVATE)}
        pages = {page for pid in pids for page in resident_pages(pid)}
        private = sum(kib[name] for name in PRIVATE)
        return {"memory_kib": len(pages) * PAGE // 1024 or kib["Pss:"], "private_kib": private, "processes": len(pids)}


def resident_pages(pid):
    """Numbers of the page frames a process has mapped (proc(5), pagemap); none are shown to others than root."""
    with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/pagemap", "rb") as pagemap:
        for line in read(pathlib.Path(f"/proc/{pid}/maps")).splitlines():
            start, end = (int(word, 16) // PAGE for word in line.split()[0].split("-"))
            if start < LAST_PAGE:
                pagemap.seek(ENTRY * start)
                yield from frames(array("Q", pagemap.read(ENTRY * (end - start))))


def frames(entries):
    return (entry & FRAME for entry in entries if entry & PRESENT and entry & FRAME)


def busy_share(seconds=1):
    """How much of all CPUs is in use while nothing is measured yet, from 0 to 1."""
    before = clock_ticks()
    time.sleep(seconds)
    total, idle = (after - then for after, then in zip(clock_ticks(), before))
    return 1 - idle / total


def clock_ticks():
    """Since boot: all, and those in which a CPU had nothing to do or waited for a disk."""
    counted = [int(word) for word in read(pathlib.Path("/proc/stat")).splitlines()[0].split()[1:9]]
    return sum(counted), counted[3] + counted[4]


def tasks(pid):
    try:
        return list(pathlib.Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        return []


def read(path):
    """A process may end while it is being looked at."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def described():
    """The machine's kind."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr.strip()
    return {
        "cpus": os.cpu_count(),
        "cpu": model[0] if model else platform.machine(),
        "kernel": "Linux " + ".".join(platform.release().split(".")[:2]),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "Linux"),
        "nginx": nginx.rpartition("/")[2],
        "python": platform.python_version(),
    }


def raise_file_limit():
    """As many descriptors as may be had; what is started inherits them."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


@contextlib.contextmanager
def system_calls(pids):
    """Yields a dict that holds, after the block, how often these processes made each system call in it."""
    counted = {}
    with tempfile.NamedTemporaryFile("r", prefix="strace-") as summary:
        attach = [word for pid in pids for word in ("-p", str(pid))]
        command = ["strace", "-f", "-c", "-U", "calls,name", "-o", summary.name, *attach]
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "LC_ALL": "C"})
        await_attached(tracer)
        try:
            yield counted
        finally:
            tracer.terminate()
            tracer.communicate()
        counted.update(parsed_summary(summary.read()))


def await_attached(tracer):
    for line in tracer.stderr:
        if "attached" in line:
            return
    raise SystemExit("strace: cannot attach: run as root, or allow ptrace (sysctl kernel.yama.ptrace_scope=0)")


def parsed_summary(text):
    """Lines such as `  1234 accept4`, between two rules of dashes."""
    rows = [line.split() for line in text.splitlines()]
    return {
        name: int(calls)
        for calls, name in (row for row in rows if len(row) == 2)
        if calls.isdigit() and name != "total"
    }
