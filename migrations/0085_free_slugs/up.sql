-- Slugs for zones that chose none, of which thousands may derive the same. A create asks for its slug in one round trip,
-- and nobody waits for another's commit: who is answered holds the slug until its transaction ends, and whoever asks
-- meanwhile is answered with the next one.

-- Whether no live zone has the slug, and it is now held for the transaction that asks.
CREATE FUNCTION caracal_hold_slug(wanted text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM zones WHERE slug = wanted AND archived_at IS NULL;
  IF FOUND OR NOT pg_try_advisory_xact_lock(hashtext('caracal_slug'), hashtext(wanted)) THEN
    RETURN false;
  END IF;
  -- Whoever held it a moment ago may have committed since that look; each statement sees what is committed by then.
  PERFORM 1 FROM zones WHERE slug = wanted AND archived_at IS NULL;
  RETURN NOT FOUND;
END $$;

-- A slug like `base` that nobody has or holds: `base` itself, else the first free one up to `base-32`, else one that
-- follows a taken one: the largest plus one, unless some in between became free. That one is looked for by doubling and
-- halving, so it costs the logarithm of how many there are.
CREATE FUNCTION caracal_free_slug(base text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  number bigint;
BEGIN
  IF caracal_hold_slug(base) THEN
    RETURN base;
  END IF;
  FOR number IN
    SELECT n FROM generate_series(2, 32) n
    -- Each is asked for by itself: a join may be planned to read every slug there is.
    WHERE (SELECT 1 FROM zones WHERE slug = base || '-' || n AND archived_at IS NULL) IS NULL
  LOOP
    IF caracal_hold_slug(base || '-' || number) THEN
      RETURN base || '-' || number;
    END IF;
  END LOOP;
  number := 32;
  LOOP
    -- OFFSET 0 has each probe made once.
    WITH RECURSIVE search (taken, free, step) AS (
      SELECT number, NULL::bigint, 1::bigint
      UNION ALL
      SELECT CASE WHEN has THEN probe ELSE taken END, CASE WHEN has THEN free ELSE probe END, step * 2
      FROM search,
        LATERAL (SELECT coalesce((taken + free) / 2, taken + step) AS probe OFFSET 0) next,
        LATERAL (SELECT EXISTS (
          SELECT FROM zones WHERE slug = base || '-' || probe AND archived_at IS NULL) AS has OFFSET 0) found
      WHERE free IS NULL OR free - taken > 1
    )
    SELECT search.free INTO STRICT number FROM search WHERE search.free - search.taken = 1;
    -- What follows is most often held by those who ask at the same time.
    FOR crowd IN 0..31 LOOP
      IF caracal_hold_slug(base || '-' || number + crowd) THEN
        RETURN base || '-' || number + crowd;
      END IF;
    END LOOP;
    number := number + 31;
  END LOOP;
END $$;

GRANT EXECUTE ON FUNCTION caracal_hold_slug(text), caracal_free_slug(text) TO caracal_api;
