#!/usr/bin/env bash
# The one gate: format, lints, docs, dependencies, then all tests.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

echo "check: format"
cargo fmt --all --check
echo "check: lints"
cargo clippy --workspace --all-targets --quiet -- -D warnings
echo "check: docs"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet
echo "check: dependencies"
scripts/deny.sh
scripts/setup.sh
echo "check: quick tests of known faults"
scripts/cases.sh
scripts/test.sh
