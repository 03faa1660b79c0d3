#!/usr/bin/env bash
# The one gate: format, lints, docs, dependencies, then all tests.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

# Names what comes, and says when it began, so that what takes long is seen.
stage() { printf 'check: %s (at %d s)\n' "$1" "$SECONDS"; }

stage "format"
cargo fmt --all --check
stage "lints"
cargo clippy --workspace --all-targets --quiet -- -D warnings
# What only the fuzzer compiles, with the packages that lie there already.
cargo clippy --package stentor-shards --lib --quiet -- --cfg fuzzing -D warnings
stage "docs"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet
stage "dependencies"
scripts/deny.sh
scripts/setup.sh
scripts/test.sh
stage "all passed"
