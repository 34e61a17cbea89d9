-- One look into the index for each node (see known.sql).
SELECT asked.level, asked.position, found.hash FROM unnest($2::smallint[], $3::bigint[]) AS asked (level, position)
CROSS JOIN LATERAL (
  SELECT hash FROM audit_tree_nodes WHERE zone_id = $1 AND level = asked.level AND position = asked.position LIMIT 1
) AS found
