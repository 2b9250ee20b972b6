#!/bin/sh
# Builds what `make bench` compares, everything on one interpreter, and measures it.
# usage: .ci/bench.sh [OPTION...]        (those of benches/bench.py)
#        .ci/bench.sh operations [NAME...]   (benches/operations.py instead)
set -eu
cd "$(dirname "$0")/.."

python=$(.ci/pythons.sh | head -n 1)
target=${CARGO_TARGET_DIR:-$PWD/target}
.ci/venv.sh "$target/venv" "$python" release tests/requirements.txt
# uWSGI from source, so that it is built against the same interpreter
"$target/venv/bin/pip" install --quiet --disable-pip-version-check --no-binary uWSGI --requirement benches/requirements.txt
if [ "${1:-}" = operations ]; then
    shift
    exec "$target/venv/bin/python" benches/operations.py "$target/venv" "$@"
fi
PYO3_PYTHON=$python cargo build --release --locked

mkdir -p "$target/bench"
cc -O2 -Wall -Wextra -o "$target/bench/floor" benches/floor.c -pthread
cc -O2 -Wall -Wextra -o "$target/bench/paced" benches/paced.c -lm
exec "$target/venv/bin/python" benches/bench.py --venv "$target/venv" --binary "$target/release/rusgi" --tools "$target/bench" "$@"
