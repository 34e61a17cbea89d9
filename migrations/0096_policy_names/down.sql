ALTER TABLE policy_versions DROP COLUMN names;
