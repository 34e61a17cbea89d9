WITH due AS (
  SELECT zone_id, created_at, id FROM outbox
  WHERE published_at IS NULL AND (claimed_until IS NULL OR claimed_until < now())
  ORDER BY created_at, id
  LIMIT $2
  FOR UPDATE SKIP LOCKED
), claimed AS (
  UPDATE outbox SET claimed_by = $1, claimed_until = now() + $3 * interval '1 millisecond'
  FROM due
  WHERE outbox.zone_id = due.zone_id AND outbox.created_at = due.created_at AND outbox.id = due.id
  RETURNING outbox.created_at, outbox.id, outbox.subject, outbox.payload, outbox.traceparent
)
SELECT id, subject, payload, traceparent FROM claimed ORDER BY created_at, id
