-- The places of the first events of a request: $3 at most, and as many as $4 bytes hold, but for the first.
SELECT seq
FROM (
  SELECT seq, size, sum(size) OVER (ORDER BY occurred_at, seq) AS upto
  FROM (
    SELECT seq, occurred_at, octet_length(canonical) AS size
    FROM audit_ledger
    WHERE zone_id = $1 AND request_id = $2
    ORDER BY occurred_at, seq
    LIMIT $3
  ) AS first
) AS measured
WHERE upto <= $4 OR upto = size
