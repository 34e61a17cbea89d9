-- What the filters of lists need, so that a page costs the same among ten rows and among a million: each index ends with
-- the order of its list, so a page is read from where it begins and no further.
CREATE INDEX grants_of_application ON grants (zone_id, application_id, created_at, id);
CREATE INDEX grants_of_user ON grants (zone_id, user_id, created_at, id);
CREATE INDEX grants_of_resource ON grants (zone_id, resource_id, created_at, id);
CREATE INDEX grants_active ON grants (zone_id, created_at, id) WHERE revoked_at IS NULL;
CREATE INDEX grants_revoked ON grants (zone_id, created_at, id) WHERE revoked_at IS NOT NULL;

CREATE INDEX provider_connections_of_user ON provider_connections (zone_id, user_id, created_at, id);
CREATE INDEX provider_connections_of_resource ON provider_connections (zone_id, resource_id, created_at, id);
CREATE INDEX provider_connections_of_provider ON provider_connections (zone_id, provider_id, created_at, id);
CREATE INDEX provider_connections_active ON provider_connections (zone_id, created_at, id) WHERE revoked_at IS NULL;
CREATE INDEX provider_connections_revoked ON provider_connections (zone_id, created_at, id) WHERE revoked_at IS NOT NULL;

-- Writing a new session costs none of it.
CREATE INDEX sessions_revoked ON sessions (zone_id, created_at DESC, id DESC) WHERE revoked_at IS NOT NULL;

CREATE INDEX invitations_not_taken_back ON invitations (zone_id, created_at, id) WHERE revoked_at IS NULL;
