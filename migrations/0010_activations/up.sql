-- At most one active version per zone: the row is the zone's. A zone without a row has no active policy set.
CREATE TABLE zone_activations (
  zone_id uuid NOT NULL REFERENCES zones (id),
  policy_set_id uuid NOT NULL,
  active_version_id uuid NOT NULL,
  shadow_version_id uuid,
  outbox_id uuid NOT NULL,
  epoch bigint NOT NULL,
  activated_by text NOT NULL,
  activated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT zone_activations_pkey PRIMARY KEY (zone_id),
  CONSTRAINT zone_activations_active FOREIGN KEY (zone_id, policy_set_id, active_version_id)
    REFERENCES policy_set_versions (zone_id, policy_set_id, id),
  CONSTRAINT zone_activations_shadow FOREIGN KEY (zone_id, shadow_version_id)
    REFERENCES policy_set_versions (zone_id, id)
);

-- What each replica of the STS has loaded, or why it could not.
CREATE TABLE activation_loads (
  zone_id uuid NOT NULL,
  instance text NOT NULL CHECK (instance <> ''),
  version_id uuid NOT NULL,
  epoch bigint NOT NULL,
  status text NOT NULL CHECK (status IN ('loaded', 'failed')),
  detail text,
  loaded_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT activation_loads_pkey PRIMARY KEY (zone_id, instance),
  CONSTRAINT activation_loads_version FOREIGN KEY (zone_id, version_id) REFERENCES policy_set_versions (zone_id, id),
  CONSTRAINT activation_loads_failure_explained CHECK ((status = 'failed') = (detail IS NOT NULL))
);

GRANT SELECT, INSERT, UPDATE, DELETE ON zone_activations TO caracal_api;
GRANT SELECT ON zone_activations TO caracal_sts;
GRANT SELECT ON activation_loads TO caracal_api;
GRANT SELECT, INSERT, UPDATE ON activation_loads TO caracal_sts;
