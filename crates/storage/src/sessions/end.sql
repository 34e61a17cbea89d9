WITH RECURSIVE ended AS (
  (
    SELECT id, root_id FROM sessions
    WHERE zone_id = $1 AND id = $2 AND revoked_at IS NULL AND expires_at > now()
    UNION
    SELECT id, root_id FROM sessions
    WHERE zone_id = $1 AND subject_id = $3 AND revoked_at IS NULL AND expires_at > now()
    UNION
    SELECT id, root_id FROM sessions
    WHERE zone_id = $1 AND application_id = $4 AND revoked_at IS NULL AND expires_at > now()
  )
  UNION
  SELECT below.id, below.root_id FROM ended
  JOIN sessions below ON below.zone_id = $1 AND below.root_id = ended.root_id AND below.parent_id = ended.id
    AND below.revoked_at IS NULL AND below.expires_at > now()
)
UPDATE sessions
SET revoked_at = now(), revoked_reason = $5
FROM ended
WHERE sessions.zone_id = $1 AND sessions.id = ended.id AND sessions.revoked_at IS NULL
RETURNING sessions.id, sessions.subject_id, sessions.application_id, sessions.expires_at,
  sessions.root_id = sessions.id AND EXISTS (
    SELECT FROM agent_sessions WHERE agent_sessions.zone_id = $1 AND agent_sessions.session_id = sessions.id
  ) AS is_trunk
