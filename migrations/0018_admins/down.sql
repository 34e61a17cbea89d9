DROP TABLE invitations;
DROP TABLE admin_tokens;
