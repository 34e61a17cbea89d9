#!/usr/bin/env bash
# Runs one of caracal-demo's subcommands, or the measurements, against the stack, leaves the stack as it found it, and
# closes with the figures we watch.
#
#   demo.sh story | bench [OPTION...]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/base.sh
source "$here/lib/base.sh"
# shellcheck source-path=SCRIPTDIR source=lib/stack.sh
source "$here/lib/stack.sh"
# shellcheck source-path=SCRIPTDIR source=lib/figures.sh
source "$here/lib/figures.sh"
# shellcheck source-path=SCRIPTDIR source=lib/pypi.sh
source "$here/lib/pypi.sh"
# shellcheck source-path=SCRIPTDIR source=lib/mcp.sh
source "$here/lib/mcp.sh"

# Starts the stack, or what is missing of it; $up says how long that took, if all of it was missing. What was missing goes
# again at the end, and what was there stays.
start() {
  local began state
  began=$(now) up=
  state=$("$here/stack.sh" status) || true
  mapfile -t missing < <(awk '$2 == "stopped" { print $1 }' <<<"$state")
  trap leave EXIT
  "$here/stack.sh" up
  [[ $state == *running* ]] || up=$(seconds_since "$began")
  locate_stack
  set -a
  # shellcheck source=/dev/null
  source "$CARACAL_DIR/dev.env"
  set +a
  export CARACAL_DIR PORT_BASE
}

leave() {
  if ((${#missing[@]})); then "$here/stack.sh" stop "${missing[@]}"; fi
}

story() {
  install_mcp || true
  local began memory
  began=$(now)
  start
  memory=$(resident_megabytes)
  "$BINARIES/caracal-demo" story
  figures "$memory"
  figure "make demo, once everything is built" "$(seconds_since "$began")" 20 s
  keep_bounds
}

bench() {
  local log memory policy
  log=$(mktemp)
  # The whole workspace's features, so that nothing is compiled anew.
  cargo bench --workspace --bench evaluate --bench memory --profile "$PROFILE" | tee "$log"
  policy=$(sed -n 's/^  *role-based.* mean *\([0-9.]*\)µs.*/\1/p' "$log")
  rm -f "$log"
  start
  sleep 2 # until starting is over
  memory=$(resident_megabytes)
  "$BINARIES/caracal-bench" "$@"
  figures "$memory"
  figure "warm policy evaluation, role-based, 1 KB, mean" "$policy" 40 µs
  keep_bounds
}

# figures MEMORY
figures() {
  echo
  figure "make up, once everything is built" "$up" 5 s
  figure "idle resident memory of our ${#SERVICES[@]} services" "$1" 200 MB
}

case ${1:-} in
  story | bench) "$@" ;;
  *) die "usage: $0 story | bench" ;;
esac
