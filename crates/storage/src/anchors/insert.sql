INSERT INTO anchors (zone_id, kind, value, epoch, expires_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (zone_id, kind, value) DO UPDATE SET
  epoch = greatest(anchors.epoch, excluded.epoch),
  expires_at = greatest(anchors.expires_at, excluded.expires_at),
  changed_xid = pg_current_xact_id()
