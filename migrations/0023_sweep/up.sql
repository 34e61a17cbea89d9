-- Removes what nothing can name any more. Runs with the owner's rights, since the relay may not even read these tables.
-- Nothing depends on its punctuality: every reader compares the times itself. Each margin is wider than any leeway or
-- difference between clocks.
CREATE INDEX step_up_challenges_expiring ON step_up_challenges (expires_at);
CREATE INDEX oauth_states_expiring ON oauth_states (expires_at);

-- At most `batch` rows of each table, so that no call holds locks for long; answers how many it removed in all. Rows that
-- somebody holds are left for the next call.
CREATE FUNCTION caracal_sweep(batch integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
  target record;
  removed bigint;
  total bigint := 0;
BEGIN
  -- One at a time; a second caller has nothing to add.
  IF NOT pg_try_advisory_xact_lock(hashtext('caracal_sweep')) THEN
    RETURN 0;
  END IF;
  FOR target IN
    SELECT * FROM (VALUES
      ('anchors', interval '5 minutes'),
      ('used_assertions', interval '5 minutes'),
      ('idempotency_keys', interval '5 minutes'),
      ('oauth_states', interval '1 day'),
      -- Long enough for an administrator to look at what became of one.
      ('step_up_challenges', interval '7 days')
    ) AS targets (name, margin)
  LOOP
    EXECUTE format(
      'DELETE FROM public.%1$I WHERE ctid = ANY (ARRAY(
         SELECT ctid FROM public.%1$I WHERE expires_at < now() - $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))',
      target.name)
    USING target.margin, batch;
    GET DIAGNOSTICS removed = ROW_COUNT;
    total := total + removed;
  END LOOP;
  RETURN total;
END $$;

REVOKE ALL ON FUNCTION caracal_sweep(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION caracal_sweep(integer) TO caracal_relay;
