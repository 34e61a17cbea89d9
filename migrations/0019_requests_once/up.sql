-- What makes a repeated request harmless. Idempotency keys belong to an actor, who may be global: the actor leads.
CREATE TABLE idempotency_keys (
  actor text NOT NULL CHECK (actor <> ''),
  route text NOT NULL CHECK (route <> ''),
  key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
  zone_id uuid REFERENCES zones (id),
  -- Keyed, not a plain hash: a body may hold a guessable secret.
  body_hmac bytea NOT NULL CHECK (octet_length(body_hmac) = 32),
  leased_until timestamptz NOT NULL,
  status integer CHECK (status BETWEEN 200 AND 299),
  response jsonb,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  CONSTRAINT idempotency_keys_pkey PRIMARY KEY (actor, route, key),
  CONSTRAINT idempotency_keys_done CHECK (response IS NULL OR status IS NOT NULL)
);

CREATE INDEX idempotency_keys_expiring ON idempotency_keys (expires_at);

-- Client assertions seen (RFC 7523): a `jti` counts once until it has expired.
CREATE TABLE used_assertions (
  zone_id uuid NOT NULL REFERENCES zones (id),
  application_id uuid NOT NULL,
  jti text NOT NULL CHECK (jti <> ''),
  expires_at timestamptz NOT NULL,
  CONSTRAINT used_assertions_pkey PRIMARY KEY (zone_id, application_id, jti),
  CONSTRAINT used_assertions_application FOREIGN KEY (zone_id, application_id) REFERENCES applications (zone_id, id)
);

CREATE INDEX used_assertions_expiring ON used_assertions (expires_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO caracal_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON used_assertions TO caracal_sts;
