-- Nothing has read it since each wrong response's time counts (0079); it stayed for replicas of the version before that.
ALTER TABLE step_up_challenges DROP COLUMN failing_since;
