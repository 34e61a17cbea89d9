# shellcheck shell=bash
# Starting, finding and stopping one background process by its pid file.

# Every process we start carries its stack's folder in its environment, so that a pid file left by a crash or a reboot
# never makes us take a stranger's process for ours.
export CARACAL_STACK=$CARACAL_DIR

# Prints the pid of a running service, or fails.
pid_of() {
  local pid
  pid=$(cat "$RUN/$1.pid" 2>/dev/null) && [[ $pid =~ ^[0-9]+$ ]] && is_ours "$pid" "$1" && echo "$pid"
}

is_ours() {
  if [[ -d /proc/self ]]; then
    grep -qzxF "CARACAL_STACK=$CARACAL_DIR" "/proc/$1/environ" 2>/dev/null
  else
    ps -o command= -p "$1" 2>/dev/null | grep -qE "(caracal-$2|$2|$2-server)( |\$)"
  fi
}

# Whether the file a process was started from has been rebuilt since (Linux tells, elsewhere nobody does).
is_outdated() { [[ $(readlink "/proc/$1/exe" 2>/dev/null) == *' (deleted)' ]]; }

# launch SERVICE COMMAND...: in a session of its own, logging to log/SERVICE.log.
launch() {
  local service=$1 detach=()
  shift
  if port_is_taken "$(port "$service")"; then
    die "$service: port $(port "$service") is taken by another program. Stop that, or choose other ports: PORT_BASE=20000 make up"
  fi
  command -v setsid >/dev/null && detach=(setsid)
  (
    cd "$CARACAL_DIR" || exit
    exec ${detach[@]+"${detach[@]}"} "$@" >>"$LOG/$service.log" 2>&1 </dev/null 9>&-
  ) &
  echo $! >"$RUN/$service.pid"
}

# await SERVICE TEST...: polls until TEST succeeds; shows the log if the process dies or takes too long.
await() {
  local service=$1 pid deadline=$((SECONDS + ${START_TIMEOUT:-30}))
  shift
  pid=$(cat "$RUN/$service.pid")
  until "$@"; do
    if ! kill -0 "$pid" 2>/dev/null; then complain "$service" "stopped while starting"; fi
    if ((SECONDS > deadline)); then complain "$service" "is not ready after ${START_TIMEOUT:-30} s"; fi
    sleep 0.05
  done
}

complain() {
  say "$1 $2. The end of $LOG/$1.log:"
  tail -n 20 "$LOG/$1.log" >&2
  exit 1
}

# halt SERVICE [SIGNAL]: asks, waits up to ten seconds, then kills.
halt() {
  local pid deadline=$((SECONDS + 10))
  if pid=$(pid_of "$1"); then
    kill -s "${2:-TERM}" "$pid" 2>/dev/null || true
    while is_ours "$pid" "$1"; do
      if ((SECONDS > deadline)); then
        say "$1 did not stop within 10 s: killing it"
        kill -s KILL "$pid" 2>/dev/null || true
        deadline=$((SECONDS + 10))
      fi
      sleep 0.05
    done
  fi
  rm -f "$RUN/$1.pid"
}
