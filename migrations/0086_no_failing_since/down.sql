ALTER TABLE step_up_challenges ADD COLUMN failing_since timestamptz;
