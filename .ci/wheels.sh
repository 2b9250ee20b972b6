#!/bin/sh
# Builds wheels that run on any Linux with glibc 2.17 or newer, with manual pages and completions inside.
# usage: .ci/wheels.sh DIR [PYTHON...]   (default: every CPython that .ci/pythons.sh finds)
set -eu

cd "$(dirname "$0")/.."
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
first=$(.ci/pythons.sh | head -n 1)
# shellcheck disable=SC2046  # one interpreter a line, none with blanks
[ $# -gt 0 ] || set -- $(.ci/pythons.sh)

target=${CARGO_TARGET_DIR:-$PWD/target}
tools=$target/wheel-tools
[ -x "$tools/bin/pip" ] || "$first" -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check --requirement .ci/wheels.txt

# zig links against the oldest glibc that Rust itself supports, whatever this machine has
build() {
    PATH=$tools/bin:$PATH CARGO_TARGET_DIR=$target/wheel maturin build --quiet --release --zig \
        --compatibility manylinux2014 --out "$1" --interpreter "$2"
}

# what the command line says of itself goes into the wheel, and only a built one can say it
describe() {
    share=python/rusgi.data/data/share
    rm -rf "$target/describe" python/rusgi.data
    mkdir -p $share/man/man1 $share/bash-completion/completions $share/zsh/site-functions $share/fish/vendor_completions.d
    build "$target/describe" "$first"
    "$first" -m venv "$target/describe/venv"
    "$target/describe/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "$target"/describe/*.whl
    rusgi=$target/describe/venv/bin/rusgi
    "$rusgi" man $share/man/man1
    "$rusgi" completions bash >$share/bash-completion/completions/rusgi
    "$rusgi" completions zsh >$share/zsh/site-functions/_rusgi
    "$rusgi" completions fish >$share/fish/vendor_completions.d/rusgi.fish
}

trap 'rm -rf python/rusgi.data' EXIT
describe
for python in "$@"; do
    echo "building the wheel for $("$python" -V)"
    build "$out" "$python"
done
ls -l "$out"
