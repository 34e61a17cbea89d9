-- A policy is a named line of immutable versions; each version names the module it was compiled to.
CREATE TABLE policies (
  zone_id uuid NOT NULL REFERENCES zones (id),
  id uuid NOT NULL,
  name text NOT NULL CHECK (name <> ''),
  description text,
  owner_type text NOT NULL DEFAULT 'customer' CHECK (owner_type <> ''),
  created_by text NOT NULL,
  version bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  archived_at timestamptz,
  CONSTRAINT policies_pkey PRIMARY KEY (zone_id, id)
);

CREATE UNIQUE INDEX policies_name_live ON policies (zone_id, name) WHERE archived_at IS NULL;
CREATE INDEX policies_listed ON policies (zone_id, created_at, id) WHERE archived_at IS NULL;

-- Belongs to no zone: equal sources in any number of zones share one module under one hash.
CREATE TABLE policy_modules (
  name text NOT NULL CHECK (name ~ '^[0-9a-f]{64}$'),
  wasm bytea NOT NULL,
  wasm_sha256 text NOT NULL,
  opa_version text NOT NULL CHECK (opa_version <> ''),
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT policy_modules_pkey PRIMARY KEY (name),
  CONSTRAINT policy_modules_hash CHECK (wasm_sha256 = encode(sha256(wasm), 'hex'))
);

CREATE TABLE policy_versions (
  zone_id uuid NOT NULL,
  id uuid NOT NULL,
  policy_id uuid NOT NULL,
  version integer NOT NULL CHECK (version > 0),
  content text NOT NULL CHECK (octet_length(content) BETWEEN 1 AND 262144),
  content_sha256 text NOT NULL,
  schema_version text NOT NULL CHECK (schema_version <> ''),
  module text NOT NULL REFERENCES policy_modules (name),
  created_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT policy_versions_pkey PRIMARY KEY (zone_id, id),
  CONSTRAINT policy_versions_policy FOREIGN KEY (zone_id, policy_id) REFERENCES policies (zone_id, id),
  CONSTRAINT policy_versions_number UNIQUE (zone_id, policy_id, version),
  CONSTRAINT policy_versions_hash CHECK (content_sha256 = encode(sha256(convert_to(content, 'UTF8')), 'hex'))
);

CREATE TRIGGER policy_modules_immutable BEFORE UPDATE ON policy_modules
  FOR EACH ROW EXECUTE FUNCTION caracal_refuse_update();
CREATE TRIGGER policy_versions_immutable BEFORE UPDATE ON policy_versions
  FOR EACH ROW EXECUTE FUNCTION caracal_refuse_update();

GRANT SELECT, INSERT, UPDATE ON policies TO caracal_api;
GRANT SELECT, INSERT ON policy_modules, policy_versions TO caracal_api;
GRANT SELECT ON policies, policy_modules, policy_versions TO caracal_sts;
