-- A large installation, quickly: triggers and foreign keys are not asked, so this is for measuring alone. A fifth of
-- everything is in the first zone, `pg_temp.fill('zone', 1)`. The caller sets large.zones, large.applications and
-- large.events.
SET session_replication_role = replica;
SET synchronous_commit = off;

CREATE FUNCTION pg_temp.fill(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
  RETURN md5('caracal-large-' || kind || n)::uuid;
CREATE FUNCTION pg_temp.zones() RETURNS bigint LANGUAGE sql STABLE
  RETURN current_setting('large.zones')::bigint;
CREATE FUNCTION pg_temp.many() RETURNS bigint LANGUAGE sql STABLE
  RETURN current_setting('large.applications')::bigint;
CREATE FUNCTION pg_temp.zone_of(n bigint) RETURNS uuid LANGUAGE sql STABLE
  RETURN pg_temp.fill('zone', CASE WHEN n % 5 = 0 THEN 1 ELSE 1 + n % current_setting('large.zones')::bigint END);
-- Rows came one after the other, over the last year and a bit.
CREATE FUNCTION pg_temp.made(n bigint) RETURNS timestamptz LANGUAGE sql STABLE
  RETURN now() - interval '400 days' + n * interval '10 seconds';

INSERT INTO zones (id, org_id, name, slug, created_at)
SELECT pg_temp.fill('zone', n), 'large', 'Large ' || n, 'large-' || n, pg_temp.made(n)
FROM generate_series(1, pg_temp.zones()) n;

INSERT INTO applications (zone_id, id, name, registration_method, credential_type, expires_at, created_at, archived_at)
SELECT pg_temp.zone_of(n), pg_temp.fill('application', n), 'application ' || n,
  CASE WHEN n % 100 = 5 THEN 'dcr' ELSE 'managed' END, 'public',
  CASE WHEN n % 100 = 5 THEN now() + interval '1 day' END,
  pg_temp.made(n), CASE WHEN n % 7 = 0 THEN now() END
FROM generate_series(1, pg_temp.many()) n;

INSERT INTO providers (zone_id, id, name, identifier, kind, created_at, archived_at)
SELECT pg_temp.zone_of(n), pg_temp.fill('provider', n), 'provider ' || n, 'provider://' || n, 'workload', pg_temp.made(n),
  CASE WHEN n % 7 = 0 THEN now() END
FROM generate_series(1, pg_temp.many() / 10) n;

INSERT INTO resources (zone_id, id, name, identifier, scopes, auth_mode, created_at, archived_at)
SELECT pg_temp.zone_of(n), pg_temp.fill('resource', n), 'resource ' || n, 'resource://' || n, '{read}', 'none',
  pg_temp.made(n), CASE WHEN n % 7 = 0 THEN now() END
FROM generate_series(1, pg_temp.many() / 5) n;

INSERT INTO subject_issuers (zone_id, id, issuer, audience, subject_prefix, created_at)
SELECT pg_temp.fill('zone', n), pg_temp.fill('subject issuer', n), 'https://issuer.example/' || n, 'a', 'p', pg_temp.made(n)
FROM generate_series(1, pg_temp.zones()) n;

INSERT INTO policies (zone_id, id, name, created_by, created_at, archived_at)
SELECT pg_temp.zone_of(n), pg_temp.fill('policy', n), 'policy ' || n, 'large', pg_temp.made(n),
  CASE WHEN n % 7 = 0 THEN now() END
FROM generate_series(1, pg_temp.many() / 5) n;

INSERT INTO policy_versions (zone_id, id, policy_id, version, content, content_sha256, schema_version, module, created_by,
  created_at)
SELECT pg_temp.zone_of(n), pg_temp.fill('policy version', n), pg_temp.fill('policy', n), 1, 'x',
  encode(sha256('x'), 'hex'), '2026-03-16', repeat('0', 64), 'large', pg_temp.made(n)
FROM generate_series(1, pg_temp.many() / 5) n;

INSERT INTO policy_sets (zone_id, id, name, created_by, created_at, archived_at)
SELECT pg_temp.zone_of(n), pg_temp.fill('policy set', n), 'set ' || n, 'large', pg_temp.made(n),
  CASE WHEN n % 7 = 0 THEN now() END
FROM generate_series(1, pg_temp.many() / 10) n;

INSERT INTO policy_set_versions (zone_id, id, policy_set_id, version, manifest_sha256, schema_version, created_by, created_at)
SELECT pg_temp.zone_of(n), pg_temp.fill('set version', n), pg_temp.fill('policy set', n), 1, repeat('0', 64), '2026-03-16',
  'large', pg_temp.made(n)
FROM generate_series(1, pg_temp.many() / 10) n;

INSERT INTO policy_set_manifest (zone_id, policy_set_version_id, position, policy_version_id)
SELECT pg_temp.zone_of(n), pg_temp.fill('set version', n), 0, pg_temp.fill('policy version', n)
FROM generate_series(1, pg_temp.many() / 10) n;

-- Most are revoked; a few applications, users and resources have many.
INSERT INTO grants (zone_id, id, application_id, user_id, resource_id, scopes, created_by, created_at, revoked_at)
SELECT pg_temp.zone_of(n), pg_temp.fill('grant', n), pg_temp.fill('application', n - n % 400), 'user ' || n % 2003,
  pg_temp.fill('resource', n % 1000), '{read}', 'large', pg_temp.made(n), CASE WHEN n % 50 <> 0 THEN now() END
FROM generate_series(1, pg_temp.many() / 2) n;

INSERT INTO sessions (zone_id, id, session_type, subject_id, application_id, root_id, authenticated_at, expires_at, created_at,
  revoked_at)
SELECT pg_temp.zone_of(n), pg_temp.fill('session', n), 'user', 'user ' || n % 2003, pg_temp.fill('application', n - n % 400),
  pg_temp.fill('session', n), pg_temp.made(n), pg_temp.made(n) + interval '1 hour', pg_temp.made(n),
  CASE WHEN n % 50 = 0 AND n < pg_temp.many() / 4 THEN now() END
FROM generate_series(1, pg_temp.many()) n;

-- Each delegates to the next.
INSERT INTO agent_sessions (zone_id, id, application_id, session_id, root_id, depth, lifecycle, status, ttl_seconds,
  created_at, expires_at, ended_at)
SELECT pg_temp.zone_of(n), pg_temp.fill('agent', n), pg_temp.fill('application', n - n % 400), pg_temp.fill('session', n),
  pg_temp.fill('agent', n), 0, 'task', 'terminated', 3600, pg_temp.made(n), pg_temp.made(n) + interval '1 hour',
  pg_temp.made(n) + interval '1 hour'
FROM generate_series(1, pg_temp.many() / 2) n;

INSERT INTO delegation_edges (zone_id, id, source_session_id, target_session_id, issuer_application_id,
  receiver_application_id, path, scopes, constraints_json, max_hops, graph_epoch, expires_at)
SELECT pg_temp.zone_of(n), pg_temp.fill('edge', n), pg_temp.fill('agent', n), pg_temp.fill('agent', n + 5),
  pg_temp.fill('application', n - n % 400), pg_temp.fill('application', n - n % 400), ARRAY[pg_temp.fill('edge', n)],
  '{read}', '{}', 1, 1, pg_temp.made(n) + interval '1 hour'
FROM generate_series(1, pg_temp.many() / 2 - 5) n;

INSERT INTO step_up_challenges (zone_id, id, application_id, challenge_type, resources, scopes, secret_sha256, created_at,
  expires_at)
SELECT pg_temp.zone_of(n), pg_temp.fill('challenge', n), pg_temp.fill('application', n - n % 400), 'mfa', '{resource://1}',
  '{read}', sha256('x'), pg_temp.made(n), pg_temp.made(n) + interval '5 minutes'
FROM generate_series(1, pg_temp.many() / 10) n;

INSERT INTO provider_connections (zone_id, id, user_id, resource_id, provider_id, tokens_key_id, tokens_sealed, created_at,
  revoked_at, lapsed_at)
SELECT pg_temp.zone_of(n), pg_temp.fill('connection', n), 'user ' || n % 2003, pg_temp.fill('resource', n % 1000),
  pg_temp.fill('provider', n % 500), 'k', 'x', pg_temp.made(n), CASE WHEN n % 50 <> 0 THEN now() END,
  CASE WHEN n % 100 = 0 THEN now() END
FROM generate_series(1, pg_temp.many() / 5) n;

INSERT INTO admin_tokens (id, scope, zone_id, token_sha256, created_by, created_at, revoked_at)
SELECT pg_temp.fill('token', n), 'zone', pg_temp.zone_of(n), sha256(n::text::bytea), 'large', pg_temp.made(n),
  CASE WHEN n % 10 <> 0 THEN now() END
FROM generate_series(1, pg_temp.many() / 5) n;

INSERT INTO invitations (zone_id, id, email, role, token_sha256, created_by, created_at, expires_at, revoked_at)
SELECT pg_temp.zone_of(n), pg_temp.fill('invitation', n), 'u' || n || '@example.com', 'viewer', sha256(n::text::bytea), 'large',
  pg_temp.made(n), pg_temp.made(n) + interval '7 days', CASE WHEN n % 50 <> 0 THEN now() END
FROM generate_series(1, pg_temp.many() / 5) n;

-- As the audit service writes them, chain and hashes apart.
INSERT INTO audit_event_ids (zone_id, id, seq, leaf_hash)
SELECT pg_temp.zone_of(n), pg_temp.fill('event', n), n, sha256('x') FROM generate_series(1, current_setting('large.events')::bigint) n;

INSERT INTO audit_tree_nodes (zone_id, level, position, hash)
SELECT pg_temp.fill('zone', 1), 1, n, sha256('x') FROM generate_series(0, current_setting('large.events')::bigint / 10) n;

INSERT INTO audit_events (zone_id, seq, id, event_type, request_id, decision, evaluation_status, reason,
  determining_policies_json, diagnostics_json, metadata_json, application_id, session_id, agent_session_id, resource, labels,
  occurred_at, canonical, previous_hash, hash)
SELECT pg_temp.zone_of(n), n, pg_temp.fill('event', n),
  CASE WHEN n % 1000 = 5 THEN 'admin.zone.update' ELSE 'token.issued' END, 'request-' || n,
  CASE WHEN n % 1000 = 10 THEN 'deny' ELSE 'allow' END, 'complete', NULL,
  '["all"]', '[]', jsonb_build_object('application_id', pg_temp.fill('application', n - n % 400), 'scopes', '["read"]'::jsonb)
    || CASE WHEN n % 1000 = 20 THEN '{"resources": ["resource://other", "resource://several"]}' ELSE '{}' END::jsonb,
  pg_temp.fill('application', n - n % 4000), pg_temp.fill('session', n - n % 4000),
  CASE WHEN n % 1000 = 15 THEN pg_temp.fill('agent', n % 20) END,
  'resource://' || n % 1000, CASE WHEN n % 1000 = 15 THEN ARRAY['rare'] ELSE '{}' END,
  now() - interval '20 days' + n * interval '1 second', 'x', sha256('x'), sha256('x')
FROM generate_series(1, current_setting('large.events')::bigint) n;

INSERT INTO audit_heads (zone_id, seq, hash)
SELECT pg_temp.fill('zone', 1), current_setting('large.events')::bigint, sha256('x');

SET session_replication_role = origin;
ANALYZE;
