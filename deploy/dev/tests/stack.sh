#!/usr/bin/env bash
# What `make up` and `make down` promise (docs/operations.md, "The development stack"), on checkouts of their own: a
# copy of the scripts in a scratch folder, with the binaries that are built already. Most tests share one stack, in the
# order they are written; each leaves it running.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=harness.sh
source "$(dirname "$0")/harness.sh"
# shellcheck source-path=SCRIPTDIR source=../lib/stack.sh
source "$here/lib/stack.sh"
# shellcheck source-path=SCRIPTDIR source=../lib/tools.sh
source "$here/lib/tools.sh"

unset CARACAL_DIR PORT_BASE CLEAN
export CARACAL_BIN=$BINARIES CARACAL_TOOLS=$TOOLS

SUITE=$(mktemp -d)
FIRST=$SUITE/first
FIRST_BASE=$(free_block)
trap 'stop_all "$SUITE"; rm -rf "$SUITE"' EXIT

# checkout FOLDER
checkout() {
  mkdir -p "$1/deploy"
  cp -R "$here" "$1/deploy/dev"
}

# stop_all FOLDER: every stack in the checkouts below it.
stop_all() {
  local pid
  for pid in $(processes_below "$1"); do kill -KILL "$pid" 2>/dev/null || true; done
}

# The processes of all stacks whose folder lies below $1.
processes_below() {
  local environ
  for environ in /proc/[0-9]*/environ; do
    if grep -qz "^CARACAL_STACK=$1/" "$environ" 2>/dev/null; then basename "$(dirname "$environ")"; fi
  done
}

# What they run.
programs_below() {
  local pid
  for pid in $(processes_below "$1"); do readlink "/proc/$pid/exe" || true; done
}

first() { PORT_BASE=$FIRST_BASE "$FIRST/deploy/dev/stack.sh" "$@"; }
pid() { cat "$FIRST/.caracal/$FIRST_BASE/run/$1.pid"; }
everything() { printf '%s\n' "${SERVICES[@]}" "${INFRASTRUCTURE[@]}"; }
pids() { for service in $(everything); do echo "$service $(pid "$service")"; done; }
ready() { curl -fsS --noproxy '*' --max-time 5 -o /dev/null "http://127.0.0.1:$1/ready"; }

# admin ENV_FILE PATH [CURL ARGUMENT...]: the control plane of a stack.
admin() {
  local file=$1 path=$2
  shift 2
  (
    # shellcheck source=/dev/null
    source "$file"
    curl -fsS --noproxy '*' -H "Authorization: Bearer $CARACAL_ADMIN_TOKEN" -H 'Content-Type: application/json' \
      "$@" "$CARACAL_API_URL$path"
  )
}

first_env() { echo "$FIRST/.caracal/$FIRST_BASE/dev.env"; }

test_up_returns_when_every_service_is_ready() {
  checkout "$FIRST"
  first up
  local service
  for service in "${SERVICES[@]}"; do PORT_BASE=$FIRST_BASE && ready "$(port "$service")"; done
  first status >"$SCRATCH/status"
  same "$(everything | wc -l)" "$(grep -c running "$SCRATCH/status")" "running services"
}

test_dev_env_names_where_everything_is_and_is_for_its_owner_only() {
  local name names=(CARACAL_API_URL CARACAL_STS_URL CARACAL_GATEWAY_URL CARACAL_AUDIT_URL CARACAL_ADMIN_TOKEN
    DATABASE_URL CARACAL_SUPERUSER_URL NATS_URL)
  [[ " ${SERVICES[*]} " != *" coordinator "* ]] || names+=(CARACAL_COORDINATOR_URL)
  for name in "${names[@]}"; do
    # shellcheck disable=SC1090
    (unset "$name" && source "$(first_env)" && [[ -n ${!name:-} ]]) || fail "dev.env does not set $name"
  done
  same 600 "$(stat -c %a "$(first_env)")" "dev.env's mode"
  says "$(first_env)" "CARACAL_API_URL=http://127.0.0.1:$FIRST_BASE"
  says "$(first_env)" "CARACAL_GATEWAY_URL=http://127.0.0.1:$((FIRST_BASE + 2))"
}

test_the_only_stack_is_also_found_at_the_documented_paths() {
  cmp "$FIRST/.caracal/dev.env" "$(first_env)"
  same "$(pid sts)" "$(cat "$FIRST/.caracal/run/sts.pid")" "the pid file"
  [[ -s $FIRST/.caracal/log/sts.log ]] || fail "no log"
}

