#!/bin/bash
# setup.sh - prepares a machine for the tests, as root. Every verb may be repeated; what is there is left as it is.
#
#   setup.sh users   newuidmap and the two users
#   setup.sh all     also the registry and the images
set -euo pipefail
shopt -s inherit_errexit
. "$(dirname "$0")/lib.sh"

is_root || die "this needs root: sudo make setup"
need uidmap
need_users
if [[ ${1:-} == all ]]; then
  need_go
  need gcc libc6-dev docker-registry skopeo
  "$top/e2e/corpus/corpus.sh" "$corpus"
fi
