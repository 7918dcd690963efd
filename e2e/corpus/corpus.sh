#!/bin/bash
# corpus.sh DIR - builds the images that the tests run, from Debian's packages, as OCI layouts below DIR/oci.
#
# As root; takes about 90 seconds and 600 MB, and does nothing if the images are there. README.md lists them.
set -euo pipefail
shopt -s inherit_errexit
. "$(dirname "${BASH_SOURCE[0]}")/../setup/lib.sh"

readonly suite=bookworm
readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg
readonly recipes=$top/e2e/corpus/recipes
readonly layouts=(busybox busybox-v2s2 debian postgres redis nginx odd)

export SOURCE_DATE_EPOCH=1735689600 DEBIAN_FRONTEND=noninteractive LC_ALL=C

main() {
  dir=$(realpath -m -- "$1")
  work=$dir/work
  ! complete || return 0
  is_root || die "building the images needs root: sudo $0 $dir"
  [[ $(dpkg --print-architecture) == amd64 ]] || die "the images are built on amd64 only"
  need_go
  need mmdebstrap debian-archive-keyring ca-certificates
  mkdir -p "$dir"
  exec 9>"$dir/lock" # one run at a time
  flock 9
  complete || build
}

complete() {
  local name
  for name in "${layouts[@]}"; do [[ -e $dir/oci/$name/index.json ]] || return 1; done
}

build() {
  rm -rf --one-file-system -- "$work"
  mkdir -p "$work/log"
  cd "$work"
  (cd "$top" && go build -buildvcs=false -o "$work/imager" ./e2e/corpus/imager)
  step sources sources
  step debian debian
  step busybox-amd64 busybox amd64
  step busybox-arm64 busybox arm64
  step postgres layer postgres postgresql-15
  step redis layer redis redis-server
  step nginx layer nginx nginx-light
  step tools layer tools iputils-ping libcap2-bin attr procps netcat-openbsd
  step images ./imager images . oci
  step odd ./imager odd oci
  chmod -R a+rX oci
  rm -rf -- "$dir/oci"
  mv oci "$dir/oci"
  cd /
  rm -rf --one-file-system -- "$work"
  log "images: $(du -sh "$dir/oci")"
}

# step NAME COMMAND... runs a part of the build, whose output is shown if it fails.
step() {
  local name=$1
  shift
  log "building images: $name"
  # In a process of its own, as bash ignores errors in a function whose status is looked at.
  ("$@") >"log/$name" 2>&1 &
  wait $! && return
  tail -n 20 "log/$name" >&2
  die "$name did not build; its log is $work/log/$name"
}

# sources sets up an apt for the images alone: Debian's main archive, from the mirror and by the network settings
# that the machine has, and none of its other sources.
sources() {
  local address
  address=$(mirror)
  echo "deb [signed-by=$keyring] $address $suite main" >sources.list
  apt-config dump | grep -E '^Acquire::(https?::|Check-)' >network.conf || true
  mkdir -p apt/{lists,archives}/partial
  cat - network.conf >apt.conf <<END
Dir::Etc { Main "/dev/null"; Parts "/dev/null"; SourceParts "/dev/null"; PreferencesParts "/dev/null"; };
Dir::Etc::SourceList "$work/sources.list";
Dir::State "$work/apt";
Dir::Cache "$work/apt";
Dir::Log "$work/log";
APT::Architecture "amd64";
APT::Architectures { "amd64"; "arm64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Dpkg::Use-Pty "false";
END
  apt_get update
}

apt_get() { APT_CONFIG=$work/apt.conf apt-get -q -y "$@"; }

# mirror prints the address of Debian's main archive, as the machine's apt knows it.
mirror() {
  local address
  address=$(archive)
  if [[ -z $address ]]; then # apt may have no lists yet
    apt-get -q update >&2
    address=$(archive)
  fi
  case $address in
    mirror+file:*) awk '/^[^#]/ { print $1; exit }' "${address#mirror+file:}" ;;
    *) echo "${address:-http://deb.debian.org/debian}" ;;
  esac
}

# shellcheck disable=SC2016 # apt expands it
archive() {
  apt-get indextargets --format '$(REPO_URI)' \
    'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 'Component: main' | sed -n '1s|/$||p'
}

