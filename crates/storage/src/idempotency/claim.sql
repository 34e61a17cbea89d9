INSERT INTO idempotency_keys AS held (actor, route, key, zone_id, body_hmac, leased_until, expires_at)
VALUES ($1, $2, $3, $4, $5, now() + interval '1 minute', now() + interval '24 hours')
ON CONFLICT (actor, route, key) DO UPDATE SET
  zone_id = excluded.zone_id, body_hmac = excluded.body_hmac, leased_until = excluded.leased_until,
  status = NULL, response = NULL, created_at = now(), expires_at = excluded.expires_at
WHERE held.expires_at <= now() OR (held.status IS NULL AND held.leased_until <= now())
RETURNING leased_until
