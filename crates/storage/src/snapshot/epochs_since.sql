SELECT id, epoch, archived_at IS NOT NULL AS archived FROM zones WHERE changed_xid >= $1::text::xid8
