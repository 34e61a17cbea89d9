#!/usr/bin/env bash
# Tries what docker-compose.yml says with native processes (see native.py), on a database and ports of its own.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../dev/lib/base.sh
source "$root/deploy/dev/lib/base.sh"
# shellcheck source-path=SCRIPTDIR source=../dev/lib/pypi.sh
source "$root/deploy/dev/lib/pypi.sh"
# shellcheck source-path=SCRIPTDIR source=../dev/lib/lint.sh
source "$root/deploy/dev/lib/lint.sh"

if ! install_linters; then
  say "SKIPPED: docker-compose.yml with native processes (its YAML reader could not be installed)"
  [[ ${CI:-} != true ]] # there a check that is skipped has failed
  exit
fi
export CARACAL_DIR=$ROOT/.caracal/compose BINARIES
PORT_BASE=auto "$ROOT/deploy/dev/stack.sh" infra-up fast
trap 'CLEAN=1 "$ROOT/deploy/dev/stack.sh" down' EXIT

# Random secrets as a user would make them, but the two passwords of the PostgreSQL and NATS that run already.
set -a
# shellcheck source=/dev/null
source <("$ROOT/deploy/docker/make-env.sh" --print)
# shellcheck source=/dev/null
source <(grep -hE '^(POSTGRES_PASSWORD|NATS_PASSWORD|OPA_BIN)=' "$CARACAL_DIR/secrets.env" "$CARACAL_DIR/test.env")
set +a
PORT_BASE=$(cat "$CARACAL_DIR/port_base") "$LINT/bin/python" "$ROOT/deploy/docker/native.py"
