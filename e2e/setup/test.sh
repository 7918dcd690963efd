#!/bin/bash
# test.sh - runs every test, unit and end to end, as ordinary users: called as root as two that it makes, called by
# an ordinary user as that user. PKG, RUN, FOCUS and KIND in the environment narrow it down.
set -euo pipefail
shopt -s inherit_errexit
. "$(dirname "$0")/lib.sh"

main() {
  need_go
  if is_root; then "$top/e2e/setup/setup.sh" all; else check_setup; fi
  need_criu
  make_scratch
  log "compiling"
  copy_tree "$scratch/src"
  compile runner ./e2e/setup/runner
  compile imager ./e2e/corpus/imager
  compile bivouac ./cmd/bivouac
  # shellcheck disable=SC2046,SC2086 # several words each
  "$scratch/bin/imager" serve "$corpus/oci" "$scratch/registry" \
    "$scratch/bin/runner" test -src "$scratch/src" -scratch "$scratch" -binary "$scratch/bin/bivouac" \
    -run "${RUN:-}" -focus "${FOCUS:-}" -users "$(kinds)" -kind "${KIND:-}" ${PKG:-./...}
}

# check_setup tells an ordinary user what is missing, as only root can mend it.
check_setup() {
  command -v docker-registry >/dev/null && [[ -e $corpus/oci/go ]] ||
    die "the registry or the images in $corpus are missing; once, as root: make setup"
}

main
