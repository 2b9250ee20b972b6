#!/bin/sh
# Builds what `make bench` compares, both doors and uWSGI on one interpreter, and measures them.
# usage: .ci/bench.sh [OPTION...]   (those of benches/bench.py)
set -eu
cd "$(dirname "$0")/.."

python=$(.ci/pythons.sh | head -n 1)
target=${CARGO_TARGET_DIR:-$PWD/target}
.ci/venv.sh "$target/venv" "$python" release tests/requirements.txt
# from source, so that it is built against the same interpreter
"$target/venv/bin/pip" install --quiet --disable-pip-version-check --no-binary uWSGI --requirement benches/requirements.txt
PYO3_PYTHON=$python cargo build --release --locked
exec "$target/venv/bin/python" benches/bench.py --venv "$target/venv" --binary "$target/release/rusgi" "$@"
