SELECT EXISTS (
  SELECT FROM outbox WHERE published_at IS NULL AND pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
) AS pending
