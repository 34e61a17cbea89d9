-- One row per session token's session. Whether it is active, revoked or expired follows from two times; there is no
-- third place that could disagree with them.
CREATE TABLE sessions (
  zone_id uuid NOT NULL REFERENCES zones (id),
  id uuid NOT NULL,
  session_type text NOT NULL CHECK (session_type IN ('application', 'user')),
  subject_id text NOT NULL CHECK (subject_id <> ''),
  application_id uuid NOT NULL,
  parent_id uuid,
  root_id uuid NOT NULL,
  -- What its mandates are limited to; empty means no limit.
  scopes text[] NOT NULL DEFAULT '{}',
  targets text[] NOT NULL DEFAULT '{}',
  authenticated_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  revoked_at timestamptz,
  revoked_reason text,
  CONSTRAINT sessions_pkey PRIMARY KEY (zone_id, id),
  CONSTRAINT sessions_application FOREIGN KEY (zone_id, application_id) REFERENCES applications (zone_id, id),
  CONSTRAINT sessions_parent FOREIGN KEY (zone_id, parent_id) REFERENCES sessions (zone_id, id),
  CONSTRAINT sessions_root FOREIGN KEY (zone_id, root_id) REFERENCES sessions (zone_id, id),
  CONSTRAINT sessions_root_is_itself CHECK ((parent_id IS NULL) = (root_id = id)),
  CONSTRAINT sessions_expires_later CHECK (expires_at > authenticated_at),
  CONSTRAINT sessions_reason CHECK (revoked_reason IS NULL OR revoked_at IS NOT NULL)
);

CREATE INDEX sessions_listed ON sessions (zone_id, created_at DESC, id DESC);
CREATE INDEX sessions_of_subject ON sessions (zone_id, subject_id, created_at DESC, id DESC);
CREATE INDEX sessions_of_application ON sessions (zone_id, application_id) WHERE revoked_at IS NULL;
CREATE INDEX sessions_of_root ON sessions (zone_id, root_id);

GRANT SELECT, UPDATE ON sessions TO caracal_api;
GRANT SELECT, INSERT, UPDATE ON sessions TO caracal_sts;
