-- Five wrong responses in any two minutes rest a challenge, so each one's time counts, not only the first one's. Nothing
-- reads failing_since from here on; it stays for replicas of the version before.
ALTER TABLE step_up_challenges ADD COLUMN failed_at timestamptz[] NOT NULL DEFAULT '{}';
