WITH counted AS (
  SELECT zone_id, id,
    ARRAY(SELECT at FROM unnest(failed_at) AS at WHERE at > now() - interval '2 minutes') || now() AS recent
  FROM step_up_challenges WHERE zone_id = $1 AND id = $2
  FOR UPDATE
)
UPDATE step_up_challenges SET
  failures = cardinality(counted.recent),
  failed_at = CASE WHEN cardinality(counted.recent) >= $3 THEN '{}' ELSE counted.recent END,
  rests_until = CASE WHEN cardinality(counted.recent) >= $3 THEN now() + interval '5 minutes'
    ELSE step_up_challenges.rests_until END
FROM counted
WHERE step_up_challenges.zone_id = counted.zone_id AND step_up_challenges.id = counted.id
RETURNING cardinality(counted.recent) >= $3 AS rests
