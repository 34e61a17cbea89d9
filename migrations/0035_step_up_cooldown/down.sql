DROP INDEX step_up_challenges_id;
ALTER TABLE step_up_challenges DROP COLUMN rests_until;
ALTER TABLE step_up_challenges DROP COLUMN failing_since;
