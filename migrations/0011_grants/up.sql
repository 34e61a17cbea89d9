-- A binding of application, user and resource to scopes. Policy reads it; it is not required to mint.
CREATE TABLE grants (
  zone_id uuid NOT NULL REFERENCES zones (id),
  id uuid NOT NULL,
  application_id uuid NOT NULL,
  user_id text NOT NULL CHECK (user_id <> ''),
  resource_id uuid NOT NULL,
  scopes text[] NOT NULL CHECK (cardinality(scopes) BETWEEN 1 AND 64),
  created_by text NOT NULL,
  version bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  revoked_at timestamptz,
  CONSTRAINT grants_pkey PRIMARY KEY (zone_id, id),
  CONSTRAINT grants_application FOREIGN KEY (zone_id, application_id) REFERENCES applications (zone_id, id),
  CONSTRAINT grants_resource FOREIGN KEY (zone_id, resource_id) REFERENCES resources (zone_id, id)
);

CREATE UNIQUE INDEX grants_one_active ON grants (zone_id, application_id, user_id, resource_id) WHERE revoked_at IS NULL;
CREATE INDEX grants_listed ON grants (zone_id, created_at, id);

GRANT SELECT, INSERT, UPDATE ON grants TO caracal_api;
GRANT SELECT ON grants TO caracal_sts;