test_each_service_has_a_pid_file_and_a_log() {
  local service
  for service in $(everything); do
    kill -0 "$(pid "$service")" || fail "$service's pid file names no process"
    [[ -s $FIRST/.caracal/$FIRST_BASE/log/$service.log ]] || fail "$service has no log"
  done
}

test_private_upstreams_are_allowed_and_local_bootstrap_is_on() {
  admin "$(first_env)" /v1/local/bootstrap -d '{}' >"$SCRATCH/answer"
  says "$SCRATCH/answer" '"zone'
  says "$FIRST/.caracal/$FIRST_BASE/env/gateway.env" ALLOW_PRIVATE_UPSTREAMS=true
}

test_up_called_again_changes_nothing() {
  pids >"$SCRATCH/before"
  first up
  pids >"$SCRATCH/after"
  cmp "$SCRATCH/before" "$SCRATCH/after"
}

test_two_ups_at_once_start_one_stack() {
  pids >"$SCRATCH/before"
  kill -KILL "$(pid sts)"
  first up &
  first up
  wait $!
  same "$(everything | wc -l)" "$(processes_below "$FIRST" | grep -cFxf <(pids | cut -d ' ' -f 2))" "the pid files' processes"
  same 1 "$(programs_below "$FIRST" | grep -c '/caracal-sts$')" "processes of the STS"
}

test_up_starts_only_what_was_killed() {
  local relay api
  relay=$(pid relay) api=$(pid api)
  kill -KILL "$(pid sts)" "$(pid gateway)"
  refuses "$SCRATCH/status" first status
  says "$SCRATCH/status" "gateway      stopped"
  first up
  ready $((FIRST_BASE + 1)) && ready $((FIRST_BASE + 2))
  same "$relay $api" "$(pid relay) $(pid api)" "the others go on"
}

test_up_brings_back_a_postgresql_and_a_nats_that_were_killed() {
  kill -KILL "$(pid postgres)" "$(pid nats)"
  sleep 0.2
  first up
  admin "$(first_env)" /v1/zones >/dev/null
}

test_a_pid_file_that_names_a_strangers_process_is_not_believed() {
  sleep 60 &
  local stranger=$!
  kill -KILL "$(pid audit)"
  echo "$stranger" >"$FIRST/.caracal/$FIRST_BASE/run/audit.pid"
  first restart audit
  kill -0 "$stranger" || fail "a stranger's process was stopped"
  kill "$stranger"
  ready $((FIRST_BASE + 4))
}

test_two_stacks_run_side_by_side_and_share_nothing() {
  local second=$SCRATCH/second base name=only-in-the-second-stack
  checkout "$second"
  base=$(free_block)
  trap 'stop_all "$SCRATCH"' EXIT
  PORT_BASE=$base "$second/deploy/dev/stack.sh" up
  ready $((FIRST_BASE + 1)) && ready $((base + 1))
  admin "$second/.caracal/dev.env" /v1/zones -d "{\"name\":\"$name\"}" >/dev/null
  admin "$second/.caracal/dev.env" /v1/zones >"$SCRATCH/zones"
  says "$SCRATCH/zones" "$name"
  admin "$(first_env)" /v1/zones >"$SCRATCH/zones"
  says_not "$SCRATCH/zones" "$name"
  ! cmp -s "$second/.caracal/$base/secrets.env" "$FIRST/.caracal/$FIRST_BASE/secrets.env" || fail "one set of secrets"
  PORT_BASE=$base "$second/deploy/dev/stack.sh" down
  ready $((FIRST_BASE + 1)) || fail "stopping the second stopped the first"
}

test_two_stacks_of_one_checkout_lie_in_folders_of_their_own() {
  base=$(free_block) # not local: the trap outlives this function
  trap 'PORT_BASE=$base CLEAN=1 "$FIRST/deploy/dev/stack.sh" down' EXIT
  PORT_BASE=$base "$FIRST/deploy/dev/stack.sh" infra-up fast
  [[ -s $FIRST/.caracal/$base/run/nats.pid ]] || fail "no folder of its own"
  [[ $(cat "$FIRST/.caracal/$base/run/nats.pid") != "$(pid nats)" ]] || fail "one NATS for both"
}

test_a_stacks_folder_may_lie_outside_the_checkout() {
  checkout "$SCRATCH/checkout"
  trap 'stop_all "$SCRATCH"' EXIT
  export CARACAL_DIR=$SCRATCH/elsewhere
  PORT_BASE=auto "$SCRATCH/checkout/deploy/dev/stack.sh" infra-up fast
  [[ ! -e $SCRATCH/checkout/.caracal && -s $CARACAL_DIR/run/nats.pid ]] || fail "it lies in the checkout"
  CLEAN=1 "$SCRATCH/checkout/deploy/dev/stack.sh" down
  [[ ! -e $CARACAL_DIR ]] || fail "left: $(ls -A "$CARACAL_DIR")"
}

