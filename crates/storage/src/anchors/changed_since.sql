SELECT zone_id, kind, value, epoch, expires_at FROM anchors WHERE changed_xid >= $1::text::xid8 AND expires_at > now()
