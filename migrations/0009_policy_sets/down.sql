DROP TABLE policy_set_manifest;
DROP TABLE policy_set_versions;
DROP TABLE policy_sets;
