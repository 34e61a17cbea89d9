-- One look into the index for each id. `id = ANY ($2)` is a filter over all of the zone's ledger as soon as PostgreSQL
-- takes the zone for one of average size.
SELECT found.id FROM unnest($2::uuid[]) AS asked (id)
CROSS JOIN LATERAL (SELECT id FROM audit_event_ids WHERE zone_id = $1 AND id = asked.id LIMIT 1) AS found
