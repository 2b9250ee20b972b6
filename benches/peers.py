"""The servers that are compared, each as its documentation advises, and all with the same listen queue."""

import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
UWSGI_CONF = "unix-socket.conf"
PROXY_CONF = HERE / "proxy.conf"
# uWSGI refuses to start with a longer one than the kernel's limit
BACKLOG = min(4096, int(pathlib.Path("/proc/sys/net/core/somaxconn").read_text()))


class Rusgi:
    """rusgi, from the wheel or as the embedding binary."""

    conf = UWSGI_CONF

    def __init__(self, program, options=()):
        self.program = program
        self.options = options

    def version(self):
        return first_line([self.program, "--version"])

    def with_options(self, *options):
        return Rusgi(self.program, [*self.options, *options])

    def command(self, work, setting, path):
        command = [self.program, "serve", "--socket", f"unix:{path}", "--backlog", BACKLOG, "--chdir", work.chdir]
        command += ["--workers", setting.processes, "--threads", setting.threads, *self.options]
        command += ["--preload"] * setting.preload
        return [*command, work.target]


class Uwsgi:
    """uWSGI with a master, as operators run it, but without what costs it time: request log, unasked threads."""

    conf = UWSGI_CONF

    def __init__(self, venv):
        self.venv = venv
        self.program = venv / "bin/uwsgi"

    def version(self):
        return "uWSGI " + first_line([self.program, "--version"])

    def command(self, work, setting, path):
        """Without `lazy-apps` the application is loaded once, before the fork, whatever the setting says."""
        command = [self.program, "--master", "--die-on-term", "--need-app", "--disable-logging"]
        # rusgi takes packets of any size there can be; so shall this
        command += ["--buffer-size", 65535, "--listen", BACKLOG, "--socket", path, "--virtualenv", self.venv]
        command += ["--chdir", work.chdir, "--module", work.module, "--callable", work.callable]
        command += ["--processes", setting.processes]
        return command + (["--threads", setting.threads] if setting.threads > 1 else [])


class Gunicorn:
    """gunicorn on the same protocol: its sync worker with one thread, of itself its gthread worker with several."""

    conf = UWSGI_CONF

    def __init__(self, venv):
        self.program = venv / "bin/gunicorn"

    def version(self):
        return first_line([self.program, "--version"]).replace(" (version ", " ").rstrip(")")

    def command(self, work, setting, path):
        command = [self.program, "--protocol", "uwsgi", "--no-control-socket", "--bind", f"unix:{path}"]
        command += ["--backlog", BACKLOG, "--log-level", "warning", "--chdir", work.chdir]
        command += ["--workers", setting.processes, "--threads", setting.threads]
        command += ["--preload"] * setting.preload
        return [*command, work.target]


class Granian:
    """granian over HTTP, since it does not speak uwsgi: nginx keeps its connections open (see proxy.conf)."""

    conf = PROXY_CONF

    def __init__(self, venv):
        self.program = venv / "bin/granian"

    def version(self):
        return first_line([self.program, "--version"])

    def command(self, work, setting, path):
        command = [self.program, "--interface", "wsgi", "--http", "1", "--no-ws", "--uds", path, "--no-log"]
        command += ["--backlog", BACKLOG, "--working-dir", work.chdir, "--workers", setting.processes]
        # idle threads stay: one that ends takes its CPU time with it, uncounted
        command += ["--blocking-threads", setting.threads, "--blocking-threads-idle-timeout", 600]
        return [*command, work.target]


class Floor:
    """floor.c: the same system calls and the same bytes without Python or an application."""

    conf = UWSGI_CONF

    def __init__(self, program):
        self.program = program

    def version(self):
        return "C, no Python"

    def command(self, work, setting, path):
        body = path.with_suffix(".body")
        body.write_bytes(work.expected)
        size = [setting.processes, setting.threads]
        return [self.program, path, BACKLOG, *size, body, work.chunks, work.upload, work.pause_us]


PEERS = {
    "wheel": lambda options: Rusgi(options.venv / "bin/rusgi"),
    "embedded": lambda options: Rusgi(options.binary, ["--virtualenv", options.venv]),
    "uwsgi": lambda options: Uwsgi(options.venv),
    "gunicorn": lambda options: Gunicorn(options.venv),
    "granian": lambda options: Granian(options.venv),
    "floor": lambda options: Floor(options.tools / "floor"),
}


def first_line(command):
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    return said.stdout.splitlines()[0]
