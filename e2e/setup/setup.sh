#!/bin/bash
# setup.sh - prepares a machine for the tests, as root. Every verb may be repeated; what is there is left as it is.
#
#   setup.sh users   newuidmap and the two users
#   setup.sh all     also the registry, the images and, unless the machine's is new enough, CRIU
#   setup.sh bench   also the images that only the benchmark has
set -euo pipefail
shopt -s inherit_errexit
. "$(dirname "$0")/lib.sh"

is_root || die "this needs root: sudo make setup"
need uidmap
need_users
if [[ ${1:-} == all || ${1:-} == bench ]]; then
  need_go
  need curl gcc libc6-dev docker-registry skopeo
  "$top/e2e/corpus/corpus.sh" "$corpus"
  need_criu
fi
if [[ ${1:-} == bench ]]; then "$top/e2e/corpus/corpus.sh" "$slow_corpus" rabbitmq mariadb; fi
