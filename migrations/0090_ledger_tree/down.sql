DROP TABLE audit_checkpoints;
DROP TABLE ledger_keys;
DROP TABLE audit_tree_nodes;
ALTER TABLE audit_heads DROP COLUMN frontier;
ALTER TABLE audit_event_ids DROP COLUMN leaf_hash;
