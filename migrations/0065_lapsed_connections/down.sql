ALTER TABLE provider_connections DROP COLUMN lapsed_at;
