#!/usr/bin/env bash
# The pure parts of the shards (model, wire, mesh) under Miri, with few cases for each property.
# Needs nightly's miri and rust-src; where they cannot be had, sanitize.sh is the next best.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

if ! said="$(cargo +nightly miri --version 2>&1)"; then
  echo "miri: $(head -n 1 <<<"$said")" >&2
  echo "miri: needs rustup component add --toolchain nightly miri rust-src" >&2
  exit 2
fi
# Without isolation: properties look for their file of old failures.
export MIRIFLAGS="-Zmiri-disable-isolation"
export PROPTEST_CASES="${PROPTEST_CASES:-8}"
cargo +nightly miri test --target-dir target/miri -p stentor-shards --lib -- \
  model:: wire:: mesh:: clock:: close::
