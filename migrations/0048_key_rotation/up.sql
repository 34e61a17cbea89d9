-- What the keeper of signing keys looks for: a `next` key whose time to sign is set, and keys that leave the JWKS.
CREATE INDEX signing_keys_due ON signing_keys (activates_at) WHERE status = 'next' AND activates_at IS NOT NULL;
CREATE INDEX signing_keys_leaving ON signing_keys (retires_at) WHERE status = 'retiring';
