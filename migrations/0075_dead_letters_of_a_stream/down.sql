ALTER TABLE audit_dead_letters DROP CONSTRAINT audit_dead_letters_once;
-- Of letters that would be one again, the newest stays.
DELETE FROM audit_dead_letters AS older USING audit_dead_letters AS newer
WHERE older.stream = newer.stream AND older.stream_sequence = newer.stream_sequence
  AND older.stream_created_at < newer.stream_created_at;
ALTER TABLE audit_dead_letters ADD CONSTRAINT audit_dead_letters_once UNIQUE (stream, stream_sequence);
ALTER TABLE audit_dead_letters DROP COLUMN stream_created_at;
