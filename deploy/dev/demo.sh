#!/usr/bin/env bash
# Runs one of caracal-demo's subcommands against the stack, and leaves the stack as it found it.
#
#   demo.sh story | bench
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/base.sh
source "$here/lib/base.sh"
# shellcheck source-path=SCRIPTDIR source=lib/stack.sh
source "$here/lib/stack.sh"

if ! "$here/stack.sh" status >/dev/null; then
  trap '"$here/stack.sh" down' EXIT
fi
"$here/stack.sh" up

locate_stack
set -a
# shellcheck source=/dev/null
source "$CARACAL_DIR/dev.env"
set +a
export CARACAL_DIR
"$BINARIES/caracal-demo" "$@"
