UPDATE zones SET previous_epoch = epoch, epoch = nextval('zone_epoch_seq'), changed_xid = pg_current_xact_id()
WHERE id = $1
RETURNING previous_epoch AS previous, epoch, archived_at IS NOT NULL AS is_archived, is_system
