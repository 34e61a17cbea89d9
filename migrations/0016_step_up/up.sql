-- A further proof a policy asked for, bound to who asked for what; consumed in the step that issues.
CREATE TABLE step_up_challenges (
  zone_id uuid NOT NULL REFERENCES zones (id),
  id uuid NOT NULL,
  application_id uuid NOT NULL,
  session_id uuid,
  agent_session_id uuid,
  challenge_type text NOT NULL CHECK (challenge_type IN ('mfa', 'human_approval', 'software_attestation')),
  resources text[] NOT NULL CHECK (cardinality(resources) > 0),
  scopes text[] NOT NULL,
  secret_sha256 bytea NOT NULL CHECK (octet_length(secret_sha256) = 32),
  metadata_json jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata_json) = 'object'),
  failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  satisfied_at timestamptz,
  satisfied_by text,
  consumed_at timestamptz,
  CONSTRAINT step_up_challenges_pkey PRIMARY KEY (zone_id, id),
  CONSTRAINT step_up_challenges_application FOREIGN KEY (zone_id, application_id) REFERENCES applications (zone_id, id),
  CONSTRAINT step_up_challenges_session FOREIGN KEY (zone_id, session_id) REFERENCES sessions (zone_id, id),
  CONSTRAINT step_up_challenges_agent FOREIGN KEY (zone_id, agent_session_id) REFERENCES agent_sessions (zone_id, id),
  CONSTRAINT step_up_challenges_satisfied CHECK ((satisfied_at IS NULL) = (satisfied_by IS NULL)),
  CONSTRAINT step_up_challenges_consumed CHECK (consumed_at IS NULL OR satisfied_at IS NOT NULL)
);

CREATE INDEX step_up_challenges_listed ON step_up_challenges (zone_id, created_at, id);

GRANT SELECT, UPDATE ON step_up_challenges TO caracal_api;
GRANT SELECT, INSERT, UPDATE ON step_up_challenges TO caracal_sts;
