#!/usr/bin/env bash
# Fuzzes what reads bytes from outside: fuzz.sh [TARGET|all] [SECONDS for each, 600 unless told].
# Installs cargo-fuzz into target/tools if it is not there; needs a nightly compiler and a C++ one.
# What it finds lies in tests/fuzz/artifacts; the inputs that led further in tests/fuzz/corpus.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

target="${1:-all}"
seconds="${2:-600}"
folder=tests/fuzz
tools="$PWD/target/tools"
logs="$folder/artifacts"
export PATH="$tools/bin:$PATH"

# A target, and the longest input that it makes sense to give it.
lengths=(head=3000 proxy=1500 forwarded=400 signed=1500 frames=3000 deflated=3000 json=2000 centrifugo=2000 protobuf=2000 pusher=2000 pusher_names=400 patches=4000 link=2000 model=600 rooms=800 stream=1500 tls=4000 schedule=2500 reader=4000 rules=1500 token=3000 takeover=2000)

if ! rustup run nightly rustc --version >/dev/null 2>&1; then
  echo "fuzz: needs a nightly compiler: rustup toolchain install nightly" >&2
  exit 2
fi
if ! command -v c++ >/dev/null 2>&1; then
  sudo=""
  if [ "$(id -u)" -ne 0 ]; then sudo="sudo"; fi
  echo "fuzz: apt-get install g++"
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends g++ >/dev/null
fi
if ! command -v cargo-fuzz >/dev/null 2>&1; then
  echo "fuzz: cargo install cargo-fuzz into target/tools"
  cargo install --quiet --locked cargo-fuzz --root "$tools"
fi

host="$(rustup run nightly rustc -vV | sed -n 's/^host: //p')"
known=0
failed=0
for entry in "${lengths[@]}"; do
  name="${entry%=*}"
  if [ "$target" != all ] && [ "$target" != "$name" ]; then continue; fi
  known=1
  cargo +nightly fuzz build --fuzz-dir "$folder" "$name"
  mkdir -p "$folder/corpus/$name" "$logs/$name"
  log="$logs/$name.log"
  # cargo-fuzz's own `run` builds again for each; the program takes libFuzzer's options itself.
  if nice -n 10 "$folder/target/$host/release/$name" "$folder/corpus/$name" "$folder/seeds/$name" \
    -max_total_time="$seconds" -max_len="${entry#*=}" -timeout=20 -rss_limit_mb=2048 \
    -malloc_limit_mb=64 -artifact_prefix="$logs/$name/" -print_final_stats=1 >"$log" 2>&1; then
    verdict="nothing found"
  else
    verdict="FAILED, see $log"
    failed=1
  fi
  runs="$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
  echo "fuzz: $name: ${runs:-no} executions in $seconds s, $verdict"
done
if [ "$known" -eq 0 ]; then
  echo "fuzz: no target $target; there are: ${lengths[*]%=*} all" >&2
  exit 2
fi
exit "$failed"
