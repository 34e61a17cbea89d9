DROP INDEX audit_events_resources;
