ALTER TABLE invitations DROP COLUMN version;
