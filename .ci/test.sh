#!/bin/bash
# Everything there is to check, one stage after the other; a stage that fails does not keep the next from running.
# usage: .ci/test.sh [STAGE...]   (default: all of them, in this order)
set -uo pipefail
cd "$(dirname "$0")/.."

STAGES=(format lint docs deny unit sans_io free_threaded wheel end_to_end_embedded end_to_end_wheel deploy scaling differential smoke compose fuzz)
PYTHON=$(.ci/pythons.sh | head -n 1)
TARGET=${CARGO_TARGET_DIR:-$PWD/target}
LOGS=$TARGET/ci
VENV=$TARGET/venv
export PYTHON PYO3_PYTHON=$PYTHON RUSGI_TEST_PYTHON=$VENV/bin/python

format() {
    cargo fmt --all --check && cargo fmt --manifest-path fuzz/Cargo.toml --check
}

lint() {
    cargo clippy --workspace --all-targets --locked -- -D warnings &&
        cargo clippy --manifest-path fuzz/Cargo.toml --target-dir "$TARGET/fuzz/lint" --locked -- -D warnings
}

docs() {
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
}

# what rusgi is made of: licences, bans, sources, and a bill that can be written
deny() {
    .ci/deny.sh bans licenses sources && .ci/sbom.py "$LOGS/rusgi.cdx.json"
}

# what lies beside the code, the protocol's own tests, the examples in the documentation, and the benchmark's arithmetic
unit() {
    cargo test --locked --package rusgi --lib --bins --test allocations &&
        cargo test --locked --package rusgi --doc &&
        cargo test --locked --package rusgi-proto &&
        "$PYTHON" benches/tests.py
}

sans_io() {
    .ci/sans-io.sh
}

# types only: PyO3 is told of an interpreter that need not be here
free_threaded() {
    PYO3_CONFIG_FILE=$PWD/.ci/free-threaded.txt cargo check --target-dir "$TARGET/free-threaded" \
        --package rusgi --lib --package rusgi-python --locked
}

end_to_end_embedded() {
    RUSGI_DOOR=embedded cargo test --locked --test it
}

# the one that `make wheels` makes, in an environment of its own
wheel() {
    rm -rf "$TARGET/wheels"
    .ci/wheels.sh "$TARGET/wheels" "$PYTHON" &&
        .ci/venv.sh "$VENV" "$PYTHON" "$(echo "$TARGET"/wheels/*.whl)" tests/requirements.txt &&
        .ci/smoke.py "$VENV" --with-manual
}

end_to_end_wheel() {
    RUSGI_DOOR=wheel RUSGI_BIN=$VENV/bin/rusgi cargo test --locked --test it
}

# every command of docs/deploy.md, in namespaces of its own
deploy() {
    local sudo=
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo "$PYTHON" tests/deploy/walk.py "$TARGET/wheels"
}

# beside a real uWSGI, which is compiled for that
differential() {
    .ci/conformance.sh differential
}

# the other interpreters: does it build for them, start, serve and stop
smoke() {
    local python dir failed=0
    [ "$(.ci/pythons.sh | wc -l)" -gt 1 ] || echo "test result: ok. 0 passed; 0 failed; no other CPython 3.10 to 3.14 here"
    for python in $(.ci/pythons.sh); do
        [ "$python" != "$PYTHON" ] || continue
        dir=$TARGET/smoke/$(echo "${python#/}" | tr / -)
        if .ci/venv.sh "$dir" "$python" dev && .ci/smoke.py "$dir"; then
            echo "test result: ok. 1 passed; 0 failed; $python"
        else
            echo "test result: FAILED. 0 passed; 1 failed; $python"
            failed=1
        fi
    done
    return $failed
}

# several machines behind one nginx, in network namespaces
scaling() {
    "$PYTHON" -B tests/scaling/run.py "$VENV/bin/rusgi"
}

# docker-compose.yml on an engine: the one that runs, or one that root may start
compose() {
    local as_root=()
    [ "$(id -u)" -eq 0 ] || docker info >/dev/null 2>&1 || as_root=(sudo --preserve-env env "PATH=$PATH" "HOME=$HOME")
    "${as_root[@]}" "$PYTHON" -B tests/compose/run.py "$TARGET/compose/engine"
}

fuzz() {
    fuzz/run.sh 5
}

# passed and failed tests of a stage: as cargo counts them, or one for the stage itself
count() {
    awk -v status="$2" '
        /^test result:/ { passed += $4; failed += $6; counted = 1 }
        END {
            if (!counted) { passed = status == 0; failed = status != 0 }
            if (status != 0 && failed == 0) failed = 1
            print passed + 0, failed + 0
        }' "$1"
}

main() {
    local stage started status passed failed sum_passed=0 sum_failed=0 summary=""
    mkdir -p "$LOGS"
    for stage in "${@:-${STAGES[@]}}"; do
        printf '\n=== %s\n' "$stage"
        started=$SECONDS
        "$stage" 2>&1 | tee "$LOGS/$stage.log"
        status=${PIPESTATUS[0]}
        read -r passed failed < <(count "$LOGS/$stage.log" "$status")
        sum_passed=$((sum_passed + passed))
        sum_failed=$((sum_failed + failed))
        summary+=$(printf '%-22s %5d passed %4d failed %5d s' "$stage" "$passed" "$failed" $((SECONDS - started)))$'\n'
    done
    printf '\n%s%s passed, %s failed\n' "$summary" "$sum_passed" "$sum_failed"
    [ "$sum_failed" -eq 0 ]
}

main "$@"
