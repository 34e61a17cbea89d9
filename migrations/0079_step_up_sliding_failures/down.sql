ALTER TABLE step_up_challenges DROP COLUMN failed_at;
