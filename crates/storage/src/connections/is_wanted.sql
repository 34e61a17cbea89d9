SELECT EXISTS (
  SELECT FROM oauth_states begun
  JOIN zones ON zones.id = begun.zone_id AND zones.archived_at IS NULL
  JOIN providers ON providers.zone_id = begun.zone_id AND providers.id = begun.provider_id
    AND providers.archived_at IS NULL AND providers.version = begun.provider_version
  JOIN resources ON resources.zone_id = begun.zone_id AND resources.id = begun.resource_id
    AND resources.archived_at IS NULL AND resources.credential_provider_id = begun.provider_id
  WHERE begun.zone_id = $1 AND begun.state_sha256 = $2
    AND NOT EXISTS (
      SELECT FROM subject_blocks
      WHERE subject_blocks.zone_id = begun.zone_id AND subject_blocks.subject_id = begun.user_id
        AND subject_blocks.blocked_until > clock_timestamp()
    )
) AS wanted
