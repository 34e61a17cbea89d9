# shellcheck shell=bash
# A private PostgreSQL: one cluster per stack, TCP on loopback only, passwords by SCRAM, no client programs needed.

# PostgreSQL refuses to run as root. When we are root, $PG_AS runs it as somebody else:
#   1. in a user namespace in which root has another number: no owner changes and any folder will do;
#   2. where namespaces are forbidden (most containers), as `postgres` or `nobody`;
#   3. and if that user cannot reach the stack's folder, with the data in a folder under /var/tmp.
# CARACAL_NO_USERNS=1 skips the first (to try the others).
choose_postgres() {
  POSTGRES=$(find_postgres) || die "no PostgreSQL >= $POSTGRES_MIN: run 'make tools'"
  PG_AS=() PG_OWNER='' PG_HOME=$(cat "$CARACAL_DIR/postgres.elsewhere" 2>/dev/null || echo "$CARACAL_DIR/postgres")
  if [[ $(id -u) -eq 0 ]]; then
    if [[ -z ${CARACAL_NO_USERNS:-} ]] && unshare --user --map-user=1000 --map-group=1000 true 2>/dev/null; then
      PG_AS=(unshare --user --map-user=1000 --map-group=1000) PG_OWNER=root
    else
      choose_postgres_user
    fi
  fi
  PGDATA=$PG_HOME/data
}

choose_postgres_user() {
  local user
  for user in postgres nobody; do
    id "$user" >/dev/null 2>&1 || continue
    PG_AS=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --clear-groups) PG_OWNER=$user
    "${PG_AS[@]}" test -x "$POSTGRES/postgres" || continue
    "${PG_AS[@]}" test -x "$CARACAL_DIR" || PG_HOME=$(home_elsewhere)
    return
  done
  die "PostgreSQL does not run as root, and neither a user namespace nor another user is available here."
}

# Made once, remembered in postgres.elsewhere.
home_elsewhere() {
  local remembered=$CARACAL_DIR/postgres.elsewhere
  [[ -d $(cat "$remembered" 2>/dev/null) ]] || mktemp -d -p /var/tmp caracal.XXXXXX >"$remembered"
  cat "$remembered"
}

forget_postgres() {
  local elsewhere
  if elsewhere=$(cat "$CARACAL_DIR/postgres.elsewhere" 2>/dev/null); then rm -rf "$elsewhere"; fi
  rm -rf "$CARACAL_DIR/postgres" "$CARACAL_DIR/postgres.elsewhere"
}

start_postgres() {
  mkdir -p "$PG_HOME"
  own_cluster
  [[ -f $PGDATA/caracal.conf ]] || create_cluster
  configure_postgres "${1:-}"
  own_cluster
  forget_dead_postmaster
  launch postgres ${PG_AS[@]+"${PG_AS[@]}"} "$POSTGRES/postgres" -D "$PGDATA"
}

# The last step writes caracal.conf: a cluster without it was left half made, and is made again.
create_cluster() {
  rm -rf "$PGDATA"
  echo "$POSTGRES_PASSWORD" >"$PG_HOME/password"
  own_cluster
  in_cluster initdb --pgdata="$PGDATA" --username=postgres --pwfile="$PG_HOME/password" --auth=scram-sha-256 \
    --encoding=UTF8 --no-locale --no-sync >>"$LOG/postgres.log" 2>&1 </dev/null ||
    complain postgres "could not create its cluster"
  rm -f "$PG_HOME/password"
  echo 'CREATE DATABASE caracal' | in_cluster postgres --single -D "$PGDATA" postgres >>"$LOG/postgres.log" 2>&1
  echo "include 'caracal.conf'" >>"$PGDATA/postgresql.conf"
}

# in_cluster PROGRAM ARGUMENT...: runs one of PostgreSQL's own as the cluster's owner.
in_cluster() {
  local program=$1
  shift
  (cd / && ${PG_AS[@]+"${PG_AS[@]}"} "$POSTGRES/$program" "$@")
}

# With `fast`, a crash of the machine loses data: for tests only.
configure_postgres() {
  local connections=200 safety=on
  if [[ $1 == fast ]]; then connections=400 safety=off; fi
  cat >"$PGDATA/caracal.conf" <<-CONF
	listen_addresses = '127.0.0.1'
	port = $(port postgres)
	unix_socket_directories = ''
	max_connections = $connections
	max_locks_per_transaction = 256
	shared_buffers = 64MB
	max_wal_size = 512MB
	fsync = $safety
	synchronous_commit = $safety
	full_page_writes = $safety
	timezone = 'UTC'
	log_timezone = 'UTC'
	CONF
}

own_cluster() {
  if [[ -n $PG_OWNER && -n $(find "$PG_HOME" -maxdepth 2 ! -user "$PG_OWNER" -print -quit) ]]; then
    chown -R "$PG_OWNER" "$PG_HOME"
  fi
}

# After a crash the lock file may name a pid that is somebody else's by now, and PostgreSQL would wait for it for ever.
forget_dead_postmaster() {
  local pid
  pid=$(head -n 1 "$PGDATA/postmaster.pid" 2>/dev/null) || return 0
  is_ours "$pid" postgres || rm -f "$PGDATA/postmaster.pid"
}

# PostgreSQL itself writes when it takes connections; this needs no client program and no password.
postgres_is_ready() { [[ $(sed -n 8p "$PGDATA/postmaster.pid" 2>/dev/null) == ready* ]]; }

superuser_url() { echo "postgres://postgres:$POSTGRES_PASSWORD@127.0.0.1:$(port postgres)/caracal"; }
role_url() { echo "postgres://caracal_$1:$(password_of "$1")@127.0.0.1:$(port postgres)/caracal"; }
