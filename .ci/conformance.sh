#!/bin/sh
# Runs the conformance table's tests against rusgi, uWSGI and gunicorn and writes docs/conformance.md, then compares environs with uWSGI's.
# usage: .ci/conformance.sh [differential]   (with the word: only the comparison, which needs no gunicorn)
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-$(.ci/pythons.sh | head -n 1)}
target=${CARGO_TARGET_DIR:-$PWD/target}
peers=$target/peers

[ "$(readlink -f "$peers/bin/python")" = "$(readlink -f "$python")" ] || rm -rf "$peers"
[ -x "$peers/bin/pip" ] || "$python" -m venv "$peers"
# from source, so that it is built against the same interpreter
"$peers/bin/pip" install --quiet --disable-pip-version-check --no-binary uWSGI --requirement tests/conformance/requirements.txt

export PYO3_PYTHON="$python" RUSGI_TEST_UWSGI="$peers/bin/uwsgi"
if [ "${1:-}" != differential ]; then
    tests/conformance/run.py "$peers"
fi
exec cargo test --locked --test it -- --include-ignored --exact \
    differential::random_packets_become_the_same_environ_as_in_uwsgi_but_for_what_is_meant \
    differential::a_call_to_uwsgi_is_answered_as_one_to_rusgi
