# shellcheck shell=bash
# Finds the outside programs the stack runs on. install.sh provides them, stack.sh uses them.
#
#   POSTGRES_PLACES   where to look for PostgreSQL's server when `initdb` is not on PATH (folders, patterns, by colons)

POSTGRES_MIN=15
NATS_MIN=2.11.0
OPA_MIN=1.22.2 # the compiler's version is part of every compiled policy's key, so an older one never stands in

POSTGRES_PLACES=${POSTGRES_PLACES-/usr/lib/postgresql/*/bin:/usr/pgsql-*/bin:/opt/homebrew/opt/postgresql@*/bin}

# at_least WANTED ACTUAL
at_least() { [[ -n $2 && $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]; }

# The first dotted number that `PROGRAM ARGUMENT` prints.
version_of() { "$1" "$2" 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1; }

# good_enough PROGRAM ARGUMENT WANTED: with SAY_TOO_OLD set, says why a program that is there is passed over.
good_enough() {
  local actual
  [[ -x $1 ]] || return 1
  actual=$(version_of "$1" "$2") || true
  at_least "$3" "$actual" && return
  [[ -z ${SAY_TOO_OLD:-} ]] || say "$1 is ${actual:-of no version it tells}: passed over, $3 or newer is needed"
  return 1
}

# Prints the folder that holds `initdb` and `postgres`: the server, not only the client.
find_postgres() {
  local dir IFS=:
  for dir in "$(dirname "$(readlink -f "$(command -v initdb || echo /nowhere/initdb)")")" \
    $POSTGRES_PLACES "$TOOLS/postgresql/native/bin"; do
    if [[ -x $dir/initdb ]] && good_enough "$dir/postgres" --version "$POSTGRES_MIN"; then
      echo "$dir"
      return
    fi
  done
  return 1
}

# find_program NAME ARGUMENT WANTED: on PATH, else among what install.sh fetched.
find_program() {
  local path
  for path in "$(command -v "$1" || true)" "$TOOLS/bin/$1"; do
    if [[ -n $path ]] && good_enough "$path" "$2" "$3"; then
      echo "$path"
      return
    fi
  done
  return 1
}

find_nats() { find_program nats-server --version "$NATS_MIN"; }
find_opa() { find_program opa version "$OPA_MIN"; }
