#!/usr/bin/env bash
# Dependencies: licences, bans and sources by cargo-deny (deny.toml); advisories too where their database can be had.
# Without cargo-deny, deny.py holds the same list of licences, bans and sources against cargo's own metadata;
# STENTOR_DENY=install builds the tool.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

if ! command -v cargo-deny >/dev/null 2>&1 && [ "${STENTOR_DENY:-}" = install ]; then
  echo "deny: cargo install cargo-deny"
  cargo install --quiet --locked cargo-deny
fi
if command -v cargo-deny >/dev/null 2>&1; then
  cargo deny --locked check bans licenses sources
  if [ -d "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs" ]; then cargo deny check advisories; fi
else
  echo "deny: cargo-deny is not installed; looking at licences, sources and bans without it"
  cargo metadata --locked --format-version 1 | python3 scripts/deny.py
fi
# The crates of RUSTSEC-2026-0291: the stub under [patch.crates-io] keeps them out.
if grep -q 'name = "owned-alloc"' Cargo.lock; then
  echo "deny: owned-alloc is back in Cargo.lock" >&2
  exit 1
fi
