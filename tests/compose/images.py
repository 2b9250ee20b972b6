"""The images: what the Dockerfile builds upon, where no registry has it, and what it makes."""

import concurrent.futures
import contextlib
import os
import pathlib
import platform
import shlex
import subprocess
import tempfile
import time

from engine import DOCKER, attempt, docker, run

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = pathlib.Path(__file__).resolve().parent / "images"
SUITE, MIRROR = "trixie", os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
BASE, RUST, NGINX = f"debian:{SUITE}-slim", f"rust:1-slim-{SUITE}", "nginx:1.30"
EXAMPLE, COMPOSE_2 = "rusgi-example", "rusgi-compose-2"
# what changes how pip, cargo and their libraries reach a registry
SETTINGS = ("pip_", "http_proxy", "https_proxy", "no_proxy")
SETTINGS += ("cargo_http_", "cargo_net_", "cargo_registries_", "cargo_source_")
FILES = {"pip": ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf"), "cargo": ("~/.cargo/config.toml",)}
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# in each secret that is written here, and to be found in no image
CANARY = "a-word-that-no-image-may-hold"
# the stand-ins that were made, because no registry gave what the Dockerfile names
STAND_INS = []


def make_all(with_compose_2):
    """While the example compiles, what downloads is done beside it."""
    ensure(BASE, make_base)
    compiled = [(ensure, RUST, make_rust), (make_example,)]
    installed = [(ensure, NGINX, make_nginx), *([(make_compose_2,)] if with_compose_2 else [])]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for done in [pool.submit(follow, chain) for chain in (compiled, installed)]:
            done.result()


def follow(chain):
    for step, *arguments in chain:
        started = time.monotonic()
        step(*arguments)
        print(f"{' '.join([step.__name__, *map(str, arguments[:1])])}: {time.monotonic() - started:.0f} s", flush=True)


def ensure(name, make):
    if attempt([DOCKER, "image", "inspect", name])[0] or attempt([DOCKER, "pull", "--quiet", name])[0]:
        return
    print(f"image {name}: no registry gives it: made from Debian's packages", flush=True)
    STAND_INS.append(name)
    make()


def make_base():
    with tempfile.TemporaryDirectory(prefix="rusgi-debootstrap-", dir="/var/tmp") as directory:
        run(["debootstrap", "--variant=minbase", SUITE, directory, MIRROR])
        # as in Debian's own images: no lists, no archives, neither now nor after the next apt-get
        clean = pathlib.Path(directory, "etc/apt/apt.conf.d/docker-clean")
        clean.write_text(
            'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };\n'
            'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";\n'
        )
        left_out = ["var/cache/apt/*.bin", "var/cache/apt/archives/*.deb", "var/lib/apt/lists/*"]
        left_out += ["usr/share/doc", "usr/share/man", "usr/share/locale"]
        tar = ["tar", "--directory", directory, *(f"--exclude=./{each}" for each in left_out), "--create", "."]
        packed = subprocess.Popen(tar, stdout=subprocess.PIPE)
        run([DOCKER, "import", "--change", 'CMD ["bash"]', "-", BASE], stdin=packed.stdout)
        if packed.wait() != 0:
            raise SystemExit(f"tar: could not pack what debootstrap made of {SUITE}")


def make_rust():
    """The toolchain is the host's: none is in Debian that is recent enough."""
    sysroot = run(["rustc", "--print", "sysroot"])
    build("rust.Dockerfile", RUST, sysroot, "--build-arg", f"TRIPLE={platform.machine()}-unknown-linux-gnu")


def make_nginx():
    build("nginx.Dockerfile", NGINX, HERE)


def make_compose_2():
    """docker compose, version 2, for hosts whose docker-compose is still version 1."""
    build("compose.Dockerfile", COMPOSE_2, HERE)


def make_example():
    command = ["--target", "example", "--tag", EXAMPLE, ROOT]
    with host_settings() as options:
        docker("build", "--network", "host", *options, *command)


def build(dockerfile, name, context, *arguments):
    with host_settings() as options:
        docker("build", "--network", "host", *options, *arguments, "--file", HERE / dockerfile, "--tag", name, context)


@contextlib.contextmanager
def host_settings():
    """How this host reaches its registries, as build secrets: the options that hand them to a build."""
    files = {name: found for name, places in FILES.items() for found in first_existing(places)}
    if os.path.exists(BUNDLE):
        files["ca"] = BUNDLE
    with tempfile.TemporaryDirectory(prefix="rusgi-secrets-") as directory:
        for name, text in (("apt", apt_settings()), ("settings", exports())):
            files[name] = pathlib.Path(directory, name)
            files[name].write_text(text)
        yield [word for name, path in files.items() for word in ("--secret", f"id={name},src={path}")]


def first_existing(places):
    paths = map(os.path.expanduser, places)
    return [path for path in paths if os.path.exists(path)][:1]


def apt_settings():
    wanted = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries")
    lines = [line for line in run(["apt-config", "dump"]).splitlines() if line.startswith(wanted)]
    return "\n".join(['Acquire::https::CAInfo "/run/secrets/ca";', *lines, f"// {CANARY}", ""])


def exports():
    values = {name: value for name, value in os.environ.items() if name.lower().startswith(SETTINGS)}
    if os.path.exists(BUNDLE):
        values |= dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "CARGO_HTTP_CAINFO"), "/run/secrets/ca")
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items()) + f"# {CANARY}\n"
