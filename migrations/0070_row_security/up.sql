-- A transaction that works for one zone says so (`SET LOCAL caracal.zone`), and from then on nothing of any other zone is
-- there for it: not to be read, changed or removed, and nothing can be put there. Without the setting a service sees all
-- zones, as sweeps, snapshots, the relay and whoever looks for the zone of a token must. Rows of no zone (global tokens,
-- their idempotency keys) are out of sight of a transaction that works for one. The owner is not bound.

-- The zone the transaction works for; NULL when it works for all.
CREATE FUNCTION caracal_zone() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT nullif(current_setting('caracal.zone', true), '')::uuid
$$;
GRANT EXECUTE ON FUNCTION caracal_zone() TO caracal_api, caracal_sts, caracal_gateway, caracal_audit, caracal_relay;

-- Keeps the zones apart in a table whose rows belong to the zone in `key`. Every later migration calls it for each table
-- it makes with a `zone_id`. Rows that are reached through a partitioned table are under its policy; its partitions are
-- granted to nobody.
CREATE FUNCTION caracal_keep_zones_apart(kept regclass, key text DEFAULT 'zone_id') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', kept);
  -- In subqueries, so that a statement asks once and not for each row. And written so that the planner expects it to be
  -- true of nearly every row, as it is where a query names its zone: of a plain `… OR zone_id = …` it expects a
  -- handful to remain, and then sorts a whole zone where an index has the order of the page already.
  EXECUTE format('CREATE POLICY one_zone ON %s USING (
    (CASE WHEN (SELECT caracal_zone()) IS NULL OR %I = (SELECT caracal_zone()) THEN true END) IS NOT NULL)', kept, key);
END $$;

REVOKE ALL ON FUNCTION caracal_keep_zones_apart(regclass, text) FROM PUBLIC;

SELECT caracal_keep_zones_apart('zones', 'id');
SELECT caracal_keep_zones_apart(pg_class.oid::regclass)
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'zone_id' AND NOT attisdropped
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition;

-- The ledger as services read it. Of a table with policies PostgreSQL uses an index only by operators that cannot leak,
-- and the one that finds a label among arrays is none of those; a view like this one hides as much and may use it.
CREATE VIEW audit_ledger AS
  SELECT * FROM audit_events
  WHERE (CASE WHEN (SELECT caracal_zone()) IS NULL OR zone_id = (SELECT caracal_zone()) THEN true END) IS NOT NULL;
GRANT SELECT ON audit_ledger TO caracal_api, caracal_audit;

-- The last reference between two tables with zones that could have led from one zone into another.
ALTER TABLE admin_tokens ADD CONSTRAINT admin_tokens_of_zone UNIQUE (zone_id, id);
ALTER TABLE invitations DROP CONSTRAINT invitations_admin_token_id_fkey;
ALTER TABLE invitations ADD CONSTRAINT invitations_admin_token
  FOREIGN KEY (zone_id, admin_token_id) REFERENCES admin_tokens (zone_id, id);
