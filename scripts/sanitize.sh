#!/usr/bin/env bash
# The shards' unit tests, simulation and fuzz seeds under AddressSanitizer (nightly compiler), and
# their pure parts under Valgrind's memcheck: sanitize.sh [address|memcheck|all].
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

what="${1:-all}"
case "$what" in address | memcheck | all) ;; *)
  echo "sanitize: address, memcheck or all" >&2
  exit 2
  ;;
esac
export SIM_SEEDS="${SIM_SEEDS:-256}"

if [ "$what" != memcheck ]; then
  if ! rustup run nightly rustc --version >/dev/null 2>&1; then
    echo "sanitize: needs a nightly compiler: rustup toolchain install nightly" >&2
    exit 2
  fi
  host="$(rustup run nightly rustc -vV | sed -n 's/^host: //p')"
  echo "sanitize: address, leaks included"
  RUSTFLAGS="-Zsanitizer=address" cargo +nightly test --quiet --target "$host" \
    --target-dir target/asan -p stentor-shards --lib
fi

if [ "$what" != address ]; then
  if ! command -v valgrind >/dev/null 2>&1; then
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then sudo="sudo"; fi
    echo "sanitize: apt-get install valgrind"
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends valgrind \
      >/dev/null
  fi
  echo "sanitize: memcheck"
  # What reads a clock is left out: the kernel's page for that is not there under Valgrind.
  export PROPTEST_CASES="${PROPTEST_CASES:-16}"
  runner="valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite"
  runner="$runner --show-leak-kinds=definite"
  CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$runner" \
    cargo test --quiet -p stentor-shards --lib -- model:: wire:: mesh::
fi
