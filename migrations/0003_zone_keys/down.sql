DROP TABLE signing_keys;
DROP TABLE zone_deks;
