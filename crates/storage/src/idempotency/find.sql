SELECT body_hmac, status, response FROM idempotency_keys WHERE actor = $1 AND route = $2 AND key = $3
