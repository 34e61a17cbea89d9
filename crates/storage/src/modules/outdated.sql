WITH active AS (
  SELECT DISTINCT ON (version.module) version.module, version.content, version.zone_id
  FROM zone_activations AS activation
  JOIN policy_set_manifest AS line ON line.zone_id = activation.zone_id
    AND line.policy_set_version_id IN (activation.active_version_id, activation.shadow_version_id)
  JOIN policy_versions AS version ON version.zone_id = line.zone_id AND version.id = line.policy_version_id
  WHERE version.module > $2
  ORDER BY version.module
)
SELECT active.module, active.content, active.zone_id
FROM active
LEFT JOIN policy_module_successors AS newer ON newer.module = active.module
JOIN policy_modules AS current ON current.name = coalesce(newer.successor, active.module)
WHERE string_to_array(substring(current.opa_version FROM '^\d+\.\d+\.\d+'), '.')::int[]
  < string_to_array(substring($1 FROM '^\d+\.\d+\.\d+'), '.')::int[]
ORDER BY active.module
LIMIT $3
