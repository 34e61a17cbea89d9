-- The run-time units of agents: a forest per zone, at most ten levels below a root.
CREATE TABLE agent_sessions (
  zone_id uuid NOT NULL REFERENCES zones (id),
  id uuid NOT NULL,
  application_id uuid NOT NULL,
  session_id uuid,
  parent_id uuid,
  root_id uuid NOT NULL,
  depth integer NOT NULL CHECK (depth BETWEEN 0 AND 10),
  lifecycle text NOT NULL CHECK (lifecycle IN ('task', 'service')),
  status text NOT NULL CHECK (status IN ('active', 'suspended', 'terminated', 'expired')),
  labels text[] NOT NULL DEFAULT '{}' CHECK (cardinality(labels) <= 32),
  capabilities text[] NOT NULL DEFAULT '{}',
  metadata_json jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata_json) = 'object'),
  -- Applications whose edges it takes; its own is always among them.
  accepts_from uuid[] NOT NULL DEFAULT '{}',
  ttl_seconds integer NOT NULL CHECK (ttl_seconds BETWEEN 1 AND 86400),
  lease_expires_at timestamptz,
  version bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  suspended_at timestamptz,
  ended_at timestamptz,
  end_reason text,
  CONSTRAINT agent_sessions_pkey PRIMARY KEY (zone_id, id),
  -- Lets an edge name the agent and its application together.
  CONSTRAINT agent_sessions_of_application UNIQUE (zone_id, id, application_id),
  CONSTRAINT agent_sessions_application FOREIGN KEY (zone_id, application_id) REFERENCES applications (zone_id, id),
  CONSTRAINT agent_sessions_session FOREIGN KEY (zone_id, session_id) REFERENCES sessions (zone_id, id),
  CONSTRAINT agent_sessions_parent FOREIGN KEY (zone_id, parent_id) REFERENCES agent_sessions (zone_id, id),
  CONSTRAINT agent_sessions_root FOREIGN KEY (zone_id, root_id) REFERENCES agent_sessions (zone_id, id),
  CONSTRAINT agent_sessions_root_is_itself CHECK ((parent_id IS NULL) = (root_id = id) AND (parent_id IS NULL) = (depth = 0)),
  CONSTRAINT agent_sessions_life CHECK (
    ((status IN ('terminated', 'expired')) = (ended_at IS NOT NULL)) AND (status <> 'suspended' OR suspended_at IS NOT NULL)
  ),
  CONSTRAINT agent_sessions_lease CHECK ((lifecycle = 'service') = (lease_expires_at IS NOT NULL))
);

CREATE INDEX agent_sessions_listed ON agent_sessions (zone_id, created_at DESC, id DESC);
CREATE INDEX agent_sessions_children ON agent_sessions (zone_id, parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX agent_sessions_live ON agent_sessions (zone_id, application_id) WHERE ended_at IS NULL;
CREATE INDEX agent_sessions_of_session ON agent_sessions (zone_id, session_id) WHERE session_id IS NOT NULL;
CREATE INDEX agent_sessions_expiring ON agent_sessions (expires_at) WHERE ended_at IS NULL;
CREATE INDEX agent_sessions_labels ON agent_sessions USING gin (labels);

-- A session token may be bound to one agent.
ALTER TABLE sessions ADD COLUMN agent_session_id uuid;
ALTER TABLE sessions ADD CONSTRAINT sessions_agent FOREIGN KEY (zone_id, agent_session_id)
  REFERENCES agent_sessions (zone_id, id);

GRANT SELECT, UPDATE ON agent_sessions TO caracal_api;
GRANT SELECT ON agent_sessions TO caracal_sts;
