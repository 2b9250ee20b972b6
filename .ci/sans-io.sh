#!/usr/bin/env bash
# Proves that rusgi-proto needs neither the standard library nor any crate beyond a few.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
scratch=${CARGO_TARGET_DIR:-$root/target}/sans-io

fail() {
    echo "sans-io: $*" >&2
    exit 1
}

# 1. Only these crates may be linked; the last four run inside the compiler, for thiserror.
allowed="bytes memchr nom rusgi-proto thiserror thiserror-impl proc-macro2 quote syn unicode-ident"
tree=$(cargo tree --package rusgi-proto --edges normal --prefix none --format '{p}')
used=$(awk '{ print $1 }' <<<"$tree" | sort -u)
[ -n "$used" ] || fail "cargo tree listed nothing"
for crate in $used; do
    [[ " $allowed " == *" $crate "* ]] || fail "rusgi-proto depends on $crate; keep it out or allow it here"
done

# 2. A program without std, its own panic handler included, links and runs the crate.
#    Were std anywhere below it, there would be two panic handlers and no program.
mkdir -p "$scratch/leak"
cp Cargo.lock "$scratch/Cargo.lock"
cat >"$scratch/Cargo.toml" <<EOF
[package]
name = "sans-io"
edition = "2024"

[[bin]]
name = "sans-io"
path = "$root/.ci/sans-io.rs"

[features]
leak = ["dep:leak"]

[dependencies]
leak = { path = "leak", optional = true }
rusgi-proto = { path = "$root/proto" }

[profile.release]
panic = "abort"

[workspace]
EOF
cat >"$scratch/leak/Cargo.toml" <<EOF
[package]
name = "leak"
edition = "2024"
[lib]
path = "lib.rs"
EOF
printf '#![no_std]\nextern crate std;\n' >"$scratch/leak/lib.rs"

build() {
    cargo build --quiet --release --manifest-path "$scratch/Cargo.toml" --target-dir "$scratch/target" "$@"
}

build || fail "rusgi-proto does not build without std"
"$scratch/target/release/sans-io" || fail "rusgi-proto misbehaves without std: check $?"
symbols=$(nm --demangle "$scratch/target/release/sans-io")
grep -q ' main$' <<<"$symbols" || fail "nm listed no main"
if grep -E '\bstd::' <<<"$symbols"; then
    fail "the program above holds symbols of std"
fi

# 3. The check can fail: with std in one dependency the same program must not build.
if refusal=$(build --features leak 2>&1); then
    fail "std went unnoticed"
fi
grep -qF 'duplicate lang item `panic_impl`' <<<"$refusal" ||
    fail "the build with std failed for another reason: $refusal"

echo "sans-io: rusgi-proto is linked without std, from:" $used
