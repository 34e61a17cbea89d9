WITH batch AS (
  SELECT * FROM unnest(
    $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::uuid[], $10::uuid[],
    $11::text[], $12::jsonb[], $13::jsonb[], $14::jsonb[], $15::uuid[], $16::uuid[], $17::uuid[], $18::text[],
    $19::jsonb[], $20::timestamptz[], $21::bytea[], $22::bytea[], $23::bytea[], $24::bytea[]
  ) AS batch (
    seq, id, event_type, request_id, decision, evaluation_status, reason, policy_set_id, policy_set_version_id,
    manifest_sha, determining_policies_json, diagnostics_json, metadata_json, application_id, session_id,
    agent_session_id, resource, labels, occurred_at, canonical, previous_hash, hash, leaf_hash
  )
), known AS (
  INSERT INTO audit_event_ids (zone_id, id, seq, leaf_hash) SELECT $1, id, seq, leaf_hash FROM batch
)
INSERT INTO audit_events (
  zone_id, seq, id, event_type, request_id, decision, evaluation_status, reason, policy_set_id, policy_set_version_id,
  manifest_sha, determining_policies_json, diagnostics_json, metadata_json, application_id, session_id,
  agent_session_id, resource, labels, occurred_at, canonical, previous_hash, hash
)
SELECT
  $1, seq, id, event_type, request_id, decision, evaluation_status, reason, policy_set_id, policy_set_version_id,
  manifest_sha, determining_policies_json, diagnostics_json, metadata_json, application_id, session_id,
  agent_session_id, resource, ARRAY(SELECT jsonb_array_elements_text(labels)), occurred_at, canonical, previous_hash,
  hash
FROM batch
