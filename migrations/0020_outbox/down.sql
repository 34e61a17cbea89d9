DROP TABLE event_spool;
DROP TABLE outbox;
DROP FUNCTION caracal_wake_relay();
