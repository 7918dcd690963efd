#!/bin/bash
# fuzz.sh - runs every fuzz target for FUZZTIME, as an ordinary user. What makes one fail is added to the tree.
set -euo pipefail
shopt -s inherit_errexit
. "$(dirname "$0")/lib.sh"

main() {
  local users file package target failed=0
  need_go
  if is_root; then "$top/e2e/setup/setup.sh" users; fi
  make_scratch
  compile runner ./e2e/setup/runner
  users=$(kinds)
  while IFS=: read -r file target; do
    package=./$(dirname "$file")
    log "$package $target"
    fuzz "$package" "$target" "${users%% *}" || failed=1
  done < <(cd "$top" && grep -roE --include='*_test.go' '^func Fuzz\w+' . | sed 's/:func /:/; s/^\.\///' | sort)
  return $failed
}

# fuzz PACKAGE TARGET KIND=USER runs one target in a directory of the user's own.
fuzz() {
  local dir=$scratch/fuzz/$2
  mkdir -p "$dir"
  if [[ -d $top/$1/testdata ]]; then cp -r "$top/$1/testdata" "$dir"; fi
  (cd "$top" && go test -c -fuzz "^$2\$" -buildvcs=false -tags netgo,osusergo -o "$dir/fuzz.test" "$1")
  chmod -R a+rX "$dir"
  if is_root; then chown -R "${3#*=}:" "$dir"; fi
  (cd "$dir" && "$scratch/bin/runner" exec -scratch "$scratch" -users "$3" "$dir/fuzz.test" \
    -test.run '^$' -test.fuzz "^$2\$" -test.fuzztime "$FUZZTIME" -test.fuzzcachedir "$dir/cache") && return
  mkdir -p "$top/$1/testdata/fuzz"
  cp -r "$dir/testdata/fuzz/$2" "$top/$1/testdata/fuzz/"
  return 1
}

main
