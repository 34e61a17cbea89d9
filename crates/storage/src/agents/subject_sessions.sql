SELECT own.id, own.root_id, own.session_type, own.subject_id, own.expires_at, root.expires_at AS root_expires_at,
  (own.revoked_at IS NOT NULL OR root.revoked_at IS NOT NULL) AS is_revoked
FROM sessions own
JOIN sessions root ON root.zone_id = own.zone_id AND root.id = own.root_id
WHERE own.zone_id = $1 AND own.id = ANY ($2)
