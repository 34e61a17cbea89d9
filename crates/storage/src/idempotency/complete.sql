UPDATE idempotency_keys SET status = $5, response = $6
WHERE actor = $1 AND route = $2 AND key = $3 AND leased_until = $4 AND status IS NULL
