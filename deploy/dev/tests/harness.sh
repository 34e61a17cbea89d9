# shellcheck shell=bash
# A test is a function whose name starts with `test_`; it fails when it exits with anything but 0. Each runs in a shell
# of its own with `set -e`, with an empty folder $SCRATCH; what it printed is shown when it fails. The lines are those
# of `cargo test`, so that one sum covers both.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../lib/base.sh
source "$here/lib/base.sh"

# run_tests: runs every test of the script that calls it, or those whose name contains $1, in the order they are written.
run_tests() {
  local file name passed=0 failed=() ignored=0 began=$SECONDS suite=${0##*/}
  suite=${suite%.sh}
  mapfile -t names < <(sed -n "s/^\(test_[a-z_0-9]*\)() .*/\1/p" "$0" | grep -e "${1:-}")
  printf '\nrunning %d tests of the tooling (deploy/dev/tests/%s.sh)\n' "${#names[@]}" "$suite"
  for name in "${names[@]}"; do
    SCRATCH=$(mktemp -d) file=$(mktemp)
    printf 'test %s::%s ... ' "$suite" "${name#test_}"
    # Not `if (…)`: bash would ignore `set -e` within.
    set +e
    (
      set -euo pipefail
      "$name"
    ) >"$file" 2>&1 </dev/null
    case $? in
      0) echo ok && passed=$((passed + 1)) ;;
      77) echo "ignored, $(tail -n 1 "$file")" && ignored=$((ignored + 1)) ;;
      *) echo FAILED && failed+=("$name") && sed 's/^/    /' "$file" ;;
    esac
    set -e
    rm -rf "$SCRATCH" "$file"
  done
  printf '\ntest result: %s. %d passed; %d failed; %d ignored; 0 measured; 0 filtered out; finished in %d s\n' \
    "$( ((${#failed[@]})) && echo FAILED || echo ok)" "$passed" "${#failed[@]}" "$ignored" $((SECONDS - began))
  ((${#failed[@]} == 0))
}

# ignore WHY: this machine cannot run the test.
ignore() {
  echo "$*"
  exit 77
}

fail() {
  echo "$*"
  exit 1
}

# refuses OUTPUT COMMAND...: COMMAND must fail; what it says goes to the file OUTPUT.
refuses() {
  local output=$1
  shift
  if "$@" >"$output" 2>&1; then
    cat "$output"
    fail "it should have failed: $*"
  fi
}

# says FILE TEXT
says() {
  grep -qF -- "$2" "$1" && return
  cat "$1"
  fail "expected to read: $2"
}

# says_not FILE TEXT
says_not() {
  ! grep -qF -- "$2" "$1" && return
  cat "$1"
  fail "did not expect to read: $2"
}

# same WANTED ACTUAL WHAT
same() { [[ $1 == "$2" ]] || fail "$3: expected '$1', got '$2'"; }
