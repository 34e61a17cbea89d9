-- Where upstream credentials come from. What may be shown and what may not are two columns; a row has both halves of a
-- sealed secret or none.
CREATE TABLE providers (
  zone_id uuid NOT NULL REFERENCES zones (id),
  id uuid NOT NULL,
  name text NOT NULL CHECK (name <> ''),
  identifier text NOT NULL CHECK (identifier <> ''),
  kind text NOT NULL CHECK (kind IN (
    'oauth2', 'oidc', 'apikey', 'workload',
    'oauth2_authorization_code', 'oauth2_client_credentials', 'api_key', 'bearer_token'
  )),
  owner_type text NOT NULL DEFAULT 'customer' CHECK (owner_type <> ''),
  config_json jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(config_json) = 'object'),
  secrets_key_id text,
  secrets_sealed bytea CHECK (octet_length(secrets_sealed) > 0),
  secret_config_keys text[] NOT NULL DEFAULT '{}',
  version bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  archived_at timestamptz,
  CONSTRAINT providers_pkey PRIMARY KEY (zone_id, id),
  CONSTRAINT providers_sealed_whole CHECK ((secrets_key_id IS NULL) = (secrets_sealed IS NULL)),
  CONSTRAINT providers_secret_keys CHECK ((cardinality(secret_config_keys) = 0) = (secrets_sealed IS NULL))
);

CREATE UNIQUE INDEX providers_identifier_live ON providers (zone_id, identifier) WHERE archived_at IS NULL;
CREATE INDEX providers_listed ON providers (zone_id, created_at, id) WHERE archived_at IS NULL;

GRANT SELECT, INSERT, UPDATE ON providers TO caracal_api;
GRANT SELECT ON providers TO caracal_sts;
