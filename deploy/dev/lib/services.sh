# shellcheck shell=bash
# Our own services: what each is told, and how each is started.

# The whole environment of one service, as a file to source. Each gets only the secrets it needs.
service_env() {
  cat <<-ENV
	HOST=127.0.0.1
	PORT=$(port "$1")
	LOG_LEVEL=${LOG_LEVEL:-info}
	CARACAL_MODE=dev
	DATABASE_URL=$(role_url "$1")
	NATS_URL=$(nats_url)
	STREAMS_HMAC_KEY=$STREAMS_HMAC_KEY
	ISSUER_URL=$(url sts)
	STS_URL=$(url sts)
	GATEWAY_PUBLIC_URL=$(url gateway)
	ALLOW_PRIVATE_UPSTREAMS=true
	CARACAL_LOCAL_BOOTSTRAP_ENABLED=true
	ENV
  case $1 in
    api)
      echo "ZONE_KEK=$ZONE_KEK"
      echo "CARACAL_ADMIN_TOKEN=$CARACAL_ADMIN_TOKEN"
      printf 'OPA_BIN=%q\n' "$(find_opa || die "no opa >= $OPA_MIN: run 'make tools'")"
      internal sts gateway audit relay nats
      ;;
    sts)
      echo "ZONE_KEK=$ZONE_KEK"
      echo "GATEWAY_STS_KEY=$GATEWAY_STS_KEY"
      printf 'POLICY_CACHE_DIR=%q\n' "$CARACAL_DIR/wasm-cache"
      internal api gateway audit relay
      ;;
    gateway)
      echo "GATEWAY_STS_KEY=$GATEWAY_STS_KEY"
      internal api audit relay
      ;;
  esac
}

# internal SERVICE...: listeners of ours that nothing configured may lead to, beside those a service knows anyway.
internal() {
  local service places=
  for service in "$@"; do places+=${places:+,}127.0.0.1:$(port "$service"); done
  echo "INTERNAL_ADDRESSES=$places"
}

# Settings of the caller (OTEL_EXPORTER_OTLP_ENDPOINT, FEED_MAX_LAG_MS, RUST_BACKTRACE, …) pass through; ours win.
start_service() {
  local program=$BINARIES/caracal-$1
  [[ -x $program ]] || die "$program is not built: run 'make build'"
  service_env "$1" >"$ENVS/$1.env"
  # shellcheck disable=SC2016 # expanded by the inner shell
  launch "$1" env -u ZONE_KEK -u GATEWAY_STS_KEY -u CARACAL_ADMIN_TOKEN \
    bash -c 'set -a && source "$1" && exec "$2"' start "$ENVS/$1.env" "$program"
}

is_ready() { curl -fs --noproxy '*' --max-time 2 -o /dev/null "$(url "$1")/ready"; }

# Brings the schema up to date and gives the services' roles their passwords.
migrate() {
  local service passwords=
  for service in "${SERVICES[@]}"; do
    passwords+=${passwords:+,}caracal_$service=$(password_of "$service")
  done
  [[ -x $BINARIES/caracal-migrate ]] || die "$BINARIES/caracal-migrate is not built: run 'make build'"
  DATABASE_URL=$(superuser_url) CARACAL_ROLE_PASSWORDS=$passwords "$BINARIES/caracal-migrate" \
    >>"$LOG/migrate.log" 2>&1 || complain migrate "failed"
}
