-- When a provider stopped renewing a connection: its user must connect again.
ALTER TABLE provider_connections ADD COLUMN lapsed_at timestamptz;
