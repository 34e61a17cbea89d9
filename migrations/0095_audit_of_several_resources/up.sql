-- An event about several resources names them in its metadata. They are few, and a list by resource must find them too:
-- this is beside `audit_events_resource`, which has those about one.
CREATE INDEX audit_events_resources ON audit_events USING gin ((metadata_json -> 'resources') jsonb_path_ops)
  WHERE metadata_json ? 'resources';
