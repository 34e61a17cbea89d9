-- Of how much belongs to one zone PostgreSQL knows the average, and a connection keeps one plan for any zone. By the
-- average a zone is small; so such a plan filters, or sorts, all of a zone where an index leads straight to the rows, and
-- in the largest zone everything it is used for takes as long as that zone is large. So zones are said to be few: a plan
-- then expects much of a zone, never more than the largest has, and what it finds by an index it also finds in a small one.
CREATE FUNCTION caracal_expect_large_zones(kept regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s ALTER COLUMN zone_id SET (n_distinct = 4)', kept);
  -- What is said is heard when statistics are made the next time.
  EXECUTE format('ANALYZE %s', kept);
END $$;

REVOKE ALL ON FUNCTION caracal_expect_large_zones(regclass) FROM PUBLIC;

SELECT caracal_expect_large_zones(pg_class.oid::regclass)
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'zone_id' AND NOT attisdropped
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r';

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
  PERFORM public.caracal_expect_large_zones(format('public.%I', child)::regclass);
  EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', parent, child, starts, ends);
  RETURN true;
EXCEPTION WHEN check_violation OR lock_not_available THEN
  -- The default partition holds rows of that range already, or is busy: they stay where they are.
  RETURN false;
END $$;
