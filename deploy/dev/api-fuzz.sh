#!/usr/bin/env bash
# Lets schemathesis loose on the control plane of a stack of its own: no 5xx, and no answer that /openapi.json does not
# describe. Most requests name objects that are there (api-fuzz/hooks.py). Where PyPI is out of reach it says so and does
# nothing, except in CI.
#
#   api-fuzz.sh [arguments of `schemathesis run`]      without any: as `make test` has it, for a minute or so
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/base.sh
source "$here/lib/base.sh"
# shellcheck source-path=SCRIPTDIR source=lib/pypi.sh
source "$here/lib/pypi.sh"

readonly VERSION=4.32.5
venv=$ROOT/.caracal/schemathesis-$VERSION
readonly VALIDATOR=0.9.0
if ! install_from_pypi "$venv" "schemathesis==$VERSION" "openapi-spec-validator==$VALIDATOR"; then
  [[ ${CI:-} != true ]] || die "schemathesis could not be installed"
  say "SKIPPED: property-based tests of the control plane (schemathesis could not be installed)"
  exit
fi

export CARACAL_DIR=$ROOT/.caracal/fuzz-stack PORT_BASE=${PORT_BASE:-auto}
# What failed is explained before the stack is gone.
finish() {
  local status=$?
  ((status == 0)) || grep -h '"ERROR"' "$CARACAL_DIR"/log/*.log >&2 || true
  CLEAN=1 "$here/stack.sh" down
  exit "$status"
}
trap finish EXIT
"$here/stack.sh" up
set -a
# shellcheck source=/dev/null
source "$CARACAL_DIR/dev.env"
set +a
(($#)) || set -- --max-examples 12 --phases examples,coverage,fuzzing --seed 1
cd "$CARACAL_DIR"
curl -fsS "$CARACAL_API_URL/openapi.json" -o openapi.json
"$venv/bin/openapi-spec-validator" --schema 3.1 openapi.json
# A tail has no end to wait for.
PYTHONPATH=$here/api-fuzz SCHEMATHESIS_HOOKS=hooks "$venv/bin/schemathesis" run "$CARACAL_API_URL/openapi.json" \
  --header "Authorization: Bearer $CARACAL_ADMIN_TOKEN" \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance \
  --exclude-path-regex '/audit/tail$' --workers 1 --request-timeout 20 \
  --suppress-health-check all --continue-on-failure --no-shrink --warnings off "$@"
