DROP TABLE used_assertions;
DROP TABLE idempotency_keys;
