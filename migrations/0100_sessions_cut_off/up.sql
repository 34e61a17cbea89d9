-- The epoch of the view that a session was decided on: its token carries it, and a cut-off refuses every token with a
-- smaller one. NULL for sessions of before.
ALTER TABLE sessions ADD COLUMN epoch bigint;

-- No session comes to be whose token a cut-off refuses already: whoever opens one on a view that is older than the
-- cut-off is told so, and opens it again on a newer one.
CREATE FUNCTION caracal_refuse_cut_off_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM anchors
    WHERE zone_id = NEW.zone_id AND kind = 'subject' AND value = NEW.subject_id AND epoch > NEW.epoch
  ) OR EXISTS (
    SELECT FROM anchors
    WHERE zone_id = NEW.zone_id AND kind = 'application' AND value = NEW.application_id::text AND epoch > NEW.epoch
  ) THEN
    RAISE EXCEPTION 'a cut-off is newer than what the session was decided on'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'sessions_cut_off', TABLE = 'sessions';
  END IF;
  RETURN NEW;
END $$;

-- After the one of blocked subjects, in the order of their names.
CREATE TRIGGER sessions_subject_cut_off BEFORE INSERT ON sessions
  FOR EACH ROW WHEN (NEW.epoch IS NOT NULL) EXECUTE FUNCTION caracal_refuse_cut_off_session();
