WITH RECURSIVE dead AS (
  (
    SELECT id FROM delegation_edges WHERE zone_id = $1 AND source_session_id = ANY ($2) AND revoked_at IS NULL
    UNION
    SELECT id FROM delegation_edges WHERE zone_id = $1 AND target_session_id = ANY ($2) AND revoked_at IS NULL
  )
  UNION
  SELECT child.id FROM dead
  JOIN delegation_edges child ON child.zone_id = $1 AND child.parent_edge_id = dead.id AND child.revoked_at IS NULL
)
UPDATE delegation_edges
SET revoked_at = now(), revoked_reason = $3, edge_version = edge_version + 1
FROM dead
WHERE delegation_edges.zone_id = $1 AND delegation_edges.id = dead.id
  AND delegation_edges.revoked_at IS NULL AND delegation_edges.expires_at > now()
RETURNING delegation_edges.id, delegation_edges.expires_at
