-- A policy set bundles policy versions into immutable manifests, one of which may be active in its zone.
CREATE TABLE policy_sets (
  zone_id uuid NOT NULL REFERENCES zones (id),
  id uuid NOT NULL,
  name text NOT NULL CHECK (name <> ''),
  description text,
  created_by text NOT NULL,
  version bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  archived_at timestamptz,
  CONSTRAINT policy_sets_pkey PRIMARY KEY (zone_id, id)
);

CREATE UNIQUE INDEX policy_sets_name_live ON policy_sets (zone_id, name) WHERE archived_at IS NULL;
CREATE INDEX policy_sets_listed ON policy_sets (zone_id, created_at, id) WHERE archived_at IS NULL;

CREATE TABLE policy_set_versions (
  zone_id uuid NOT NULL,
  id uuid NOT NULL,
  policy_set_id uuid NOT NULL,
  version integer NOT NULL CHECK (version > 0),
  manifest_sha256 text NOT NULL CHECK (manifest_sha256 ~ '^[0-9a-f]{64}$'),
  schema_version text NOT NULL CHECK (schema_version <> ''),
  created_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT policy_set_versions_pkey PRIMARY KEY (zone_id, id),
  CONSTRAINT policy_set_versions_set FOREIGN KEY (zone_id, policy_set_id) REFERENCES policy_sets (zone_id, id),
  CONSTRAINT policy_set_versions_number UNIQUE (zone_id, policy_set_id, version),
  -- Lets an activation name the set and the version together, so that they cannot disagree.
  CONSTRAINT policy_set_versions_of_set UNIQUE (zone_id, policy_set_id, id)
);

CREATE TABLE policy_set_manifest (
  zone_id uuid NOT NULL,
  policy_set_version_id uuid NOT NULL,
  position integer NOT NULL CHECK (position BETWEEN 0 AND 255),
  policy_version_id uuid NOT NULL,
  CONSTRAINT policy_set_manifest_pkey PRIMARY KEY (zone_id, policy_set_version_id, position),
  CONSTRAINT policy_set_manifest_once UNIQUE (zone_id, policy_set_version_id, policy_version_id),
  CONSTRAINT policy_set_manifest_set_version FOREIGN KEY (zone_id, policy_set_version_id)
    REFERENCES policy_set_versions (zone_id, id),
  CONSTRAINT policy_set_manifest_policy_version FOREIGN KEY (zone_id, policy_version_id)
    REFERENCES policy_versions (zone_id, id)
);

CREATE TRIGGER policy_set_versions_immutable BEFORE UPDATE ON policy_set_versions
  FOR EACH ROW EXECUTE FUNCTION caracal_refuse_update();
CREATE TRIGGER policy_set_manifest_immutable BEFORE UPDATE ON policy_set_manifest
  FOR EACH ROW EXECUTE FUNCTION caracal_refuse_update();

GRANT SELECT, INSERT, UPDATE ON policy_sets TO caracal_api;
GRANT SELECT, INSERT ON policy_set_versions, policy_set_manifest TO caracal_api;
GRANT SELECT ON policy_sets, policy_set_versions, policy_set_manifest TO caracal_sts;
