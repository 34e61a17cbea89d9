-- Which replicas of the STS are alive, so that one that is gone does not keep an activation `pending` for ever.
CREATE TABLE sts_replicas (
  instance text NOT NULL CHECK (instance <> ''),
  started_at timestamptz NOT NULL DEFAULT now(),
  seen_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT sts_replicas_pkey PRIMARY KEY (instance)
);

GRANT SELECT ON sts_replicas TO caracal_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON sts_replicas TO caracal_sts;
GRANT DELETE ON activation_loads TO caracal_sts;
