#!/usr/bin/env bash
# The server built with the locked crates. Needs cargo.
set -euo pipefail
. "$(dirname "$0")/../../../scripts/help.sh"
cd "$(dirname "$0")"
cargo build --release --locked --quiet --target-dir target
