WITH counted AS (
  SELECT zone_id, id,
    CASE WHEN failing_since > now() - interval '2 minutes' THEN failures + 1 ELSE 1 END AS failures,
    CASE WHEN failing_since > now() - interval '2 minutes' THEN failing_since ELSE now() END AS failing_since
  FROM step_up_challenges WHERE zone_id = $1 AND id = $2
  FOR UPDATE
)
UPDATE step_up_challenges SET
  failures = counted.failures,
  failing_since = CASE WHEN counted.failures >= $3 THEN NULL ELSE counted.failing_since END,
  rests_until = CASE WHEN counted.failures >= $3 THEN now() + interval '5 minutes'
    ELSE step_up_challenges.rests_until END
FROM counted
WHERE step_up_challenges.zone_id = counted.zone_id AND step_up_challenges.id = counted.id
RETURNING counted.failures >= $3 AS rests
