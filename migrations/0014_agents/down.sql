ALTER TABLE sessions DROP COLUMN agent_session_id;
DROP TABLE agent_sessions;
