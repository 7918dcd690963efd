#!/bin/bash
# demo.sh BIVOUAC - runs a command in a sandbox over this machine's own root, as an ordinary user, and shows that
# it was root there, wrote to /etc, and left nothing behind.
set -euo pipefail
shopt -s inherit_errexit
. "$(dirname "$0")/lib.sh"

readonly file=/etc/bivouac-demo

# shellcheck disable=SC2016 # the sandbox's shell expands it
readonly inside='echo "inside:  user id $(id -u), host name $(hostname 2>/dev/null || cat /proc/sys/kernel/hostname)"
echo "written in a sandbox" >'$file' && echo "inside:  '$file' says: $(cat '$file')"'

main() {
  need_go
  if is_root; then "$top/e2e/setup/setup.sh" users; fi
  find_criu || true
  make_scratch
  install -m 755 "$1" "$scratch/bivouac"
  compile runner ./e2e/setup/runner
  [[ ! -e $file ]] || die "$file exists already: remove it first"
  echo "outside: user id $(as_user id -u), no $file"
  echo "         \$ bivouac run host: sh -c '...'"
  as_user "$scratch/bivouac" run host: sh -c "$inside"
  [[ ! -e $file ]] || die "$file was written on the host"
  echo "outside: no $file: nothing remains"
}

as_user() {
  local user
  user=$(kinds)
  "$scratch/bin/runner" exec -scratch "$scratch" -users "${user%% *}" "$@"
}

main "$@"
