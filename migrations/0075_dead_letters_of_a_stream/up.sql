-- A stream that was lost and made again counts from one: its letters are others than those of the same number before.
ALTER TABLE audit_dead_letters ADD COLUMN stream_created_at timestamptz NOT NULL DEFAULT 'epoch';
ALTER TABLE audit_dead_letters DROP CONSTRAINT audit_dead_letters_once;
ALTER TABLE audit_dead_letters
  ADD CONSTRAINT audit_dead_letters_once UNIQUE (stream, stream_created_at, stream_sequence);
