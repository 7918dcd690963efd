#!/bin/bash
# bench.sh - runs e2e/bench as an ordinary user, with the registries at hand that the tests have.
set -euo pipefail
shopt -s inherit_errexit
. "$(dirname "$0")/lib.sh"

main() {
  local users
  need_go
  if is_root; then "$top/e2e/setup/setup.sh" all; fi
  make_scratch
  compile runner ./e2e/setup/runner
  compile imager ./e2e/corpus/imager
  compile bivouac ./cmd/bivouac
  compile bench ./e2e/bench
  users=$(kinds)
  "$scratch/bin/imager" serve "$corpus/oci" "$scratch/registry" \
    "$scratch/bin/runner" exec -scratch "$scratch" -binary "$scratch/bin/bivouac" -users "${users%% *}" \
    "$scratch/bin/bench" "$@"
}

main "$@"
