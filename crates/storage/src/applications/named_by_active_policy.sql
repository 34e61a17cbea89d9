SELECT EXISTS (
  SELECT FROM zone_activations
  JOIN policy_set_manifest ON policy_set_manifest.zone_id = zone_activations.zone_id
    AND policy_set_manifest.policy_set_version_id = zone_activations.active_version_id
  JOIN policy_versions ON policy_versions.zone_id = policy_set_manifest.zone_id
    AND policy_versions.id = policy_set_manifest.policy_version_id
  WHERE zone_activations.zone_id = $1
    AND CASE
      WHEN policy_versions.names IS NULL THEN
        position($2 IN policy_versions.content) > 0 OR position($3 IN policy_versions.content) > 0
      ELSE policy_versions.names && ARRAY[$2, $4]
    END
) AS found
