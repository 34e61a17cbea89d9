DROP TABLE audit_dead_letters;
DROP TABLE audit_events;
DROP TABLE audit_event_ids;
DROP TABLE audit_heads;
