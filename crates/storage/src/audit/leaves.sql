-- A leaf's number is one less than the event's. One look into the index for each (see known.sql).
SELECT 0::smallint AS level, asked.position, found.leaf_hash AS hash FROM unnest($2::bigint[]) AS asked (position)
CROSS JOIN LATERAL (
  SELECT leaf_hash FROM audit_event_ids WHERE zone_id = $1 AND seq = asked.position + 1 LIMIT 1
) AS found
