# shellcheck shell=bash disable=SC2034 # each script uses some of these
# Which stack this is: its folder and its ports.
#
#   CARACAL_DIR   where everything of this stack lies (default: .caracal, or .caracal/$PORT_BASE when that is set)
#   PORT_BASE     the first of ten consecutive ports; without it the services listen where the documentation says.
#                 `auto` picks a free block once and keeps it.

SERVICES=(api sts gateway audit relay)
INFRASTRUCTURE=(postgres nats)

locate_stack() {
  local wanted=${PORT_BASE:-}
  if [[ -z ${CARACAL_DIR:-} ]]; then
    CARACAL_DIR=$ROOT/.caracal
    [[ -z $wanted ]] || CARACAL_DIR=$ROOT/.caracal/$wanted
  elif [[ $CARACAL_DIR != /* ]]; then
    CARACAL_DIR=$ROOT/$CARACAL_DIR
  fi
  RUN=$CARACAL_DIR/run LOG=$CARACAL_DIR/log ENVS=$CARACAL_DIR/env

  PORT_BASE=$wanted
  if [[ -z $wanted || $wanted == auto ]] && [[ -f $CARACAL_DIR/port_base ]]; then
    PORT_BASE=$(cat "$CARACAL_DIR/port_base")
  elif [[ $wanted == auto ]]; then
    PORT_BASE=$(free_block)
  fi
  [[ -z $PORT_BASE ]] || { [[ $PORT_BASE =~ ^[0-9]+$ ]] && ((PORT_BASE >= 1024 && PORT_BASE <= 65526)); } ||
    die "PORT_BASE must be a number from 1024 to 65526 (ten ports are used from there), or 'auto'."
}

# port SERVICE
port() {
  local offset fixed
  case $1 in
    api) offset=0 fixed=3000 ;;
    sts) offset=1 fixed=8080 ;;
    gateway) offset=2 fixed=8081 ;;
    coordinator) offset=3 fixed=4000 ;;
    audit) offset=4 fixed=9090 ;;
    relay) offset=5 fixed=9091 ;;
    postgres) offset=6 fixed=15432 ;; # not 5432 and 4222: the user's own may be there
    nats) offset=7 fixed=14222 ;;
    upstream) offset=8 fixed=18080 ;; # the demo's
    mcp) offset=9 fixed=18081 ;;      # the demo's
    *) die "no such service: $1" ;;
  esac
  if [[ -n $PORT_BASE ]]; then echo $((PORT_BASE + offset)); else echo $fixed; fi
}

url() { echo "http://127.0.0.1:$(port "$1")"; }

port_is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The start of ten ports that nobody listens on now. Below the range the kernel hands out to outgoing connections.
free_block() {
  local base port taken
  while :; do
    base=$((20000 + RANDOM % 1200 * 10)) taken=
    for port in 0 1 2 3 4 5 6 7 8 9; do
      if port_is_taken $((base + port)); then taken=yes; fi
    done
    [[ -n $taken ]] || break
  done
  echo $base
}

# Makes the stack's folders. Others may pass through (PostgreSQL may run as another user), but read nothing.
make_folders() {
  umask 077
  give_up_links
  mkdir -p "$RUN" "$LOG" "$ENVS"
  chmod 711 "$CARACAL_DIR"
  [[ $CARACAL_DIR != "$ROOT/.caracal/"* ]] || chmod 711 "$ROOT/.caracal"
}

# A running stack keeps its ports: half of it would listen elsewhere. To be called under the stack's lock.
keep_ports() {
  local service
  if [[ -f $CARACAL_DIR/port_base && $(cat "$CARACAL_DIR/port_base") != "$PORT_BASE" ]]; then
    for service in "${INFRASTRUCTURE[@]}" "${SERVICES[@]}"; do
      ! pid_of "$service" >/dev/null || die "this stack runs with other ports: stop it first (make down)"
    done
  fi
  echo "$PORT_BASE" >"$CARACAL_DIR/port_base"
}

# A stack of its own PORT_BASE lies in .caracal/$PORT_BASE. While no plain stack runs, .caracal/dev.env, run and log
# point to the newest such stack, so that the documented paths work for whoever runs only one. Of a plain stack that was
# stopped the pid files and logs stay where they are, but what it said of itself does not: nothing of it is there.
offer_links() {
  local name
  [[ $CARACAL_DIR == "$ROOT/.caracal/$PORT_BASE" ]] || return 0
  ! plain_stack_runs || return 0
  for name in dev.env run log; do
    if [[ $name == dev.env || ! -e $ROOT/.caracal/$name || -L $ROOT/.caracal/$name ]]; then
      ln -sfn "$PORT_BASE/$name" "$ROOT/.caracal/$name"
    fi
  done
}

# Whether a stack without a PORT_BASE has left a process that still runs.
plain_stack_runs() {
  local file
  [[ ! -L $ROOT/.caracal/run ]] || return 1
  for file in "$ROOT/.caracal/run"/*.pid; do
    if [[ -f $file ]] && kill -0 "$(cat "$file")" 2>/dev/null; then return 0; fi
  done
  return 1
}

# The plain stack takes its own place back; a stack that goes takes the links to it along.
give_up_links() {
  local name
  for name in dev.env run log; do
    if [[ -L $ROOT/.caracal/$name ]]; then
      case $CARACAL_DIR in
        "$ROOT/.caracal" | "$ROOT/.caracal/$(dirname "$(readlink "$ROOT/.caracal/$name")")") rm -f "$ROOT/.caracal/$name" ;;
      esac
    fi
  done
}