test_a_port_that_is_taken_is_told_with_what_to_do() {
  local second=$SCRATCH/second
  checkout "$second"
  trap 'stop_all "$SCRATCH"' EXIT
  refuses "$SCRATCH/said" env PORT_BASE="$FIRST_BASE" "$second/deploy/dev/stack.sh" up
  says "$SCRATCH/said" "is taken by another program. Stop that, or choose other ports: PORT_BASE=20000 make up"
}

test_a_port_base_that_is_none_is_refused() {
  local wrong
  for wrong in twenty -1 80 65530 70000; do
    refuses "$SCRATCH/said" env PORT_BASE="$wrong" "$FIRST/deploy/dev/stack.sh" up
    says "$SCRATCH/said" "PORT_BASE must be a number from 1024 to 65526"
  done
}

test_a_service_that_cannot_start_shows_the_end_of_its_log() {
  kill -KILL "$(pid sts)"
  # A caller's setting passes through to the services, so a wrong one makes the STS stop.
  refuses "$SCRATCH/said" env FEED_MAX_LAG_MS=soon PORT_BASE="$FIRST_BASE" "$FIRST/deploy/dev/stack.sh" up
  says "$SCRATCH/said" "sts stopped while starting. The end of"
  says "$SCRATCH/said" FEED_MAX_LAG_MS
  first up
}

test_down_stops_everything_and_keeps_the_data() {
  admin "$(first_env)" /v1/zones -d '{"name":"outlives-a-stop"}' >/dev/null
  first down
  same "" "$(processes_below "$FIRST")" "processes left"
  [[ ! -e $FIRST/.caracal/dev.env ]] || fail "the documented paths still lead to a stopped stack"
  refuses "$SCRATCH/status" first status
  first up
  admin "$(first_env)" /v1/zones >"$SCRATCH/zones"
  says "$SCRATCH/zones" outlives-a-stop
}

test_down_clean_forgets_the_data() {
  CLEAN=1 first down
  same "" "$(processes_below "$FIRST")" "processes left"
  [[ ! -e $FIRST/.caracal/$FIRST_BASE ]] || fail "left: $(ls -A "$FIRST/.caracal/$FIRST_BASE")"
}

test_a_switch_that_is_off_is_off() {
  local on off
  for off in "" 0 no off false; do ! is_yes "$off" || fail "CLEAN=$off forgets"; done
  for on in 1 yes true; do is_yes "$on" || fail "CLEAN=$on does not"; done
  checkout "$SCRATCH/off"
  mkdir -p "$SCRATCH/off/.caracal/20000/nats"
  PORT_BASE=20000 CLEAN=0 "$SCRATCH/off/deploy/dev/stack.sh" down
  [[ -d $SCRATCH/off/.caracal/20000/nats ]] || fail "CLEAN=0 forgot the data"
  PORT_BASE=20000 CLEAN=1 "$SCRATCH/off/deploy/dev/stack.sh" down
  [[ ! -e $SCRATCH/off/.caracal/20000 ]] || fail "CLEAN=1 did not"
}

test_a_checkout_whose_path_has_spaces_runs_a_stack() {
  local folder="$SCRATCH/a check out"
  checkout "$folder"
  trap 'stop_all "$SCRATCH"' EXIT
  PORT_BASE=auto "$folder/deploy/dev/stack.sh" up
  # shellcheck source=/dev/null
  source "$folder/.caracal/auto/dev.env"
  curl -fsS --noproxy '*' -o /dev/null "$CARACAL_API_URL/ready"
  PORT_BASE=auto CLEAN=1 "$folder/deploy/dev/stack.sh" down
  same "" "$(processes_below "$folder")" "processes left"
}

test_what_a_stopped_stack_said_of_itself_is_gone_and_the_next_one_takes_its_place() {
  local folder=$SCRATCH/next
  checkout "$folder"
  mkdir -p "$folder/.caracal/run" "$folder/.caracal/log"
  echo CARACAL_API_URL=http://stale >"$folder/.caracal/dev.env"
  trap 'stop_all "$SCRATCH"' EXIT
  base=$(free_block)
  PORT_BASE=$base "$folder/deploy/dev/stack.sh" up
  says "$folder/.caracal/dev.env" "http://127.0.0.1:$base"
  PORT_BASE=$base "$folder/deploy/dev/stack.sh" stop sts gateway
  refuses "$SCRATCH/status" env PORT_BASE="$base" "$folder/deploy/dev/stack.sh" status
  says "$SCRATCH/status" "api          running"
  PORT_BASE=$base "$folder/deploy/dev/stack.sh" down
  [[ ! -e $folder/.caracal/dev.env && ! -e $folder/.caracal/$base/dev.env ]] || fail "it says that it is still there"
}

