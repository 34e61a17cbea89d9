#!/usr/bin/env bash
# The tests of the tooling, or those whose name contains the argument. They need what `make build` builds.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
failed=0
for suite in install stack docs; do
  "$here/$suite.sh" "$@" || failed=1
done
exit $failed
