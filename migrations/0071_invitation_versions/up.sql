-- The ETag of an invitation, as every other object has one.
ALTER TABLE invitations ADD COLUMN version bigint NOT NULL DEFAULT 1;
