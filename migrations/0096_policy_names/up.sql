-- The texts of a policy that may name an application: read off its syntax tree when it is compiled. NULL where that was
-- before this column was; the source is searched for those.
ALTER TABLE policy_versions ADD COLUMN names text[];
