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

echo "test: build"
cargo test --quiet --workspace --no-run

echo "test: the planner, beside it the Autobahn cases"
"$TEST_PYTHON" -m unittest discover --quiet --start-directory scripts/planner/tests --top-level-directory scripts \
  >target/planner.log 2>&1 &
planner=$!
failed=no
scripts/conformance.sh || failed=yes
wait "$planner" || failed=yes
cat target/planner.log
[ "$failed" = no ] || exit 1

echo "test: everything else"
if cargo nextest --version >/dev/null 2>&1; then
  # Most tests wait for a process or for a deadline, so two for each core use the time of both. Those that measure are
  # alone, as .config/nextest.toml says.
  cargo nextest run --workspace --test-threads "$((2 * $(nproc)))" --status-level fail --final-status-level fail
else
  cargo test --workspace
fi
