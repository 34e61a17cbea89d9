DROP TRIGGER sessions_subject_blocked ON sessions;
DROP FUNCTION caracal_refuse_blocked_subject();
DROP TABLE subject_blocks;
