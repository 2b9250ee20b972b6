#!/usr/bin/env bash
# Runs every fuzz target for the given time: fuzz/run.sh [--keep] SECONDS [TARGET…]
# What a run finds stays under target/; with --keep, what of it reaches code that no seed reaches goes to fuzz/corpus/.
set -euo pipefail
cd "$(dirname "$0")/.."
is_kept=
[ "${1:-}" != --keep ] || { is_kept=yes; shift; }
seconds=${1:?"say for how many seconds each target shall run: fuzz/run.sh [--keep] SECONDS [TARGET…]"}
shift
version=0.13.2
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
tools=$target/tools
scratch=$target/fuzz
export PATH=$tools/bin:$PATH
unset CARGO_TARGET_DIR

if [ "$(cargo fuzz --version 2>/dev/null)" != "cargo-fuzz $version" ]; then
    echo "fuzz: installing cargo-fuzz $version into $tools"
    cargo install --quiet cargo-fuzz --version "$version" --locked --root "$tools" --target-dir "$scratch/cargo-fuzz"
fi

# The sanitizer and coverage flags are unstable; this admits them on the stable toolchain.
export RUSTC_BOOTSTRAP=1
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
[ ${#targets[@]} -gt 0 ] || { echo "fuzz: cargo fuzz list names no target" >&2; exit 1; }

# fuzz/corpus/NAME anew: the fewest inputs that reach, together with the seeds, all code that was ever reached
keep() {
    local name=$1 chosen
    chosen=$(mktemp -d)
    cp "fuzz/seeds/$name/"* "$chosen"
    cargo fuzz run --target-dir "$scratch/target" "$name" "$chosen" "fuzz/corpus/$name" "$scratch/corpus/$name" -- \
        -merge=1 -use_counters=0 -max_len=4096 >>"$scratch/$name.log" 2>&1
    rm -rf "fuzz/corpus/$name"
    mkdir -p "fuzz/corpus/$name"
    for input in "$chosen"/*; do
        [ -e "fuzz/seeds/$name/${input##*/}" ] || cp "$input" "fuzz/corpus/$name/"
    done
    rm -rf "$chosen"
    echo "fuzz: $name: $(find "fuzz/corpus/$name" -type f | wc -l) inputs kept"
}

failed=0
for name in "${targets[@]}"; do
    corpus=$scratch/corpus/$name
    log=$scratch/$name.log
    mkdir -p "$corpus" "$scratch/artifacts/$name" "fuzz/corpus/$name"
    [ -n "$(ls "fuzz/seeds/$name")" ] || { echo "fuzz: $name has no seeds; run fuzz/seeds.py" >&2; exit 1; }
    cargo fuzz build --target-dir "$scratch/target" "$name" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
    if cargo fuzz run --target-dir "$scratch/target" "$name" "$corpus" "fuzz/seeds/$name" "fuzz/corpus/$name" -- \
        -max_total_time="$seconds" -timeout=10 -dict=fuzz/uwsgi.dict -print_final_stats=1 \
        -artifact_prefix="$scratch/artifacts/$name/" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        echo "fuzz: $name: ${runs:?"$log says nothing of runs"} runs in $seconds s, no failure"
        [ -z "$is_kept" ] || keep "$name"
    else
        failed=1
        echo "fuzz: $name: FAILED, see $log" >&2
        grep -E -A3 'panicked|ERROR|SUMMARY|Test unit written' "$log" >&2 || tail -n 20 "$log" >&2
    fi
done
exit $failed
