SELECT EXISTS (
  SELECT FROM zone_activations active
  JOIN policy_set_manifest line
    ON line.zone_id = active.zone_id AND line.policy_set_version_id = active.active_version_id
  JOIN policy_versions version ON version.zone_id = line.zone_id AND version.id = line.policy_version_id
  WHERE active.zone_id = $1
    AND EXISTS (SELECT FROM unnest($2) AS quoted (name) WHERE position(quoted.name IN version.content) > 0)
) AS found
