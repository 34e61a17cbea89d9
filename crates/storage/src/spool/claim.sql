WITH due AS (
  SELECT zone_id, id FROM event_spool
  WHERE claimed_until IS NULL OR claimed_until < now()
  ORDER BY created_at, id
  LIMIT $2
  FOR UPDATE SKIP LOCKED
), claimed AS (
  UPDATE event_spool SET claimed_by = $1, claimed_until = now() + $3 * interval '1 millisecond'
  FROM due
  WHERE event_spool.zone_id = due.zone_id AND event_spool.id = due.id
  RETURNING event_spool.created_at, event_spool.id, event_spool.subject, event_spool.payload, event_spool.traceparent
)
SELECT id, subject, payload, traceparent FROM claimed ORDER BY created_at, id
