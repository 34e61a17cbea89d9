-- What the filters of the audit list need, so that a rare application, session or label among a million events is found
-- without reading the rest; and the wake-up of those who follow a ledger as it grows.
CREATE INDEX audit_events_application ON audit_events (zone_id, application_id, occurred_at DESC, id DESC)
  WHERE application_id IS NOT NULL;
CREATE INDEX audit_events_session ON audit_events (zone_id, session_id, occurred_at DESC, id DESC)
  WHERE session_id IS NOT NULL;
CREATE INDEX audit_events_agent_session ON audit_events (zone_id, agent_session_id, occurred_at DESC, id DESC)
  WHERE agent_session_id IS NOT NULL;
CREATE INDEX audit_events_resource ON audit_events (zone_id, resource, occurred_at DESC, id DESC)
  WHERE resource IS NOT NULL;
CREATE INDEX audit_events_type ON audit_events (zone_id, event_type, occurred_at DESC, id DESC);
CREATE INDEX audit_events_refused ON audit_events (zone_id, decision, occurred_at DESC, id DESC)
  WHERE decision <> 'allow';
CREATE INDEX audit_events_labels ON audit_events USING gin (labels) WHERE labels <> '{}';

-- One notification per zone and batch: the head moves once, when the batch commits.
CREATE FUNCTION caracal_wake_readers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('caracal_ledger', NEW.zone_id::text);
  RETURN NULL;
END $$;

CREATE TRIGGER audit_heads_wake_readers AFTER UPDATE OF seq ON audit_heads
  FOR EACH ROW EXECUTE FUNCTION caracal_wake_readers();
