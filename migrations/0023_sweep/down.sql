DROP FUNCTION caracal_sweep(integer);
DROP INDEX oauth_states_expiring;
DROP INDEX step_up_challenges_expiring;
