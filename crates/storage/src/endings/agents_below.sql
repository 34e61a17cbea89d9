WITH RECURSIVE below AS (
  SELECT id FROM agent_sessions WHERE zone_id = $1 AND session_id = ANY ($2) AND ended_at IS NULL
  UNION
  SELECT child.id FROM below
  JOIN agent_sessions child ON child.zone_id = $1 AND child.parent_id = below.id AND child.ended_at IS NULL
)
SELECT agent_sessions.id, agent_sessions.expires_at FROM below
JOIN agent_sessions ON agent_sessions.zone_id = $1 AND agent_sessions.id = below.id
