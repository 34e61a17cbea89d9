DROP TABLE policy_versions;
DROP TABLE policy_modules;
DROP TABLE policies;
