DROP TRIGGER sessions_subject_cut_off ON sessions;
DROP FUNCTION caracal_refuse_cut_off_session();
ALTER TABLE sessions DROP COLUMN epoch;
