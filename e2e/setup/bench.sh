#!/bin/bash
# bench.sh - runs e2e/bench as an ordinary user, with a registry at hand as the tests have it, or with that which
# BIVOUAC_E2E_REGISTRY names. Arguments are the benchmark's, of which -slow needs more images; JSON in the environment names a file for the results.
set -euo pipefail
shopt -s inherit_errexit
. "$(dirname "$0")/lib.sh"

main() {
  local users kind
  need_go
  if is_root; then "$top/e2e/setup/setup.sh" "$(wanted "$@")"; else check_setup "$@"; fi
  need_criu
  hide_hybrid_cgroups "$@"
  make_scratch
  compile runner ./e2e/setup/runner
  compile imager ./e2e/corpus/imager
  compile bench ./e2e/bench
  make -s -C "$top" build # what users get is smaller, and so starts faster, than what the tests compile
  install -m 755 "$top/bin/bivouac" "$scratch/bin/bivouac"
  users=$(kinds)
  kind=${users%%=*}
  with_registry "$scratch/bin/runner" exec -scratch "$scratch" -binary "$scratch/bin/bivouac" -users "${users%% *}" \
    "$scratch/bin/bench" -json "$scratch/$kind/results.json" "$@"
  [[ -z ${JSON:-} ]] || cp "$scratch/$kind/results.json" "$JSON"
}

# wanted ARG... prints the verb of setup.sh that the arguments call for.
wanted() { if [[ " $* " == *' -slow '* || " $* " == *' --slow '* ]]; then echo bench; else echo all; fi; }

# check_setup ARG... tells an ordinary user what is missing, as only root can mend it.
check_setup() {
  [[ -n ${BIVOUAC_E2E_REGISTRY:-} ]] || command -v docker-registry >/dev/null ||
    die 'the registry is missing; once, as root: make setup'
  [[ -e $corpus/oci/go ]] || die "the images in $corpus are missing; once, as root: make setup"
  [[ $(wanted "$@") == all || -e $slow_corpus/oci ]] ||
    die "the images in $slow_corpus are missing; once, as root: e2e/setup/setup.sh bench"
}

with_registry() {
  local layouts=$corpus/oci
  if [[ -e $slow_corpus/oci ]]; then layouts+=:$slow_corpus/oci; fi
  if [[ -n ${BIVOUAC_E2E_REGISTRY:-} ]]; then
    "$@"
  else
    "$scratch/bin/imager" serve "$layouts" "$scratch/registry" "$@"
  fi
}

# hide_hybrid_cgroups begins again, if called by root, in a mount namespace where cgroup v2 is not mounted beside v1:
# crun, and podman with it, refuse to run where both have controllers.
hide_hybrid_cgroups() {
  local both=/sys/fs/cgroup/unified
  if is_root && [[ -n $(cat $both/cgroup.controllers 2>/dev/null) ]]; then
    log "$both is hidden: crun does not work beside it"
    # shellcheck disable=SC2016 # the inner shell expands them
    exec unshare --mount bash -c 'umount "$1"; exec "${@:2}"' bash $both "$0" "$@"
  fi
}

main "$@"
