-- Whether an administrator's token still stands. A write asks in its own transaction, which sees one zone alone, while a
-- global token is of none.
CREATE FUNCTION caracal_admin_token_stands(token uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT EXISTS (
    SELECT FROM admin_tokens LEFT JOIN zones ON zones.id = admin_tokens.zone_id
    WHERE admin_tokens.id = token AND admin_tokens.revoked_at IS NULL AND zones.archived_at IS NULL
      AND (admin_tokens.expires_at IS NULL OR admin_tokens.expires_at > clock_timestamp())
  )
$$;
GRANT EXECUTE ON FUNCTION caracal_admin_token_stands TO caracal_api;

-- A consent is to the provider as it was when the user was sent there.
ALTER TABLE oauth_states ADD COLUMN provider_version bigint;

-- What the sessions of a subject ('subject') or of an application ('application') are locked by: those that begin share it,
-- and who ends them all has it alone. So an end finds every session that began before it, and every later one finds its
-- cut-off.
CREATE FUNCTION caracal_sessions_lock(zone uuid, kind text, holder text) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$ SELECT hashtextextended(kind || ' ' || zone::text || ' ' || holder, 0) $$;
GRANT EXECUTE ON FUNCTION caracal_sessions_lock TO caracal_api, caracal_sts;

CREATE OR REPLACE FUNCTION caracal_refuse_cut_off_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(caracal_sessions_lock(NEW.zone_id, 'subject', NEW.subject_id));
  PERFORM pg_advisory_xact_lock_shared(
    caracal_sessions_lock(NEW.zone_id, 'application', NEW.application_id::text)
  );
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
