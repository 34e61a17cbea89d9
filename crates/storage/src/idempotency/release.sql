DELETE FROM idempotency_keys
WHERE actor = $1 AND route = $2 AND key = $3 AND leased_until = $4 AND status IS NULL