test_a_figure_over_its_bound_fails_in_ci_and_is_only_told_elsewhere() {
  # shellcheck disable=SC2016 # the inner shell expands it
  local script='source "$1/lib/base.sh"; source "$1/lib/figures.sh"; figure kept 4 5 s; figure "make up" 6 5 s; figure unknown "" 5 s; keep_bounds'
  CI='' bash -euc "$script" figures "$here" >"$SCRATCH/said" 2>&1
  says "$SCRATCH/said" "OVER ITS BOUND"
  refuses "$SCRATCH/said" env CI=true bash -euc "$script" figures "$here"
  says "$SCRATCH/said" "over its bound (CI=true): make up"
}

test_down_of_a_stack_that_never_was_is_fine() {
  checkout "$SCRATCH/never"
  PORT_BASE=$(free_block) "$SCRATCH/never/deploy/dev/stack.sh" down
}

as_root() { [[ $(id -u) -eq 0 ]] || ignore "it needs root"; }

# A checkout that only its owner can reach.
hidden_stack() {
  checkout "$SCRATCH/hidden/checkout"
  chmod 700 "$SCRATCH/hidden"
  trap 'stop_all "$SCRATCH"' EXIT
  PORT_BASE=auto "$SCRATCH/hidden/checkout/deploy/dev/stack.sh" "$@"
}

test_root_runs_postgresql_in_a_user_namespace_even_below_a_folder_of_mode_0700() {
  as_root
  unshare --user --map-user=1000 --map-group=1000 true 2>/dev/null || ignore "user namespaces are forbidden here"
  hidden_stack up
  [[ -d $SCRATCH/hidden/checkout/.caracal/auto/postgres/data ]] || fail "the data lies elsewhere"
  hidden_stack down
}

test_root_without_user_namespaces_runs_postgresql_as_another_user_with_its_data_elsewhere() {
  as_root
  export CARACAL_NO_USERNS=1
  hidden_stack up
  local dir=$SCRATCH/hidden/checkout/.caracal/auto elsewhere
  elsewhere=$(cat "$dir/postgres.elsewhere")
  [[ -d $elsewhere/data ]] || fail "no data in '$elsewhere'"
  [[ $(stat -c %U "/proc/$(cat "$dir/run/postgres.pid")") != root ]] || fail "PostgreSQL runs as root"
  CLEAN=1 hidden_stack down
  [[ ! -e $elsewhere ]] || fail "$elsewhere was not forgotten"
}

# Someone with a checkout of his own and no rights anywhere else.
test_a_user_who_is_not_root_runs_the_whole_stack() {
  as_root
  local nobody=(setpriv --reuid=nobody "--regid=$(id -g nobody)" --clear-groups) folder=$SCRATCH/theirs program
  checkout "$folder/checkout"
  mkdir -p "$folder/built" "$folder/tools/bin"
  cp "$BINARIES"/caracal-{migrate,api,sts,gateway,audit,relay} "$folder/built"
  [[ ! -x $BINARIES/caracal-coordinator ]] || cp "$BINARIES/caracal-coordinator" "$folder/built"
  for program in "$(find_nats)" "$(find_opa)"; do cp "$program" "$folder/tools/bin"; done
  if [[ $(find_postgres) == "$TOOLS"/* ]]; then cp -R "$TOOLS/postgresql" "$folder/tools"; fi
  chown -R nobody "$folder" && chmod 711 "$SCRATCH" && chmod 700 "$folder"
  trap 'stop_all "$SCRATCH"' EXIT
  theirs() {
    (cd "$folder" && env HOME="$folder" CARACAL_BIN="$folder/built" CARACAL_TOOLS="$folder/tools" PORT_BASE=auto \
      "${nobody[@]}" "$folder/checkout/deploy/dev/stack.sh" "$@")
  }
  theirs up
  theirs status | grep -c running
  same nobody "$(processes_below "$SCRATCH" | sed 's#^#/proc/#' | xargs stat -c %U | sort -u)" "whose processes they are"
  CLEAN=1 theirs down
  same "" "$(processes_below "$SCRATCH")" "processes left"
}

run_tests "$@"
