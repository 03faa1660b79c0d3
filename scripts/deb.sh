#!/usr/bin/env bash
# Builds the Debian package into target/package/*.deb: the program, its unit, the default configuration, completions
# for shells and manual pages, the last three as the program itself prints them. `scripts/deb.sh try` then installs the
# package in a clean Debian, which it makes in a temporary folder (as root), and looks at everything in it.
# STENTOR=PATH packs a program that is built already. Installs cargo-deb, and for `try` mmdebstrap, where they are missing.
set -euo pipefail
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."

case "${1:-}" in
  "" | try) ;;
  *) echo "deb: unknown argument '$1': try --help" >&2; exit 2 ;;
esac
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}

if [ -z "${STENTOR:-}" ]; then
  cargo build --profile dist --locked --package stentor
  STENTOR=target/dist/stentor
fi
if ! command -v cargo-deb >/dev/null 2>&1; then
  echo "deb: cargo install cargo-deb"
  cargo install --quiet --locked cargo-deb
fi

made=target/package
rm -rf "$made"
mkdir -p "$made/man" "$made/systemd"
# A folder of its own: every unit in it would be enabled, the example of a socket too.
cp scripts/systemd/stentor.service "$made/systemd/"
install -m 755 "$STENTOR" "$made/stentor"
"$STENTOR" config default >"$made/stentor.toml"
for shell in bash zsh fish; do "$STENTOR" completions "$shell" >"$made/stentor.$shell"; done
"$STENTOR" man >"$made/man/stentor.1"
# The commands that `stentor man` has a page of.
commands=$("$STENTOR" man --help | tr -d '\n' | grep -oE 'possible values: [^]]*' | tr -s ' ,' '\n' | tail -n +3)
for command in $commands; do "$STENTOR" man "$command" >"$made/man/stentor-$command.1"; done

# As Debian wants them: the changelog of the project, one of the package, and the licences in its form.
gzip --no-name --best <CHANGELOG.md >"$made/changelog.gz"
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
maintainer=$(sed -n 's/^maintainer = "\(.*\)"$/\1/p' Cargo.toml)
cat >"$made/changelog.debian" <<END
stentor ($version-1) unstable; urgency=medium

  * Release $version: changelog.gz beside this file has its changes.

 -- $maintainer  $(LC_ALL=C date --utc --date="@$SOURCE_DATE_EPOCH" --rfc-email)
END
{
  cat <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: $(sed -n 's/^Copyright (c) //p' LICENSE-MIT)
License: MIT or Apache-2.0

License: Apache-2.0
 On Debian systems the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.

License: MIT
END
  sed -n '/^Permission/,$p' LICENSE-MIT | sed 's/^$/./; s/^/ /'
} >"$made/copyright"
cargo deb --quiet --no-build --no-strip --package stentor --output "$made/" >/dev/null
package=$(ls "$made"/*.deb)
echo "deb: $package"
[ "${1:-}" = try ] || exit 0

if ! command -v mmdebstrap >/dev/null 2>&1; then
  echo "deb: apt-get install mmdebstrap"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null
fi
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
root=$room/debian
tarball=${CLEAN_DEBIAN:-}
if [ -n "$tarball" ]; then
  mkdir "$root"
  tar -xf "$tarball" -C "$root"
else
  mmdebstrap --quiet --variant=minbase --include=systemd,procps,man-db,bash-completion bookworm "$root"
fi
cp "$package" "$root/tmp/stentor.deb"
cp scripts/systemd/installed.sh "$root/tmp/installed.sh"
unshare --mount --pid --fork --net --mount-proc="$root/proc" chroot "$root" bash /tmp/installed.sh /tmp/stentor.deb
echo "deb: all is well"
