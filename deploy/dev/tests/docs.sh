#!/usr/bin/env bash
# shellcheck disable=SC2013,SC2016 # what is read has no blanks in it; backticks are Markdown's
# The documentation does what it says: its shell blocks run as written, on a stack of their own, and what it names is
# there. A line that ends in `# 401` (or another status) must show that status.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=harness.sh
source "$(dirname "$0")/harness.sh"
# shellcheck source-path=SCRIPTDIR source=../lib/stack.sh
source "$here/lib/stack.sh"
cd "$ROOT"

PAGES=(README.md docs/*.md docs/decisions/*.md)

# A stack that goes with the test.
own_stack() {
  export CARACAL_DIR=$SCRATCH/stack PORT_BASE=auto
  trap 'CLEAN=1 deploy/dev/stack.sh down' EXIT
}

# blocks PAGE: its shell blocks as one script that finds our stack, and stops at a promise that is not kept.
blocks() {
  echo 'set -euo pipefail; trap '\''kill $(jobs -p) 2>/dev/null || true'\'' EXIT
    promised() { tee /dev/stderr | grep -qw -- "$1" || { echo "promised: $1"; exit 1; } }'
  awk '/^```sh$/ { on = 1; next } /^```/ { on = 0 } on' "$1" |
    sed -E -e "s#\.caracal/dev\.env#$CARACAL_DIR/dev.env#; s#target/debug/#$BINARIES/#; s#\b18099\b#$(port upstream)#" \
      -e 's/^(.*[^ ]) +# ([1-5][0-9][0-9])\b.*$/{ \1; } 2>\&1 | promised \2/'
}

# prose PAGE: what is not in its code blocks.
prose() { awk '/^```/ { code = !code; next } !code' "$1"; }

# The quickstart needs jq, which is small: where we may, we bring it.
want_jq() {
  command -v jq >/dev/null && return
  [[ $(id -u) -ne 0 ]] || apt-get install -y -qq jq >/dev/null 2>&1 || true
  command -v jq >/dev/null || ignore "there is no jq here"
}

test_the_quickstart_runs_as_written() {
  want_jq
  own_stack
  deploy/dev/stack.sh up
  locate_stack
  blocks docs/quickstart.md >"$SCRATCH/script"
  (($(grep -c promised "$SCRATCH/script") > 4)) || fail "its promises are not read rightly"
  timeout 60 bash "$SCRATCH/script" 2>&1 | tee "$SCRATCH/said"
  says "$SCRATCH/said" '"item":"kettle"'
  says "$SCRATCH/said" '"decision": "deny"'
}

test_the_readme_runs_as_written() {
  unset MAKEFLAGS MAKELEVEL CLEAN
  own_stack
  locate_stack
  same "make demo make test" "$(blocks README.md | grep -oE '^make (demo|test)' | paste -sd' ')" "its two commands"
  blocks README.md | grep -vE '^make (demo|test) ' >"$SCRATCH/script"
  timeout 300 bash "$SCRATCH/script" 2>&1 | tee "$SCRATCH/said"
  says "$SCRATCH/said" "The stack is up."
  says "$SCRATCH/said" '"zone'
  refuses "$SCRATCH/status" deploy/dev/stack.sh status
}

test_every_make_target_that_is_named_exists() {
  local target
  for target in $(grep -ohE '`make [a-z-]+' "${PAGES[@]}" | cut -d ' ' -f 2 | sort -u); do
    grep -qE "^$target:" Makefile || fail "make $target"
  done
}

test_every_link_leads_somewhere() {
  local page link
  for page in "${PAGES[@]}"; do
    for link in $(prose "$page" | grep -oE '\]\([^)#: ]+[)#]' | tr -d '](#)'); do
      [[ -e $(dirname "$page")/$link ]] || fail "$page: $link"
    done
  done
}

test_every_source_file_that_the_readme_names_exists() {
  local path
  for path in $(grep -oE '`[a-z]+/[a-z_/-]+\.(rs|sh)`' README.md | tr -d '`'); do
    [[ -f $path ]] || fail "$path"
  done
}

run_tests "$@"
