-- Five wrong responses in two minutes rest a challenge for five. The poll knows a challenge by its id alone.
ALTER TABLE step_up_challenges ADD COLUMN failing_since timestamptz;
ALTER TABLE step_up_challenges ADD COLUMN rests_until timestamptz;
CREATE UNIQUE INDEX step_up_challenges_id ON step_up_challenges (id);
