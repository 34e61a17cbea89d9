-- Protected upstreams, by the names tokens and policies use.
CREATE TABLE resources (
  zone_id uuid NOT NULL REFERENCES zones (id),
  id uuid NOT NULL,
  name text NOT NULL CHECK (name <> ''),
  identifier text NOT NULL CHECK (identifier <> ''),
  prefix boolean NOT NULL DEFAULT false,
  scopes text[] NOT NULL CHECK (cardinality(scopes) > 0),
  upstream_url text CHECK (upstream_url ~ '^https?://'),
  credential_provider_id uuid,
  auth_mode text NOT NULL CHECK (auth_mode IN ('caracal_jwt', 'provider_oauth', 'provider_apikey', 'none')),
  operations jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(operations) = 'array'),
  forward_headers text[] NOT NULL DEFAULT '{}',
  version bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  archived_at timestamptz,
  CONSTRAINT resources_pkey PRIMARY KEY (zone_id, id),
  CONSTRAINT resources_provider FOREIGN KEY (zone_id, credential_provider_id) REFERENCES providers (zone_id, id),
  CONSTRAINT resources_mode_has_provider CHECK (
    auth_mode NOT IN ('provider_oauth', 'provider_apikey') OR credential_provider_id IS NOT NULL
  )
);

CREATE UNIQUE INDEX resources_identifier_live ON resources (zone_id, identifier) WHERE archived_at IS NULL;
CREATE INDEX resources_listed ON resources (zone_id, created_at, id) WHERE archived_at IS NULL;
CREATE INDEX resources_of_provider ON resources (zone_id, credential_provider_id) WHERE credential_provider_id IS NOT NULL;

GRANT SELECT, INSERT, UPDATE ON resources TO caracal_api;
GRANT SELECT ON resources TO caracal_sts;
