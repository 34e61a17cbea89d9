-- One value of 24 bytes a zone, which costs a fraction of the zones themselves. The subquery's order is that of the value.
SELECT coalesce(string_agg(uuid_send(id) || int8send(version), ''), '') AS stamps FROM (
  SELECT id, version FROM zones
  WHERE archived_at IS NULL AND created_at >= $1 AND (created_at > $1 OR id > $2)
  ORDER BY created_at, id LIMIT $3
) page
