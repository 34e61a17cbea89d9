-- When a provider stopped renewing a connection: its user must connect again.
ALTER TABLE provider_connections ADD COLUMN lapsed_at timestamptz;

CREATE INDEX provider_connections_lapsed ON provider_connections (zone_id, created_at, id)
  WHERE lapsed_at IS NOT NULL AND revoked_at IS NULL;
