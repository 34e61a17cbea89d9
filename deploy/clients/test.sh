#!/usr/bin/env bash
# Runs every program of docs/clients.md and docs/ledger.md with the published libraries it names, unmodified, against a stack of its own.
# Where PyPI or npm is out of reach it says so and runs nothing; in CI (CI=true) that is a failure.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../dev/lib/base.sh
source "$here/../dev/lib/base.sh"

FOLDER=$TOOLS/clients
GOJQ_PIN=v0.12.17

main() {
  mkdir -p "$FOLDER/js" "$FOLDER/bin"
  export PATH=$PATH:$FOLDER/bin
  if ! install_python || ! install_javascript || ! install_jq; then
    [[ ${CI:-} != true ]] || die "the libraries of docs/clients.md could not be installed"
    say "SKIPPED: docs/clients.md with third-party clients (their libraries could not be installed)"
    return
  fi
  export CARACAL_DIR=$ROOT/.caracal/clients-stack PORT_BASE=auto
  trap stop EXIT
  "$here/../dev/stack.sh" up
  set -a
  # shellcheck source=/dev/null
  source "$CARACAL_DIR/dev.env"
  set +a
  start_upstream
  # shellcheck source=/dev/null
  source <("$FOLDER/py/bin/python" "$here/prepare.py" "$CARACAL_DEMO_UPSTREAM_URL" "$CARACAL_DEMO_UPSTREAM_KEY")
  "$FOLDER/py/bin/python" "$here/run.py" "$FOLDER" "$ROOT"/docs/{clients,ledger}.md
}

# installed NAME FILE...: whether what these files ask for is there; keeps a copy of them to know.
installed() { cmp --silent "$FOLDER/$1.installed" <(cat "${@:2}"); }

install_python() {
  installed py "$here/requirements.txt" && return
  say "installing $(xargs <"$here/requirements.txt") into .caracal/clients"
  python3 -m venv "$FOLDER/py" && "$FOLDER/py/bin/pip" install --quiet --requirement "$here/requirements.txt" &&
    cp "$here/requirements.txt" "$FOLDER/py.installed"
}

install_javascript() {
  installed js "$here/package.json" && return
  say "installing the packages of deploy/clients/package.json into .caracal/clients"
  cp "$here/package.json" "$FOLDER/js/" && npm --prefix "$FOLDER/js" install --no-fund --no-audit --silent &&
    cp "$here/package.json" "$FOLDER/js.installed"
}

# The documentation's shell lines read JSON with jq; gojq is the same language, and Go can build it.
install_jq() {
  command -v jq >/dev/null && return
  say "installing gojq into .caracal/clients"
  GOBIN=$FOLDER/bin go install "github.com/itchyny/gojq/cmd/gojq@$GOJQ_PIN" && ln -sf gojq "$FOLDER/bin/jq"
}

start_upstream() {
  "$BINARIES/caracal-demo" upstream --port "${CARACAL_DEMO_UPSTREAM_URL##*:}" --key "$CARACAL_DEMO_UPSTREAM_KEY" \
    >"$CARACAL_DIR/log/upstream.log" 2>&1 </dev/null &
  UPSTREAM=$!
}

stop() {
  [[ -z ${UPSTREAM:-} ]] || kill "$UPSTREAM"
  CLEAN=1 "$here/../dev/stack.sh" down
}

main
