#!/usr/bin/env bash
# Sets up and runs all tests: units, properties, simulation, loom, the real binary with real clients, the page.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

scripts/setup.sh
export TEST_PYTHON="$PWD/.venv/bin/python"

echo "test: the client library"
(cd tests/web && node --test)

echo "test: doc tests"
cargo test --quiet --workspace --doc

echo "test: the planner"
cargo build --quiet --workspace
"$TEST_PYTHON" -m unittest discover --quiet --start-directory scripts/planner/tests --top-level-directory scripts

echo "test: the Autobahn cases"
scripts/conformance.sh

echo "test: everything else"
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --workspace --status-level fail --final-status-level fail
else
  cargo test --workspace
fi
