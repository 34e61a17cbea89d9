-- The negative list: what is refused until the last token that could name it has expired.
CREATE TABLE anchors (
  zone_id uuid NOT NULL REFERENCES zones (id),
  kind text NOT NULL CHECK (kind IN (
    'sid', 'root_sid', 'agent_session_id', 'delegation_edge_id', 'jti', 'kid', 'subject', 'application'
  )),
  value text NOT NULL CHECK (value <> ''),
  epoch bigint NOT NULL,
  expires_at timestamptz NOT NULL,
  changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  CONSTRAINT anchors_pkey PRIMARY KEY (zone_id, kind, value)
);

CREATE INDEX anchors_changed ON anchors (changed_xid);
CREATE INDEX anchors_expiring ON anchors (expires_at);

GRANT SELECT, INSERT, UPDATE ON anchors TO caracal_api, caracal_sts;
GRANT SELECT ON anchors TO caracal_gateway;
