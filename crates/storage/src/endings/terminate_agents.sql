WITH RECURSIVE doomed AS (
  (
    SELECT id FROM agent_sessions WHERE zone_id = $1 AND application_id = $2 AND ended_at IS NULL
    UNION
    SELECT agent_sessions.id FROM sessions
    JOIN agent_sessions ON agent_sessions.zone_id = sessions.zone_id AND agent_sessions.session_id = sessions.id
    WHERE sessions.zone_id = $1 AND sessions.subject_id = $3 AND agent_sessions.ended_at IS NULL
    UNION
    SELECT id FROM agent_sessions WHERE zone_id = $1 AND session_id = ANY ($5) AND ended_at IS NULL
  )
  UNION
  SELECT child.id FROM doomed
  JOIN agent_sessions child ON child.zone_id = $1 AND child.parent_id = doomed.id AND child.ended_at IS NULL
)
UPDATE agent_sessions
SET status = 'terminated', ended_at = now(), end_reason = $4, updated_at = now(), version = version + 1
FROM doomed
WHERE agent_sessions.zone_id = $1 AND agent_sessions.id = doomed.id AND agent_sessions.ended_at IS NULL
RETURNING agent_sessions.id, agent_sessions.expires_at
