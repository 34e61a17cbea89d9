-- Of wrong responses at once each waits for the one before it; once the challenge rests, no more of them count.
WITH counted AS (
  SELECT zone_id, id, coalesce(rests_until > $4, false) AS rested,
    ARRAY(SELECT at FROM unnest(failed_at) AS at WHERE at > $4 - interval '2 minutes') || $4 AS recent
  FROM step_up_challenges WHERE zone_id = $1 AND id = $2
  FOR UPDATE
)
UPDATE step_up_challenges SET
  failures = CASE WHEN rested THEN failures ELSE cardinality(recent) END,
  failed_at = CASE WHEN rested THEN failed_at WHEN cardinality(recent) >= $3 THEN '{}' ELSE recent END,
  rests_until = CASE WHEN NOT rested AND cardinality(recent) >= $3 THEN $4 + interval '5 minutes' ELSE rests_until END
FROM counted
WHERE step_up_challenges.zone_id = counted.zone_id AND step_up_challenges.id = counted.id
RETURNING rested, NOT rested AND cardinality(recent) >= $3 AS rests, rests_until
