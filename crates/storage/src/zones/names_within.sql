SELECT name FROM (
  SELECT name FROM applications WHERE zone_id = $1 AND archived_at IS NULL
  UNION ALL SELECT unnest(traits) FROM applications WHERE zone_id = $1 AND archived_at IS NULL
  UNION ALL SELECT unnest(ARRAY[name, identifier]) FROM resources WHERE zone_id = $1 AND archived_at IS NULL
  UNION ALL SELECT unnest(ARRAY[name, identifier]) FROM providers WHERE zone_id = $1 AND archived_at IS NULL
  UNION ALL SELECT name FROM policies WHERE zone_id = $1 AND archived_at IS NULL
  UNION ALL SELECT name FROM policy_sets WHERE zone_id = $1 AND archived_at IS NULL
  UNION ALL SELECT subject_prefix FROM subject_issuers WHERE zone_id = $1 AND archived_at IS NULL
) AS named (name)
WHERE position($2 IN lower(name)) > 0
