#!/bin/bash
# corpus.sh DIR [NAME...] - builds the images that the tests run, or only those named, from Debian's packages, as OCI
# layouts below DIR/oci.
#
# As root; takes about 3 minutes and 1 GB, and does nothing if the images are there. README.md lists them.
set -euo pipefail
shopt -s inherit_errexit
. "$(dirname "${BASH_SOURCE[0]}")/../setup/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../setup/apt.sh"

readonly release=bookworm
readonly recipes=$top/e2e/corpus/recipes

# installs are the packages that an image has on top of debian. Those of rabbitmq and mariadb are built only if named.
declare -rA installs=(
  [postgres]=postgresql-15
  [redis]=redis-server
  [nginx]=nginx-light
  [node]=nodejs
  [java]=openjdk-17-jre-headless
  [python]=python3
  [rabbitmq]=rabbitmq-server
  [mariadb]='mariadb-server-core mariadb-client-core'
)

export SOURCE_DATE_EPOCH=1735689600 DEBIAN_FRONTEND=noninteractive LC_ALL=C

main() {
  dir=$(realpath -m -- "$1")
  work=$dir/work
  shift
  layouts=("$@")
  ((${#layouts[@]})) || layouts=(busybox busybox-v2s2 debian postgres redis nginx node java python go odd)
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

# complete says whether the images are there, and are what this tree would build.
complete() {
  local name
  for name in "${layouts[@]}"; do [[ -e $dir/oci/$name/index.json ]] || return 1; done
  [[ $(cat "$dir/oci/inputs" 2>/dev/null) == "$(inputs)" ]]
}

# inputs prints a checksum of what in this tree decides on the content of the images.
inputs() {
  (cd "$top/e2e/corpus" && find corpus.sh recipes service imager/specs.go -type f ! -name '*_test.go' -print0 | sort -z |
    xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1)
}

build() {
  local name
  rm -rf --one-file-system -- "$work"
  mkdir -p "$work/log"
  cd "$work"
  (cd "$top" && go build -buildvcs=false -o "$work/imager" ./e2e/corpus/imager)
  step sources private_apt "$work/apt" $release amd64 arm64
  private=$work/apt
  step debian debian
  for name in "${layouts[@]}"; do layers "$name"; done
  step images ./imager images . oci "${layouts[@]}"
  inputs >oci/inputs
  chmod -R a+rX oci
  rm -rf -- "$dir/oci"
  mv oci "$dir/oci"
  cd /
  rm -rf --one-file-system -- "$work"
  log "images: $(du -sh "$dir/oci")"
}

# layers NAME makes the archives of what the images in the layout NAME are made of, as far as no other layout has them.
layers() {
  local more
  case $1 in
    busybox)
      step busybox-amd64 busybox amd64
      step busybox-arm64 busybox arm64
      ;;
    busybox-v2s2 | odd) ;;
    debian) step tools layer tools iputils-ping libcap2-bin attr procps netcat-openbsd ;;
    go) step go program ;;
    *)
      [[ -n ${installs[$1]:-} ]] || die "there is no image $1"
      read -ra more <<<"${installs[$1]}"
      step "$1" layer "$1" "${more[@]}"
      ;;
  esac
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

# debian makes debian.tar, the lowest layer of most images, and debian/, the same unpacked. It is trimmed as Debian's
# own "slim" images are; usr-is-merged keeps out usrmerge, which needs all of Perl.
# shellcheck disable=SC2016 # the hooks' shell expands it
debian() {
  mkdir tmp debian
  TMPDIR=$work/tmp NETWORK=$work/apt/network.conf unshare --mount \
    mmdebstrap --quiet --mode=root --variant=minbase --skip=output/dev \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --include=usr-is-merged \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --setup-hook='cp "$NETWORK" "$1/etc/apt/apt.conf.d/00network"' \
    --customize-hook='cd "$1" && rm -f etc/apt/apt.conf.d/00network etc/resolv.conf etc/hostname' \
    --customize-hook='cd "$1" && rm -rf var/lib/apt/lists/* var/cache/apt/*.bin var/log/*.log var/log/apt/*' \
    "$release" debian.tar "$(<apt/sources.list)"
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

# program makes go.tar: a static program, and where it has its socket.
program() {
  mkdir -p go/{dev,proc,run,sys,tmp}
  chmod 1777 go/tmp
  (cd "$top" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$work/go/service" ./e2e/corpus/service)
  ./imager layer go go.tar
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

case ${1:-} in
  [!-]*) main "$@" ;;
  --in-namespaces)
    dir=$2 work=$2/work private=$2/work/apt
    cd "$work"
    shift 2
    in_namespaces "$@"
    ;;
  *) die "usage: $0 DIR [NAME...]" ;;
esac
