-- Who may administer. A global token belongs to no zone, so its id leads; only hashes are stored.
CREATE TABLE admin_tokens (
  id uuid NOT NULL,
  scope text NOT NULL CHECK (scope IN ('global', 'zone')),
  zone_id uuid REFERENCES zones (id),
  name text,
  token_sha256 bytea NOT NULL CHECK (octet_length(token_sha256) = 32),
  read_only boolean NOT NULL DEFAULT false,
  -- Came from CARACAL_ADMIN_TOKEN; at most one such token is live.
  seeded boolean NOT NULL DEFAULT false,
  created_by text NOT NULL,
  version bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  CONSTRAINT admin_tokens_pkey PRIMARY KEY (id),
  CONSTRAINT admin_tokens_scope CHECK ((scope = 'zone') = (zone_id IS NOT NULL)),
  CONSTRAINT admin_tokens_seeded_is_global CHECK (NOT seeded OR (scope = 'global' AND NOT read_only))
);

CREATE UNIQUE INDEX admin_tokens_hash ON admin_tokens (token_sha256) WHERE revoked_at IS NULL;
CREATE UNIQUE INDEX admin_tokens_one_seeded ON admin_tokens (seeded) WHERE seeded AND revoked_at IS NULL;
CREATE INDEX admin_tokens_listed ON admin_tokens (created_at, id) WHERE revoked_at IS NULL;

CREATE TABLE invitations (
  zone_id uuid NOT NULL REFERENCES zones (id),
  id uuid NOT NULL,
  email text NOT NULL CHECK (email LIKE '_%@_%'),
  role text NOT NULL CHECK (role IN ('admin', 'viewer')),
  token_sha256 bytea NOT NULL CHECK (octet_length(token_sha256) = 32),
  created_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  accepted_at timestamptz,
  admin_token_id uuid REFERENCES admin_tokens (id),
  revoked_at timestamptz,
  CONSTRAINT invitations_pkey PRIMARY KEY (zone_id, id),
  CONSTRAINT invitations_accepted CHECK ((accepted_at IS NULL) = (admin_token_id IS NULL)),
  CONSTRAINT invitations_one_end CHECK (accepted_at IS NULL OR revoked_at IS NULL)
);

-- Who accepts brings nothing but the token.
CREATE UNIQUE INDEX invitations_by_token ON invitations (token_sha256);
CREATE INDEX invitations_listed ON invitations (zone_id, created_at, id);

GRANT SELECT, INSERT, UPDATE ON admin_tokens, invitations TO caracal_api;
