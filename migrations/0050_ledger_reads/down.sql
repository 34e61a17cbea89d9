DROP TRIGGER audit_heads_wake_readers ON audit_heads;
DROP FUNCTION caracal_wake_readers();
DROP INDEX audit_events_labels;
DROP INDEX audit_events_refused;
DROP INDEX audit_events_type;
DROP INDEX audit_events_resource;
DROP INDEX audit_events_agent_session;
DROP INDEX audit_events_session;
DROP INDEX audit_events_application;
