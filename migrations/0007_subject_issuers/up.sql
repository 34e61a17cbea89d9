-- Outside issuers whose tokens make user sessions: a user's subject id is prefix + external `sub`.
CREATE TABLE subject_issuers (
  zone_id uuid NOT NULL REFERENCES zones (id),
  id uuid NOT NULL,
  issuer text NOT NULL CHECK (issuer <> ''),
  jwks_uri text CHECK (jwks_uri <> ''),
  audience text NOT NULL CHECK (audience <> ''),
  subject_prefix text NOT NULL DEFAULT '',
  version bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  archived_at timestamptz,
  CONSTRAINT subject_issuers_pkey PRIMARY KEY (zone_id, id)
);

CREATE UNIQUE INDEX subject_issuers_prefix_live ON subject_issuers (zone_id, subject_prefix) WHERE archived_at IS NULL;
CREATE INDEX subject_issuers_listed ON subject_issuers (zone_id, created_at, id) WHERE archived_at IS NULL;

GRANT SELECT, INSERT, UPDATE ON subject_issuers TO caracal_api;
GRANT SELECT ON subject_issuers TO caracal_sts;
