#!/usr/bin/env bash
# Sets up and runs all tests: units, properties, simulation, loom, the real binary with real clients, the page.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

has_nextest() { cargo nextest --version >/dev/null 2>&1; }

# Names what comes, and says when it began, so that what takes long is seen.
stage() { printf 'test: %s (at %d s)\n' "$1" "$SECONDS"; }

scripts/setup.sh
export TEST_PYTHON="$PWD/.venv/bin/python"

stage "build"
cargo test --quiet --workspace --no-run

# Each of these keeps one core busy at most. What they say is told afterwards, so that no lines mix.
stage "the Autobahn cases, beside them the planner, the client library, doc tests and the shards"
planner() {
  "$TEST_PYTHON" -m unittest discover --quiet --start-directory scripts/planner/tests --top-level-directory scripts
}
client_library() { (cd tests/web && node --test); }
doc_tests() { cargo test --quiet --workspace --doc; }
# None of these measures anything. The whole workspace is named, as other features would be built anew.
of_shards='package(stentor-shards)'
shards() {
  if has_nextest; then cargo nextest run --workspace --filterset "$of_shards" --test-threads 2 --status-level fail; fi
}
beside() { planner && client_library && doc_tests && shards; }
beside >target/beside.log 2>&1 &
others=$!
failed=no
scripts/conformance.sh || failed=yes
wait "$others" || failed=yes
cat target/beside.log
[ "$failed" = no ] || exit 1

stage "everything else"
if has_nextest; then
  # Most tests wait for a process or for a deadline, so two for each core use the time of both. Those that measure are
  # alone, as .config/nextest.toml says.
  cargo nextest run --workspace --filterset "not $of_shards" --test-threads "$((2 * $(nproc)))" --status-level fail \
    --final-status-level fail
else
  cargo test --workspace
fi
