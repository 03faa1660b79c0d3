#!/usr/bin/env bash
# Dependencies: licences, bans and sources by cargo-deny (deny.toml); advisories too where their database can be had.
# Without cargo-deny, what must never come back is looked for in the lock file; STENTOR_DENY=install builds the tool.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v cargo-deny >/dev/null 2>&1 && [ "${STENTOR_DENY:-}" = install ]; then
  cargo install --quiet --locked cargo-deny
fi
if command -v cargo-deny >/dev/null 2>&1; then
  cargo deny --locked check bans licenses sources
  if [ -d "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs" ]; then cargo deny check advisories; fi
else
  echo "deny: cargo-deny is not installed; looking at Cargo.lock only"
fi
# The crates of RUSTSEC-2026-0291: the stub under [patch.crates-io] keeps them out.
if grep -q 'name = "owned-alloc"' Cargo.lock; then
  echo "deny: owned-alloc is back in Cargo.lock" >&2
  exit 1
fi
