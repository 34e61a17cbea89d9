-- The ledger: per zone a hash chain in order of `seq`. Partitioned by month of ingestion, not of occurrence, so that a
-- partition holds a contiguous stretch of every chain and retention cuts only a prefix. Rows are only ever added:
-- no service may update, delete or truncate.
CREATE TABLE audit_heads (
  zone_id uuid NOT NULL,
  seq bigint NOT NULL DEFAULT 0 CHECK (seq >= 0),
  hash bytea CHECK (octet_length(hash) = 32),
  CONSTRAINT audit_heads_pkey PRIMARY KEY (zone_id),
  CONSTRAINT audit_heads_zone FOREIGN KEY (zone_id) REFERENCES zones (id),
  CONSTRAINT audit_heads_genesis CHECK ((seq = 0) = (hash IS NULL))
);

-- Keeps ids and sequence numbers unique across partitions, which the partitioned table itself cannot.
CREATE TABLE audit_event_ids (
  zone_id uuid NOT NULL,
  id uuid NOT NULL,
  seq bigint NOT NULL CHECK (seq > 0),
  CONSTRAINT audit_event_ids_pkey PRIMARY KEY (zone_id, id),
  CONSTRAINT audit_event_ids_seq UNIQUE (zone_id, seq)
);

CREATE TABLE audit_events (
  zone_id uuid NOT NULL,
  seq bigint NOT NULL CHECK (seq > 0),
  id uuid NOT NULL,
  event_type text NOT NULL CHECK (event_type <> ''),
  request_id text NOT NULL,
  decision text NOT NULL CHECK (decision IN ('allow', 'deny', 'partial')),
  evaluation_status text NOT NULL,
  reason text,
  policy_set_id uuid,
  policy_set_version_id uuid,
  manifest_sha text,
  determining_policies_json jsonb NOT NULL,
  diagnostics_json jsonb NOT NULL,
  metadata_json jsonb NOT NULL,
  -- Drawn from the metadata for filters.
  application_id uuid,
  session_id uuid,
  agent_session_id uuid,
  resource text,
  labels text[] NOT NULL DEFAULT '{}',
  occurred_at timestamptz NOT NULL,
  ingested_at timestamptz NOT NULL DEFAULT now(),
  -- The bytes that were hashed, as they were hashed.
  canonical bytea NOT NULL,
  previous_hash bytea NOT NULL CHECK (octet_length(previous_hash) = 32),
  hash bytea NOT NULL CHECK (octet_length(hash) = 32),
  CONSTRAINT audit_events_pkey PRIMARY KEY (zone_id, seq, ingested_at)
) PARTITION BY RANGE (ingested_at);

CREATE TABLE audit_events_default PARTITION OF audit_events DEFAULT;

CREATE INDEX audit_events_listed ON audit_events (zone_id, occurred_at DESC, id DESC);
CREATE INDEX audit_events_request ON audit_events (zone_id, request_id);

-- What could not be parsed or trusted. It has no zone it could be trusted to belong to.
CREATE TABLE audit_dead_letters (
  id uuid NOT NULL,
  subject text NOT NULL,
  message_id text,
  stream text NOT NULL,
  stream_sequence bigint NOT NULL,
  reason text NOT NULL CHECK (reason <> ''),
  payload bytea NOT NULL,
  received_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT audit_dead_letters_pkey PRIMARY KEY (id),
  -- A redelivery is the same letter.
  CONSTRAINT audit_dead_letters_once UNIQUE (stream, stream_sequence)
);

GRANT SELECT, INSERT ON audit_events, audit_event_ids, audit_dead_letters TO caracal_audit;
GRANT SELECT, INSERT, UPDATE ON audit_heads TO caracal_audit;
GRANT SELECT ON audit_events, audit_event_ids, audit_heads, audit_dead_letters TO caracal_api;
