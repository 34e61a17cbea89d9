-- A token of an outside issuer must lead to one prefix: two rows that accept the same token would be two identities.
CREATE UNIQUE INDEX subject_issuers_token_live ON subject_issuers (zone_id, issuer, audience) WHERE archived_at IS NULL;
