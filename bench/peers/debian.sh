# Sourced by install.sh: installs Debian packages that are missing, and starts no service that comes with them.

need_packages() {
  local missing=() package sudo="" guard=/usr/sbin/policy-rc.d
  for package in "$@"; do
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then missing+=("$package"); fi
  done
  if [ "${#missing[@]}" -eq 0 ]; then return; fi
  if [ "$(id -u)" -ne 0 ]; then sudo="sudo"; fi
  echo "install: apt-get install ${missing[*]}"
  $sudo apt-get update -qq
  # Without the guard, installing a server also runs it, on its usual port.
  if [ ! -e "$guard" ]; then
    # shellcheck disable=SC2064  # The values of now.
    trap "$sudo rm -f $guard" EXIT
    printf '#!/bin/sh\nexit 101\n' | $sudo install -m 755 /dev/stdin "$guard"
  fi
  $sudo env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
