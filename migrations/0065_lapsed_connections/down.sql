DROP INDEX provider_connections_lapsed;
ALTER TABLE provider_connections DROP COLUMN lapsed_at;
