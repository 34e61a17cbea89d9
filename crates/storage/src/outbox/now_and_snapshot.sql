-- now() is the start of the transaction, before its snapshot is taken: whatever committed by then is in the snapshot.
-- clock_timestamp() would promise more than the snapshot holds.
SELECT now() AS now, pg_current_snapshot()::text AS snapshot
