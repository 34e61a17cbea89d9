-- A user's consent at a provider, and the states of consents under way.
CREATE TABLE provider_connections (
  zone_id uuid NOT NULL REFERENCES zones (id),
  id uuid NOT NULL,
  user_id text NOT NULL CHECK (user_id <> ''),
  resource_id uuid NOT NULL,
  provider_id uuid NOT NULL,
  scopes text[] NOT NULL DEFAULT '{}',
  tokens_key_id text NOT NULL CHECK (tokens_key_id <> ''),
  tokens_sealed bytea NOT NULL CHECK (octet_length(tokens_sealed) > 0),
  access_expires_at timestamptz,
  version bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  revoked_at timestamptz,
  CONSTRAINT provider_connections_pkey PRIMARY KEY (zone_id, id),
  CONSTRAINT provider_connections_resource FOREIGN KEY (zone_id, resource_id) REFERENCES resources (zone_id, id),
  CONSTRAINT provider_connections_provider FOREIGN KEY (zone_id, provider_id) REFERENCES providers (zone_id, id)
);

CREATE UNIQUE INDEX provider_connections_one_active
  ON provider_connections (zone_id, user_id, resource_id, provider_id) WHERE revoked_at IS NULL;
CREATE INDEX provider_connections_listed ON provider_connections (zone_id, created_at, id);

CREATE TABLE oauth_states (
  zone_id uuid NOT NULL REFERENCES zones (id),
  state_sha256 bytea NOT NULL CHECK (octet_length(state_sha256) = 32),
  user_id text NOT NULL CHECK (user_id <> ''),
  resource_id uuid NOT NULL,
  provider_id uuid NOT NULL,
  scopes text[] NOT NULL DEFAULT '{}',
  verifier_key_id text NOT NULL,
  verifier_sealed bytea NOT NULL,
  created_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  consumed_at timestamptz,
  CONSTRAINT oauth_states_pkey PRIMARY KEY (zone_id, state_sha256),
  CONSTRAINT oauth_states_resource FOREIGN KEY (zone_id, resource_id) REFERENCES resources (zone_id, id),
  CONSTRAINT oauth_states_provider FOREIGN KEY (zone_id, provider_id) REFERENCES providers (zone_id, id)
);

-- The provider's callback brings nothing but the state.
CREATE INDEX oauth_states_by_state ON oauth_states (state_sha256);

GRANT SELECT, INSERT, UPDATE ON provider_connections TO caracal_api;
-- The STS refreshes access tokens in place.
GRANT SELECT, UPDATE ON provider_connections TO caracal_sts;
GRANT SELECT, INSERT, UPDATE, DELETE ON oauth_states TO caracal_api;
