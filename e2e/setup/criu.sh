#!/bin/bash
# criu.sh DIR - unpacks CRIU below DIR, unless one that will do is there: Debian's package and all that it needs, with a C
# library and a loader of its own. As any user; takes about 10 seconds and 30 MB, and installs nothing.
set -euo pipefail
shopt -s inherit_errexit
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

export LC_ALL=C

main() {
  local dir suite
  dir=$(realpath -m -- "$1")
  mkdir -p "$dir"
  exec 9>"$dir/lock" # one run at a time
  flock 9
  ! criu_fits "$dir/usr/sbin/criu" || return 0
  log "unpacking CRIU below $dir"
  : >"$dir/log"
  for suite in sid testing; do
    # In a process of its own, as bash ignores errors in a function whose status is looked at.
    (unpack "$dir" $suite) >>"$dir/log" 2>&1 &
    wait $! && return
  done
  tail -n 5 "$dir/log" >&2
  die "could not have CRIU $criu_wanted or newer from Debian's archive; the log is $dir/log"
}

# unpack DIR SUITE makes DIR/usr, at once and as a whole.
unpack() {
  local new=$1/new names deb
  command -v apt-get >/dev/null && [[ -e $keyring ]] || die "no apt, or no $keyring"
  rm -rf -- "$new"
  mkdir -p "$new"/{debs,root}
  private_apt "$new/apt" "$2" "$(dpkg --print-architecture)"
  cd "$new/debs"
  names=$(apt_get -s install criu | awk '$1 == "Inst" { print $2 }')
  # shellcheck disable=SC2086 # several words
  apt_get download $names
  for deb in *.deb; do dpkg-deb -x "$deb" "$new/root"; done
  criu_fits "$new/root/usr/sbin/criu" || die "not new enough, or does not run: $(echo criu_*.deb) of $2"
  chmod -R a+rX "$new/root"
  rm -rf -- "$1/usr"
  mv "$new/root/usr" "$1/usr"
  rm -rf -- "$new"
}

[[ $# == 1 ]] || die "usage: $0 DIR"
main "$1"
