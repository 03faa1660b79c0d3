#!/usr/bin/env bash
# Builds all that a release has into out/release: the program in an archive and a Debian package, the npm and Python
# packages, the Helm chart, the list of what is in the program (SBOM, CycloneDX), and SHA256SUMS of all of them. The
# same commit and compiler make the same bytes: times are the commit's, and no path of this machine gets in.
# `scripts/release.sh check` builds everything twice and compares. STENTOR=PATH packs a program that is built already.
# Installs cargo-deb and cargo-cyclonedx where they are missing; publishes nothing.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

case "${1:-}" in
  "" | check) ;;
  *) echo "release: unknown argument '$1': try --help" >&2; exit 2 ;;
esac
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)} LC_ALL=C TZ=UTC
umask 022
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
python=${TEST_PYTHON:-$PWD/.venv/bin/python}
[ -x "$python" ] || { echo "release: $python is not there: scripts/setup.sh makes it" >&2; exit 1; }
for tool in cargo-deb cargo-cyclonedx; do
  if ! command -v "$tool" >/dev/null 2>&1; then
    echo "release: cargo install $tool"
    cargo install --quiet --locked "$tool"
  fi
done

# An archive whose bytes depend on its files alone: archive FILE FOLDER NAME...
archive() {
  local to=$1 folder=$2
  shift 2
  tar --directory "$folder" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    --mode=u=rwX,go=rX --format=ustar --create "$@" | gzip --no-name --best >"$to"
}

build() {
  local out=$1 room program=${STENTOR:-}
  room=$(mktemp -d)
  rm -rf "$out"
  mkdir -p "$out"
  if [ -z "$program" ]; then
    # A folder of its own, so that `check` compiles twice; its name is not in the program.
    RUSTFLAGS="--remap-path-prefix=$PWD=/stentor --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
      cargo build --quiet --profile dist --locked --package stentor --target-dir "$room/target"
    program=$room/target/dist/stentor
  fi

  STENTOR=$program scripts/deb.sh >/dev/null
  cp target/package/*.deb "$out/"

  local name=stentor-$version-linux-$(uname -m)
  mkdir -p "$room/$name"
  cp -r target/package/{stentor,stentor.toml,stentor.bash,stentor.zsh,stentor.fish,man} "$room/$name/"
  cp README.md CHANGELOG.md LICENSE* scripts/systemd/stentor.{service,socket,default} scripts/docker/seccomp.json "$room/$name/"
  archive "$out/$name.tar.gz" "$room" "$name"

  (cd clients/js && npm pack --silent --offline --pack-destination "$room" >/dev/null)
  cp "$room"/stentor-ws-*.tgz "$out/"

  cp -r clients/python "$room/python"
  rm -rf "$room"/python/dist
  find "$room/python" -name __pycache__ -prune -exec rm -rf {} +
  (cd "$room/python" && "$python" -m hatchling build >/dev/null 2>&1)
  cp "$room"/python/dist/* "$out/"

  cp -r scripts/deploy/helm "$room/stentor"
  archive "$out/stentor-chart-$version.tgz" "$room" stentor

  # One list beside the manifest of each package; the program's own names all that it is made of.
  cargo cyclonedx --quiet --quiet --format json --spec-version 1.5 --no-build-deps --override-filename .release-sbom
  mv .release-sbom.json "$room/sbom.json"
  find . -path ./target -prune -o -name .release-sbom.json -exec rm {} +
  "$python" scripts/sbom.py "$room/sbom.json" "$PWD" >"$out/stentor-$version.cdx.json"

  (cd "$out" && sha256sum -- * >"$room/sums" && mv "$room/sums" SHA256SUMS)
  rm -rf "$room"
}

build out/release
echo "release: $(wc -l <out/release/SHA256SUMS) files in out/release"
[ "${1:-}" = check ] || exit 0
build out/release-again
diff out/release/SHA256SUMS out/release-again/SHA256SUMS
rm -rf out/release-again
echo "release: built twice, and every byte is the same"
