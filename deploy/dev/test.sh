#!/usr/bin/env bash
# Every test, against a PostgreSQL of its own (made for this run, with fsync off) and real NATS servers.
# Arguments go to `cargo test`: test.sh -p caracal-sts revoked. Without any, the tooling and the containers are tested too.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/base.sh
source "$here/lib/base.sh"
cd "$ROOT"

infrastructure() { CARACAL_DIR=$ROOT/.caracal/test PORT_BASE=auto CLEAN=1 "$here/stack.sh" "$@"; }

# One compilation for all: the tests start the very binaries that are built beside them.
cargo build --workspace --bins --tests --profile "$PROFILE"

# All of it: also what docker-compose.yml would start, these scripts themselves, clients that others wrote, and a few
# seconds of each fuzz target.
failed=()
if (($# == 0)); then
  "$ROOT/deploy/docker/native.sh" || failed+=(docker-compose.yml)
  "$here/tests/run.sh" || failed+=("the tooling")
  "$ROOT/deploy/clients/test.sh" || failed+=("docs/clients.md")
  "$here/api-fuzz.sh" || failed+=("/openapi.json")
  "$here/fuzz.sh" 5 || failed+=("the fuzz targets")
fi

trap 'infrastructure down' EXIT
infrastructure infra-up fast
set -a
# shellcheck source=/dev/null
source "$ROOT/.caracal/test/test.env"
CARACAL_BIN=$BINARIES
set +a

(($#)) || set -- --workspace
cargo test --no-fail-fast --profile "$PROFILE" "$@" || failed+=("cargo test")
((${#failed[@]} == 0)) || die "failed: ${failed[*]}"
