-- Makes partitions ahead of time and drops outbox days in which everything was published. Runs with the owner's rights,
-- since no service may create or drop a table. Nothing depends on its punctuality: rows of a day that has no partition
-- lie in the default one.
CREATE FUNCTION caracal_add_partition(parent text, suffix text, starts timestamptz, ends timestamptz) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  child text := parent || '_' || suffix;
BEGIN
  IF to_regclass(format('public.%I', child)) IS NOT NULL THEN
    RETURN false;
  END IF;
  -- Built beside the parent and then attached: readers and writers of the parent are not locked out meanwhile.
  EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', child, parent);
  EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', parent, child, starts, ends);
  RETURN true;
EXCEPTION WHEN check_violation OR lock_not_available THEN
  -- The default partition holds rows of that range already, or is busy: they stay where they are.
  RETURN false;
END $$;

CREATE FUNCTION caracal_maintain_partitions() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '1s' SET timezone = 'UTC' AS $$
DECLARE
  today timestamptz := date_trunc('day', now());
  month timestamptz := date_trunc('month', now());
  starts timestamptz;
  made integer := 0;
  old record;
  pending boolean;
BEGIN
  -- One at a time; a second caller has nothing to add.
  IF NOT pg_try_advisory_xact_lock(hashtext('caracal_maintain_partitions')) THEN
    RETURN 0;
  END IF;
  FOR starts IN SELECT generate_series(today, today + interval '3 days', interval '1 day') LOOP
    made := made + caracal_add_partition('outbox', to_char(starts, 'YYYYMMDD'), starts, starts + interval '1 day')::integer;
  END LOOP;
  FOR starts IN SELECT generate_series(month, month + interval '2 months', interval '1 month') LOOP
    made := made + caracal_add_partition('audit_events', to_char(starts, 'YYYYMM'), starts, starts + interval '1 month')::integer;
  END LOOP;
  FOR old IN
    SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'public.outbox'::regclass AND relname ~ '^outbox_[0-9]{8}$'
      AND to_date(right(relname, 8), 'YYYYMMDD') < (today - interval '2 days')::date
  LOOP
    BEGIN
      EXECUTE format('LOCK TABLE public.%I IN ACCESS EXCLUSIVE MODE', old.relname);
      EXECUTE format('SELECT EXISTS (SELECT FROM public.%I WHERE published_at IS NULL)', old.relname) INTO pending;
      IF NOT pending THEN
        EXECUTE format('DROP TABLE public.%I', old.relname);
      END IF;
    EXCEPTION WHEN lock_not_available THEN
      NULL;
    END;
  END LOOP;
  DELETE FROM outbox_default WHERE published_at < now() - interval '2 days';
  RETURN made;
END $$;

REVOKE ALL ON FUNCTION caracal_add_partition(text, text, timestamptz, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION caracal_maintain_partitions() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION caracal_maintain_partitions() TO caracal_relay, caracal_audit;

SELECT caracal_maintain_partitions();
