CREATE OR REPLACE FUNCTION caracal_refuse_cut_off_session() RETURNS trigger LANGUAGE plpgsql AS $$
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
DROP FUNCTION caracal_sessions_lock;
DROP FUNCTION caracal_admin_token_stands;
ALTER TABLE oauth_states DROP COLUMN provider_version;
