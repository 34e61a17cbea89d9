-- An application that registered itself hosts one agent session at a time, and its agent spawns none (contract §1,
-- "Applications"), whichever service makes the row.
CREATE FUNCTION caracal_keep_registered_agent_alone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM agent_sessions above
    JOIN applications ON applications.zone_id = above.zone_id AND applications.id = above.application_id
    WHERE above.zone_id = NEW.zone_id AND above.id = NEW.parent_id AND applications.registration_method = 'dcr'
  ) THEN
    RAISE EXCEPTION 'the agent of a self-registered application spawns none'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'agent_sessions_registered_spawn', TABLE = 'agent_sessions';
  END IF;
  IF EXISTS (
    SELECT FROM applications
    WHERE zone_id = NEW.zone_id AND id = NEW.application_id AND registration_method = 'dcr'
  ) THEN
    -- One after the other, so that each sees those before it.
    PERFORM pg_advisory_xact_lock(caracal_sessions_lock(NEW.zone_id, 'registered', NEW.application_id::text));
    IF EXISTS (
      SELECT FROM agent_sessions
      WHERE zone_id = NEW.zone_id AND application_id = NEW.application_id AND ended_at IS NULL AND expires_at > now()
    ) THEN
      RAISE EXCEPTION 'a self-registered application hosts one agent session'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'agent_sessions_registered_one', TABLE = 'agent_sessions';
    END IF;
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER agent_sessions_registered BEFORE INSERT ON agent_sessions
  FOR EACH ROW EXECUTE FUNCTION caracal_keep_registered_agent_alone();
