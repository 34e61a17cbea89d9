# shellcheck shell=bash
# A private nats-server with JetStream, on loopback and behind a password.

start_nats() {
  local program
  program=$(find_nats) || die "no nats-server >= $NATS_MIN: run 'make tools'"
  mkdir -p "$CARACAL_DIR/nats"
  cat >"$CARACAL_DIR/nats/nats.conf" <<-CONF
	listen: "127.0.0.1:$(port nats)"
	authorization { user: caracal, password: "$NATS_PASSWORD" }
	jetstream {
	  store_dir: "$CARACAL_DIR/nats"
	  max_file_store: 4GB
	  max_memory_store: 256MB
	  # JetStream acknowledges before it syncs to disk. What it acknowledged survives a kill -9 of the server (the
	  # kernel has it), but a power cut may lose up to this long; the default is two minutes. A production cluster
	  # keeps three replicas (R3) on separate machines, so that an acknowledgement means a quorum holds the message.
	  sync_interval: "1s"
	}
	CONF
  launch nats "$program" --config "$CARACAL_DIR/nats/nats.conf"
}

# The greeting says whether JetStream is on; clients are let in only after it has recovered its streams.
nats_is_ready() {
  local greeting
  { read -r -t 1 greeting <"/dev/tcp/127.0.0.1/$(port nats)"; } 2>/dev/null && [[ $greeting == *'"jetstream":true'* ]]
}

nats_url() { echo "nats://caracal:$NATS_PASSWORD@127.0.0.1:$(port nats)"; }
