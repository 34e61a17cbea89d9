-- The transactional outbox: a change and the message that tells of it commit together. Partitioned by day, so that
-- what has been published is dropped as a whole and never deleted row by row.
CREATE TABLE outbox (
  zone_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  id uuid NOT NULL,
  subject text NOT NULL CHECK (subject <> ''),
  payload bytea NOT NULL,
  traceparent text,
  -- Tells whether the row was visible in a snapshot taken earlier: what a heartbeat promises.
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  claimed_by text,
  claimed_until timestamptz,
  published_at timestamptz,
  CONSTRAINT outbox_pkey PRIMARY KEY (zone_id, created_at, id),
  CONSTRAINT outbox_claim CHECK ((claimed_by IS NULL) = (claimed_until IS NULL))
) PARTITION BY RANGE (created_at);

CREATE TABLE outbox_default PARTITION OF outbox DEFAULT;

CREATE INDEX outbox_id ON outbox (id);
CREATE INDEX outbox_unpublished ON outbox (created_at, id) WHERE published_at IS NULL;

-- Decision events that JetStream did not acknowledge in time; the relay moves them on and deletes them.
CREATE TABLE event_spool (
  zone_id uuid NOT NULL,
  id uuid NOT NULL,
  subject text NOT NULL CHECK (subject <> ''),
  payload bytea NOT NULL,
  traceparent text,
  created_at timestamptz NOT NULL DEFAULT now(),
  claimed_by text,
  claimed_until timestamptz,
  CONSTRAINT event_spool_pkey PRIMARY KEY (zone_id, id),
  CONSTRAINT event_spool_claim CHECK ((claimed_by IS NULL) = (claimed_until IS NULL))
);

CREATE INDEX event_spool_id ON event_spool (id);
CREATE INDEX event_spool_order ON event_spool (created_at, id);

-- Wakes every relay when the transaction commits.
CREATE FUNCTION caracal_wake_relay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('caracal_outbox', '');
  RETURN NULL;
END $$;

CREATE TRIGGER outbox_wakes_relay AFTER INSERT ON outbox
  FOR EACH STATEMENT EXECUTE FUNCTION caracal_wake_relay();
CREATE TRIGGER event_spool_wakes_relay AFTER INSERT ON event_spool
  FOR EACH STATEMENT EXECUTE FUNCTION caracal_wake_relay();

GRANT SELECT, INSERT ON outbox TO caracal_api;
GRANT INSERT ON outbox TO caracal_sts;
GRANT INSERT ON event_spool TO caracal_api, caracal_sts, caracal_gateway;
GRANT SELECT, UPDATE, DELETE ON outbox, event_spool TO caracal_relay;
