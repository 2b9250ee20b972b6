#!/bin/sh
# Installs through apt what is missing for the named jobs, and nothing that is there already.
# usage: .ci/install.sh [make] [rust] [python] [nginx] [clients] [systemd] [deploy] [strace] [docker] [bench]
set -eu

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
here=$(dirname "$0")
missing=

there() { command -v "$1" >/dev/null 2>&1; }
need() { missing="$missing $*"; }

need_rust() {
    if ! there cargo; then
        echo "cargo: not found: install Rust from https://rustup.rs" >&2
        exit 69
    fi
    # the linker, and the C++ that libFuzzer is written in
    there cc && there c++ || need build-essential
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || rustup component add rustfmt clippy
}

need_python() {
    python=$("$here/pythons.sh" | head -n 1)
    if [ -z "$python" ]; then
        need python3 python3-dev python3-venv
    elif ! "$python" "$here/headers.py"; then
        case $python in
            /usr/bin/*) need python3-dev python3-venv ;;
            *) echo "$python: has no Python.h or no ensurepip: install its development files" >&2 && exit 69 ;;
        esac
    fi
}

# an engine, a client that builds with secrets, docker-compose, and what makes base images where no registry is reachable
need_docker() {
    there dockerd || docker info >/dev/null 2>&1 || need docker.io iptables ca-certificates
    there docker-compose || docker compose version >/dev/null 2>&1 || need docker-compose
    there debootstrap || need debootstrap
    there ip || need iproute2
    # before Debian 13 the engine brought its client, and the client could build
    case $(. /etc/os-release && echo "$VERSION_CODENAME") in
        bookworm) ;;
        *) docker buildx version >/dev/null 2>&1 || need docker-cli docker-buildx ;;
    esac
}

for job in "$@"; do
    case $job in
        make) there make || need make ;;
        rust) need_rust ;;
        python) need_python ;;
        nginx) there nginx || need nginx ;;
        systemd) there systemd-analyze || need systemd ;;
        deploy) there curl || need curl; there ip || need iproute2 ;;
        strace) there strace || need strace ;;
        clients)
            # without what starts it: apache2 would add the service
            there apache2 || need apache2-bin
            there lighttpd || need lighttpd
            ;;
        docker) need_docker ;;
        bench) there strace || need strace; there valgrind || need valgrind; there wrk || need wrk ;;
        *) echo "$job: not a job: say make, rust, python, nginx, clients, systemd, deploy, strace, docker or bench" >&2 && exit 64 ;;
    esac
done

[ -n "$missing" ] || exit 0

apt="apt-get install -y --no-install-recommends$missing"
quiet="-qq -o Dpkg::Use-Pty=0"
sudo=
if ! there apt-get; then
    echo "missing:$missing (these are Debian's names): install them, then run this again" >&2
    exit 69
elif [ "$(id -u)" -ne 0 ]; then
    if ! there sudo; then
        echo "missing:$missing; neither root nor sudo here: have root run: $apt" >&2
        exit 69
    fi
    sudo=sudo
fi

echo "installing what is missing:$missing"
servers=
for server in nginx lighttpd; do
    case "$missing " in *" $server "*) servers="$servers $server" ;; esac
done
# Debian starts a server when it installs it, and there may be another on port 80 already
policy=/usr/sbin/policy-rc.d
if [ -n "$servers" ] && [ ! -e $policy ]; then
    echo "(not to be started, now or at boot:$servers)"
    # shellcheck disable=SC2064  # what is meant now is meant then
    trap "$sudo rm -f $policy" EXIT
    printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
    $sudo chmod 755 $policy
fi
# shellcheck disable=SC2086  # several words are meant
$sudo apt-get update $quiet
# shellcheck disable=SC2086  # several words are meant
$sudo env DEBIAN_FRONTEND=noninteractive $apt $quiet
for server in $servers; do
    $sudo update-rc.d "$server" disable >/dev/null
done
