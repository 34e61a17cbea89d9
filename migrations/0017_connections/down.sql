DROP TABLE oauth_states;
DROP TABLE provider_connections;
