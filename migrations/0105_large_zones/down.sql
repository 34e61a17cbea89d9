CREATE OR REPLACE FUNCTION caracal_add_partition(parent text, suffix text, starts timestamptz, ends timestamptz) RETURNS boolean
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

DO $$
DECLARE
  kept regclass;
BEGIN
  FOR kept IN
    SELECT pg_class.oid FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'zone_id' AND NOT attisdropped
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
  LOOP
    EXECUTE format('ALTER TABLE %s ALTER COLUMN zone_id RESET (n_distinct)', kept);
  END LOOP;
END $$;

DROP FUNCTION caracal_expect_large_zones(regclass);