# debian makes debian.tar, the lowest layer of most images, and debian/, the same unpacked. It is trimmed as Debian's
# own "slim" images are; usr-is-merged keeps out usrmerge, which needs all of Perl.
# shellcheck disable=SC2016 # the hooks' shell expands it
debian() {
  mkdir tmp debian
  TMPDIR=$work/tmp NETWORK=$work/network.conf unshare --mount \
    mmdebstrap --quiet --mode=root --variant=minbase --skip=output/dev \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --include=usr-is-merged \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --setup-hook='cp "$NETWORK" "$1/etc/apt/apt.conf.d/00network"' \
    --customize-hook='cd "$1" && rm -f etc/apt/apt.conf.d/00network etc/resolv.conf etc/hostname' \
    --customize-hook='cd "$1" && rm -rf var/lib/apt/lists/* var/cache/apt/*.bin var/log/*.log var/log/apt/*' \
    "$suite" debian.tar "$(<sources.list)"
  tar --xattrs --xattrs-include='*' --numeric-owner -xpf debian.tar -C debian
  mkdir -p debian/dev
}

# busybox ARCH makes busybox-ARCH.tar: a static busybox and its links. No foreign program is run.
busybox() {
  local root=busybox-$1 applet
  mkdir -p "$root"/{bin,dev,etc,home,proc,root,sbin,sys,tmp,usr/bin,usr/sbin,var/www}
  chmod 1777 "$root/tmp"
  chmod 700 "$root/root"
  apt_get download "busybox-static:$1"
  dpkg-deb --fsys-tarfile busybox-static_*_"$1".deb | tar -xO ./bin/busybox >"$root/bin/busybox"
  chmod 755 "$root/bin/busybox"
  for applet in $(busybox-amd64/bin/busybox --list-full); do # both architectures have the same
    [[ $applet == bin/busybox ]] || ln -s /bin/busybox "$root/$applet"
  done
  printf '%s\n' root:x:0:0:root:/root:/bin/sh daemon:x:1:1:daemon:/usr/sbin:/bin/false \
    www-data:x:33:33:www-data:/var/www:/bin/false nobody:x:65534:65534:nobody:/home:/bin/false >"$root/etc/passwd"
  printf '%s\n' root:x:0: daemon:x:1: www-data:x:33: nogroup:x:65534: >"$root/etc/group"
  echo "$1" >"$root/etc/corpus-arch"
  ./imager layer "$root" "$root.tar"
}

# layer NAME PACKAGE... makes NAME.tar: what the packages and recipes/NAME.sh change over debian/. Its mounts and
# processes end with its namespaces.
layer() { unshare --mount --pid --fork --kill-child "$top/e2e/corpus/corpus.sh" --in-namespaces "$dir" "$@"; }

# in_namespaces NAME PACKAGE... is the inner part of layer. The upper directory is on a tmpfs, as it cannot be on an
# overlay, which DIR may be on.
in_namespaces() {
  local name=$1 root=$work/overlay/root
  shift
  mkdir -p overlay
  mount -t tmpfs -o mode=755 tmpfs overlay
  mkdir overlay/{upper,work,root}
  mount -t overlay overlay "$root" \
    -o "lowerdir=debian,upperdir=overlay/upper,workdir=overlay/work,index=off,metacopy=off,redirect_dir=off"
  mount -t proc proc "$root/proc"
  mount --bind /dev "$root/dev"
  mkdir "$root/recipes"
  mount --bind "$recipes" "$root/recipes"
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod 755 "$root/usr/sbin/policy-rc.d"

  if [[ -e $recipes/$name-before.sh ]]; then in_root "/recipes/$name-before.sh"; fi
  apt_get -o Dir::State::status="$root/var/lib/dpkg/status" -o Dir::Cache::Archives="$root/var/cache/apt/archives" \
    -o DPkg::Chroot-Directory="$root" install "$@"
  in_root "/recipes/$name.sh"

  umount "$root/recipes" "$root/dev" "$root/proc"
  (cd "$root" && rm -rf recipes usr/sbin/policy-rc.d var/cache/apt/*.bin var/cache/apt/archives/*.deb \
    var/cache/apt/archives/lock var/cache/ldconfig/aux-cache var/log/*.log var/log/apt/* tmp/*)
  ./imager layer overlay/upper "$name.tar"
}

in_root() {
  chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \
    bash -euo pipefail "$@"
}

case $#:${1:-} in
  1:[!-]*) main "$1" ;;
  *:--in-namespaces)
    dir=$2 work=$2/work
    cd "$work"
    shift 2
    in_namespaces "$@"
    ;;
  *) die "usage: $0 DIR" ;;
esac
