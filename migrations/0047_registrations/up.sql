-- What the rules of self-registration count: those of the last second, archived ones included, and those that live.
CREATE INDEX applications_registered ON applications (zone_id, created_at) WHERE registration_method = 'dcr';
CREATE INDEX applications_registered_live ON applications (zone_id, expires_at)
  WHERE archived_at IS NULL AND expires_at IS NOT NULL;
