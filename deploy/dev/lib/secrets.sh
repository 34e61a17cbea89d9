# shellcheck shell=bash
# The stack's secrets: made once, kept in secrets.env (mode 0600), never on a command line.

random_hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# secret NAME VALUE: remembers VALUE unless NAME is known already.
secret() {
  if ! grep -q "^$1=" "$CARACAL_DIR/secrets.env"; then
    echo "$1=$2" >>"$CARACAL_DIR/secrets.env"
  fi
}

make_secrets() {
  local service
  touch "$CARACAL_DIR/secrets.env"
  secret ZONE_KEK "$(random_hex 32)"
  secret STREAMS_HMAC_KEY "$(random_hex 32)"
  secret GATEWAY_STS_KEY "$(random_hex 32)"
  secret CARACAL_ADMIN_TOKEN "cadm_$(random_hex 24)"
  secret DEMO_UPSTREAM_KEY "$(random_hex 24)"
  secret NATS_PASSWORD "$(random_hex 16)"
  secret POSTGRES_PASSWORD "$(random_hex 16)"
  for service in "${SERVICES[@]}"; do
    secret "PASSWORD_$service" "$(random_hex 16)"
  done
  # shellcheck source=/dev/null
  source "$CARACAL_DIR/secrets.env"
}

# The name and the password of a service's own database role.
password_of() {
  local name=PASSWORD_$1
  echo "${!name}"
}
