#!/usr/bin/env bash
# Lets schemathesis loose on the control plane: no 5xx, and no answer that /openapi.json does not describe.
#
#   api-fuzz.sh [arguments of `schemathesis run`]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/base.sh
source "$here/lib/base.sh"
# shellcheck source-path=SCRIPTDIR source=lib/stack.sh
source "$here/lib/stack.sh"

readonly VERSION=4.32.5
venv=$ROOT/.caracal/schemathesis-$VERSION
if [[ ! -x $venv/bin/schemathesis ]]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet "schemathesis==$VERSION"
fi

if ! "$here/stack.sh" status >/dev/null; then
  trap '"$here/stack.sh" down' EXIT
fi
"$here/stack.sh" up

locate_stack
set -a
# shellcheck source=/dev/null
source "$CARACAL_DIR/dev.env"
set +a
(($#)) || set -- --max-examples 20
cd "$CARACAL_DIR"
"$venv/bin/schemathesis" run "$CARACAL_API_URL/openapi.json" \
  --header "Authorization: Bearer $CARACAL_ADMIN_TOKEN" \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance \
  --suppress-health-check all --continue-on-failure --no-shrink "$@"
