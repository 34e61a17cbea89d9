-- Subjects whose sign-in is refused for a while (the kill switch with `block_until`).
CREATE TABLE subject_blocks (
  zone_id uuid NOT NULL REFERENCES zones (id),
  subject_id text NOT NULL CHECK (subject_id <> ''),
  blocked_until timestamptz NOT NULL,
  blocked_by text NOT NULL,
  CONSTRAINT subject_blocks_pkey PRIMARY KEY (zone_id, subject_id)
);

-- No session of a blocked subject can come to be, whichever path would make it.
CREATE FUNCTION caracal_refuse_blocked_subject() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM subject_blocks
    WHERE zone_id = NEW.zone_id AND subject_id = NEW.subject_id AND blocked_until > clock_timestamp()
  ) THEN
    RAISE EXCEPTION 'the subject is blocked'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'sessions_subject_blocked', TABLE = 'sessions';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER sessions_subject_blocked BEFORE INSERT ON sessions
  FOR EACH ROW EXECUTE FUNCTION caracal_refuse_blocked_subject();

GRANT SELECT, INSERT, UPDATE, DELETE ON subject_blocks TO caracal_api;
GRANT SELECT ON subject_blocks TO caracal_sts;
