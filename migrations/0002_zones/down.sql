DROP TABLE zones;
DROP SEQUENCE zone_epoch_seq;
