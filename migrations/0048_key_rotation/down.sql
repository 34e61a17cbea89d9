DROP INDEX signing_keys_leaving;
DROP INDEX signing_keys_due;
