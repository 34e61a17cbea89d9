DROP TABLE subject_issuers;
