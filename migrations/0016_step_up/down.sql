DROP TABLE step_up_challenges;
