#!/usr/bin/env bash
# The private development stack: everything on loopback, everything it keeps under .caracal/.
#
#   stack.sh up | down | stop SERVICE... | status | restart [SERVICE...] | logs [SERVICE] | infra-up [fast]
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
  keep_ports
  make_secrets
  choose_postgres
  pid_of nats >/dev/null || start_nats
  pid_of postgres >/dev/null || start_postgres "${1:-}"
  await nats nats_is_ready
  await postgres postgres_is_ready
}

# One `make up` or `make down` at a time in each stack (where the system has flock).
lock() {
  exec 9>"$CARACAL_DIR/lock"
  if command -v flock >/dev/null; then flock 9; fi
}

# A service started from a binary that has been rebuilt since is as good as missing.
retire_outdated() {
  local pid
  if pid=$(pid_of "$1") && is_outdated "$pid"; then
    say "$1 runs an older build: replacing it"
    halt "$1"
  fi
}

# Stops everything: our services together, then what they stand on.
down() {
  local service
  if [[ -L $RUN ]]; then
    say "No plain stack is here, only one with PORT_BASE=$(dirname "$(readlink "$RUN")"): say so to stop it."
    return
  fi
  [[ -d $CARACAL_DIR ]] || return 0
  lock
  halt_all "${SERVICES[@]}" "${INFRASTRUCTURE[@]}"
  [[ $CARACAL_DIR == "$ROOT/.caracal" ]] || give_up_links
  rm -f "$CARACAL_DIR/dev.env" # what it names is not there any more
  if is_yes "${CLEAN:-}"; then forget; fi
}

# Stops these alone. All of them together are the stack.
stop() {
  local service running=
  halt_all "$@"
  for service in "${SERVICES[@]}" "${INFRASTRUCTURE[@]}"; do running+=$(pid_of "$service" || true); done
  [[ -n $running ]] || down
}

# halt_all SERVICE...: our services together, then what they stand on.
halt_all() {
  local service wanted=" $* "
  for service in "${SERVICES[@]}"; do
    if [[ $wanted == *" $service "* ]]; then halt "$service" & fi
  done
  wait
  # INT is "fast": PostgreSQL does not wait for clients to leave.
  if [[ $wanted == *" postgres "* ]]; then halt postgres INT; fi
  if [[ $wanted == *" nats "* ]]; then halt nats; fi
}

# Removes what the stack keeps; tools and other stacks under .caracal/ stay.
forget() {
  local name
  forget_postgres
  for name in nats wasm-cache env run log dev.env test.env secrets.env port_base lock; do
    rm -rf "${CARACAL_DIR:?}/$name"
  done
  rmdir "$CARACAL_DIR" 2>/dev/null || true
}

# One line for each service; fails unless all are running.
status() {
  local service pid all=0
  for service in "${INFRASTRUCTURE[@]}" "${SERVICES[@]}"; do
    if pid=$(pid_of "$service"); then
      printf '%-12s running  port %-6s pid %s\n' "$service" "$(port "$service")" "$pid"
    else
      printf '%-12s stopped\n' "$service"
      all=1
    fi
  done
  return $all
}

restart() {
  local service
  for service in "${@:-${SERVICES[@]}}"; do
    if [[ $service == postgres ]]; then halt postgres INT; else halt "$service"; fi
  done
  up
}

logs() {
  if (($#)); then tail -n 100 -F "$LOG/$1.log"; else tail -n 20 -F "$LOG"/*.log; fi
}

# write_env FILE FUNCTION: what FUNCTION prints, for the owner's eyes only, and whole or not at all.
write_env() {
  "$2" >"$CARACAL_DIR/$1.new"
  mv "$CARACAL_DIR/$1.new" "$CARACAL_DIR/$1"
}

stack_env() {
  cat <<-ENV
	CARACAL_API_URL=$(url api)
	CARACAL_STS_URL=$(url sts)
	CARACAL_GATEWAY_URL=$(url gateway)
	CARACAL_AUDIT_URL=$(url audit)
	CARACAL_RELAY_URL=$(url relay)
	CARACAL_ADMIN_TOKEN=$CARACAL_ADMIN_TOKEN
	DATABASE_URL=$(role_url api)
	CARACAL_SUPERUSER_URL=$(superuser_url)
	NATS_URL=$(nats_url)
	CARACAL_DEMO_UPSTREAM_URL=$(url upstream)
	CARACAL_DEMO_UPSTREAM_KEY=$DEMO_UPSTREAM_KEY
	CARACAL_DEMO_MCP_URL=$(url mcp)
	ENV
}

test_env() {
  cat <<-ENV
	CARACAL_SUPERUSER_URL=$(superuser_url)
	NATS_URL=$(nats_url)
	NATS_SERVER_BIN=$(printf '%q' "$(find_nats)")
	OPA_BIN=$(printf '%q' "$(find_opa)")
	ENV
}

case ${1:-} in
  up | down | stop | status | restart | logs) "$@" ;;
  infra-up)
    infra_up "${2:-}"
    write_env test.env test_env
    ;;
  *) die "usage: $0 up | down | stop SERVICE... | status | restart [SERVICE...] | logs [SERVICE] | infra-up [fast]" ;;
esac
