#!/usr/bin/env bash
# The private development stack: everything on loopback, everything it keeps under .caracal/.
#
#   stack.sh up | down | status | restart [SERVICE...] | logs [SERVICE] | infra-up [fast]
#
# See lib/stack.sh for CARACAL_DIR and PORT_BASE.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib/base.sh
source "$here/lib/base.sh"
# shellcheck source-path=SCRIPTDIR source=lib/tools.sh
source "$here/lib/tools.sh"
# shellcheck source-path=SCRIPTDIR source=lib/stack.sh
source "$here/lib/stack.sh"
locate_stack
# shellcheck source-path=SCRIPTDIR source=lib/process.sh
source "$here/lib/process.sh"
# shellcheck source-path=SCRIPTDIR source=lib/secrets.sh
source "$here/lib/secrets.sh"
# shellcheck source-path=SCRIPTDIR source=lib/postgres.sh
source "$here/lib/postgres.sh"
# shellcheck source-path=SCRIPTDIR source=lib/nats.sh
source "$here/lib/nats.sh"
# shellcheck source-path=SCRIPTDIR source=lib/services.sh
source "$here/lib/services.sh"

# Starts what is missing, and returns when all of it is ready.
up() {
  local service started=()
  infra_up
  for service in "${SERVICES[@]}"; do
    retire_outdated "$service"
    pid_of "$service" >/dev/null || started+=("$service")
  done
  if ((${#started[@]})); then
    migrate
    for service in "${started[@]}"; do start_service "$service"; done
  fi
  for service in "${SERVICES[@]}"; do await "$service" is_ready "$service"; done
  write_env dev.env stack_env
  offer_links
  say "The stack is up. API $(url api), STS $(url sts), gateway $(url gateway); for your shell: source ${CARACAL_DIR#"$ROOT"/}/dev.env"
}

# Starts PostgreSQL and NATS alone: all that the tests need.
infra_up() {
  make_folders
  lock
  make_secrets
  pid_of nats >/dev/null || start_nats
  pid_of postgres >/dev/null || start_postgres "${1:-}"
  PGDATA=${PGDATA:-$(postgres_data)}
  await nats nats_is_ready
  await postgres postgres_is_ready
}
