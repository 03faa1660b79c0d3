#!/usr/bin/env bash
# Sets up and runs all tests: units, properties, simulation, loom, the real binary with real clients, the page.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

# Names what comes, and says when it began, so that what takes long is seen.
stage() { printf 'test: %s (at %d s)\n' "$1" "$SECONDS"; }

scripts/setup.sh
export TEST_PYTHON="$PWD/.venv/bin/python"

stage "the client library"
(cd tests/web && node --test)

stage "doc tests"
cargo test --quiet --workspace --doc

stage "build"
cargo test --quiet --workspace --no-run

stage "the planner, beside it the Autobahn cases"
"$TEST_PYTHON" -m unittest discover --quiet --start-directory scripts/planner/tests --top-level-directory scripts \
  >target/planner.log 2>&1 &
planner=$!
failed=no
scripts/conformance.sh || failed=yes
wait "$planner" || failed=yes
cat target/planner.log
[ "$failed" = no ] || exit 1

stage "everything else"
if cargo nextest --version >/dev/null 2>&1; then
  # Most tests wait for a process or for a deadline, so two for each core use the time of both. Those that measure are
  # alone, as .config/nextest.toml says.
  cargo nextest run --workspace --test-threads "$((2 * $(nproc)))" --status-level fail --final-status-level fail
else
  cargo test --workspace
fi
