#!/bin/sh
# Checks what rusgi is made of against deny.toml.
# usage: .ci/deny.sh CHECK...   of bans, licenses, sources and advisories; the last fetches its database from github.com
set -eu
cd "$(dirname "$0")/.."

version=0.20.2
target=${CARGO_TARGET_DIR:-$PWD/target}
PATH=$target/tools/bin:$PATH

if [ "$(cargo deny --version 2>/dev/null)" != "cargo-deny $version" ]; then
    echo "deny: installing cargo-deny $version into $target/tools"
    # as it takes a minute to compile and a second to run
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet cargo-deny --version "$version" --locked --debug --no-default-features \
        --root "$target/tools" --target-dir "$target/cargo-deny"
    rm -rf "$target/cargo-deny"
fi
exec cargo deny --workspace --locked check --hide-inclusion-graph "$@"
