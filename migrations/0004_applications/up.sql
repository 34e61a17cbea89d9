-- Registered clients, services and agent workloads.
CREATE TABLE applications (
  zone_id uuid NOT NULL REFERENCES zones (id),
  id uuid NOT NULL,
  name text NOT NULL CHECK (name <> ''),
  registration_method text NOT NULL CHECK (registration_method IN ('managed', 'dcr')),
  credential_type text NOT NULL CHECK (credential_type IN ('token', 'password', 'public-key', 'url', 'public')),
  -- Argon2id as a PHC string; never the secret, never a fast hash of it.
  secret_hash text CHECK (secret_hash LIKE '$argon2id$%'),
  jwks jsonb CHECK (jsonb_typeof(jwks -> 'keys') = 'array'),
  jwks_uri text CHECK (jwks_uri <> ''),
  traits text[] NOT NULL DEFAULT '{}',
  consent text NOT NULL DEFAULT 'implicit' CHECK (consent IN ('implicit', 'required')),
  redirect_uris text[] NOT NULL DEFAULT '{}',
  expires_at timestamptz,
  version bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  archived_at timestamptz,
  CONSTRAINT applications_pkey PRIMARY KEY (zone_id, id),
  CONSTRAINT applications_secret CHECK ((credential_type IN ('token', 'password')) = (secret_hash IS NOT NULL)),
  CONSTRAINT applications_jwks CHECK (jwks IS NULL OR credential_type = 'public-key'),
  CONSTRAINT applications_jwks_uri CHECK (jwks_uri IS NULL OR credential_type = 'url'),
  CONSTRAINT applications_dcr_expires CHECK ((registration_method = 'dcr') = (expires_at IS NOT NULL))
);

CREATE UNIQUE INDEX applications_name_live ON applications (zone_id, name) WHERE archived_at IS NULL;
CREATE INDEX applications_listed ON applications (zone_id, created_at, id) WHERE archived_at IS NULL;
CREATE INDEX applications_expiring ON applications (expires_at) WHERE archived_at IS NULL AND expires_at IS NOT NULL;
-- A client that names no zone is found by its id alone.
CREATE INDEX applications_zone_of ON applications (id);

GRANT SELECT, INSERT, UPDATE ON applications TO caracal_api;
GRANT SELECT ON applications TO caracal_sts;
