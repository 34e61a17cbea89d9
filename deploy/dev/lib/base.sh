# shellcheck shell=bash disable=SC2034 # each script uses some of these
# What every script here starts from: where things lie, and how to talk to the person at the keyboard.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
TOOLS=${CARACAL_TOOLS:-$ROOT/.caracal} # what install.sh fetches goes to $TOOLS/bin, shared by every stack of this checkout

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

# is_yes TEXT: whether a switch is on. Nothing, 0, no, off and false are off.
is_yes() {
  case ${1:-} in
    '' | 0 | [nN]o | [oO]ff | [fF]alse) return 1 ;;
  esac
}

# The cargo profile all of `make` uses, and where it puts the binaries.
PROFILE=${PROFILE:-dev}
profile_dir() { [[ $PROFILE == dev ]] && echo debug || echo "$PROFILE"; }
BINARIES=${CARACAL_BIN:-${CARGO_TARGET_DIR:-$ROOT/target}/$(profile_dir)}
