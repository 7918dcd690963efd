# shellcheck shell=bash
# lib.sh - what the scripts beside it share. They are called by the Makefile and may be called from anywhere.

top=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
readonly top
readonly mapped_user=bivouac-sub single_user=bivouac-solo # with subordinate ids, and without
readonly corpus=${BIVOUAC_CORPUS:-/var/cache/bivouac-corpus}
readonly slow_corpus=$corpus/slow # images of services that are slow to start
export BIVOUAC_CORPUS=$corpus

export PATH=$PATH:/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin # sudo and su leave some of these out
umask 022

log() { printf '[%3ds] %s\n' "$SECONDS" "$*" >&2; }
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}
is_root() { ((EUID == 0)); }

need_go() {
  command -v go >/dev/null || die 'needs Go 1.26 or later, on PATH or in /usr/local/go: https://go.dev/dl'
}

# missing PACKAGE... prints those that are not installed.
missing() {
  local package
  for package; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
  done
}

# need PACKAGE...: installs what is missing, without starting any daemon; an ordinary user is told the command.
need() {
  local packages
  command -v dpkg-query >/dev/null || {
    log "no Debian or Ubuntu: taking for granted that these are installed: $*"
    return
  }
  mapfile -t packages < <(missing "$@")
  ((${#packages[@]})) || return 0
  is_root || die "missing packages; as root: apt-get install --no-install-recommends ${packages[*]}"
  log "apt-get install ${packages[*]}"
  install_packages "${packages[@]}"
}

install_packages() (
  export DEBIAN_FRONTEND=noninteractive
  if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
  fi
  apt-get -qq -o DPkg::Lock::Timeout=600 update
  apt-get -qq -y -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 install --no-install-recommends "$@" >/dev/null
  # Its service would take port 5000 at the next boot.
  if [[ -d /run/systemd/system && " $* " == *' docker-registry '* ]]; then systemctl disable --quiet docker-registry; fi
)

# need_users makes the two users of the tests. System users are not given subordinate ids by useradd itself.
need_users() {
  local name
  for name in "$mapped_user" "$single_user"; do
    id "$name" >/dev/null 2>&1 || useradd --system --create-home --shell /bin/bash "$name"
  done
  grep -q "^$mapped_user:" /etc/subuid && grep -q "^$mapped_user:" /etc/subgid || grant_ids "$mapped_user"
}

# grant_ids USER gives USER the 65536 ids above all that are given to somebody.
grant_ids() {
  local first
  touch /etc/subuid /etc/subgid
  first=$(awk -F: '{ end = $2 + $3; if (end > max) max = end } END { print (max > 200000 ? max : 200000) }' \
    /etc/subuid /etc/subgid)
  sed -i "/^$1:/d" /etc/subuid /etc/subgid
  usermod --add-subuids "$first-$((first + 65535))" --add-subgids "$first-$((first + 65535))" "$1"
}

readonly criu_wanted=4.2

# criu_fits FILE says whether FILE is a CRIU that is new enough. One beside whose directory there is a C library is run
# with that and its loader, as one that was unpacked somewhere needs it.
criu_fits() {
  local libc run=("$1") version
  [[ -x $1 ]] || return 1
  libc=$(compgen -G "${1%/*/criu}/lib/*/libc.so.6" | head -n 1) || true
  if [[ -n $libc ]]; then run=("$(compgen -G "${libc%/*}/ld-linux*.so.[0-9]")" --library-path "${libc%/*}" "$1"); fi
  version=$("${run[@]}" --version 2>/dev/null | sed -n 's/^Version: //p') || return 1
  [[ -n $version ]] && printf '%s\n' $criu_wanted "$version" | sort -VC
}

# find_criu has BIVOUAC_CRIU name a CRIU that is new enough: that which it names already, the machine's, or one that was
# unpacked. It fails if there is none; BIVOUAC_E2E_NO_CRIU then is the reason for which tests are skipped.
find_criu() {
  local found
  if [[ -n ${BIVOUAC_CRIU:-} ]]; then
    criu_fits "$BIVOUAC_CRIU" || die "BIVOUAC_CRIU names no CRIU $criu_wanted or newer: $BIVOUAC_CRIU"
    return
  fi
  for found in "$(command -v criu)" "$corpus/criu/usr/sbin/criu" "$(own_criu)/usr/sbin/criu"; do
    criu_fits "$found" || continue
    export BIVOUAC_CRIU=$found
    unset BIVOUAC_E2E_NO_CRIU
    return
  done
  export BIVOUAC_E2E_NO_CRIU="there is no CRIU $criu_wanted or newer"
  return 1
}

# own_criu prints the directory where the caller may unpack a CRIU.
own_criu() {
  if is_root || [[ -w $corpus ]]; then echo "$corpus/criu"; else echo "${XDG_CACHE_HOME:-$HOME/.cache}/bivouac-criu"; fi
}

# need_criu is find_criu, but unpacks one if there is none. It never fails.
need_criu() {
  find_criu && return
  "$top/e2e/setup/criu.sh" "$(own_criu)" || true
  find_criu && return
  BIVOUAC_E2E_NO_CRIU+=", and none could be unpacked: $(grep -m 1 -E '^(E|criu\.sh): ' "$(own_criu)/log")"
  log "tests of process checkpoints are skipped: $BIVOUAC_E2E_NO_CRIU"
}

# kinds prints KIND=USER for each user that the tests run as: root tests as two, anybody else as themselves.
kinds() {
  if is_root; then
    echo "mapped=$mapped_user single=$single_user"
  elif grep -q "^\($(id -un)\|$(id -u)\):" /etc/subuid 2>/dev/null && command -v newuidmap >/dev/null; then
    echo "mapped=$(id -un)"
  else
    echo "single=$(id -un)"
  fi
}

# make_scratch makes $scratch, a directory that every user can look into and that goes with the script. It is on
# a file system that overlays can have their upper directory on; the path is short, as those of sockets must be.
make_scratch() {
  local base
  for base in "${TMPDIR:-/tmp}" /tmp /var/tmp /dev/shm; do
    [[ $(stat -f -c %T "$base" 2>/dev/null) == overlayfs ]] || break
  done
  scratch=$(mktemp -d "$base/bivouac.XXXX")
  chmod 755 "$scratch"
  trap 'remove_scratch' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# An ordinary user may only remove files of subordinate ids from within a namespace that has these.
remove_scratch() {
  chmod -R u+rwX "$scratch" 2>/dev/null || true
  rm -rf --one-file-system -- "$scratch" 2>/dev/null ||
    unshare --map-root-user --map-auto rm -rf --one-file-system -- "$scratch" ||
    log "could not remove all of $scratch"
}

# copy_tree DIR copies the working tree, which may be below a directory that the users cannot enter.
copy_tree() {
  mkdir "$1"
  tar -C "$top" --exclude=./.git --exclude=./bin -cf - . | tar -C "$1" --no-same-owner -xf -
  chmod -R u+rwX,a+rX "$1"
}

# compile NAME PACKAGE makes $scratch/bin/NAME.
compile() {
  mkdir -p "$scratch/bin"
  (cd "$top" && go build -buildvcs=false -tags netgo,osusergo -o "$scratch/bin/$1" "$2")
}
