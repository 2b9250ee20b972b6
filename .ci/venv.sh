#!/bin/sh
# Makes or refreshes a virtual environment with rusgi installed like any user would: from this checkout, or a wheel.
# usage: .ci/venv.sh DIR PYTHON SOURCE [REQUIREMENTS]   SOURCE: a wheel, or the profile to build this checkout in, release or dev
set -eu

dir=$1 python=$2 source=$3 requirements=${4:-}
cd "$(dirname "$0")/.."

# another interpreter than last time: what is installed in there does not fit
[ "$(readlink -f "$dir/bin/python")" = "$(readlink -f "$python")" ] || rm -rf "$dir"
[ -x "$dir/bin/pip" ] || "$python" -m venv "$dir"
[ -z "$requirements" ] || "$dir/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"

case $source in
    *.whl) exec "$dir/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$source" ;;
esac

# wheels have a target directory of their own: the embedding binary is configured otherwise and would be rebuilt each time
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/wheel"
export MATURIN_PEP517_ARGS="--profile $source"
echo "building the wheel for $("$dir/bin/python" -V) ($source profile) into $dir"
exec "$dir/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall .
