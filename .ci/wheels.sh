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

bare=$target/wheel-bare
rm -rf "$bare"

# zig links against the oldest glibc that Rust itself supports, whatever this machine has
build() {
    PATH=$tools/bin:$PATH CARGO_TARGET_DIR=$target/wheel maturin build --quiet --release --zig \
        --compatibility manylinux2014 --out "$bare" --interpreter "$@"
}

# what the command line says of itself
describe() {
    "$1" -m venv "$bare/venv"
    "$bare/venv/bin/pip" install --quiet --disable-pip-version-check --no-index --no-deps --find-links "$bare" rusgi
    rusgi=$bare/venv/bin/rusgi share=$bare/data/share
    mkdir -p "$share/man/man1" "$share/bash-completion/completions" "$share/zsh/site-functions" "$share/fish/vendor_completions.d"
    "$rusgi" man "$share/man/man1"
    "$rusgi" completions bash >"$share/bash-completion/completions/rusgi"
    "$rusgi" completions zsh >"$share/zsh/site-functions/_rusgi"
    "$rusgi" completions fish >"$share/fish/vendor_completions.d/rusgi.fish"
}

# the same wheel with `data`, which installs below the environment's top directory
add_data() {
    rm -rf "$bare/open"
    "$tools/bin/wheel" unpack --dest "$bare/open" "$1" >/dev/null
    inside=$(echo "$bare"/open/*)
    mkdir "$inside/$(basename "$inside").data"
    cp -R "$bare/data" "$inside/$(basename "$inside").data/"
    "$tools/bin/wheel" pack --dest-dir "$out" "$inside" >/dev/null
}

for python in "$@"; do
    echo "building the wheel for $("$python" -V)"
    build "$python"
done
describe "$1"
for wheel in "$bare"/*.whl; do
    add_data "$wheel"
done
ls -l "$out"
