//! The tables as diesel's DSL sees them: only those, and only the columns, that a query here names. `migrations/` is
//! the truth; `tests/it` compares the two.

use diesel::{allow_tables_to_appear_in_same_query, table};

table! {
    zones (id) {
        id -> Uuid, org_id -> Text, name -> Text, slug -> Text, dcr_enabled -> Bool, pkce_required -> Bool,
        login_flow -> Text, is_system -> Bool, mint_rate_per_minute -> Integer, epoch -> BigInt, version -> BigInt,
        created_at -> Timestamptz, updated_at -> Timestamptz, archived_at -> Nullable<Timestamptz>,
    }
}

table! {
    zone_deks (zone_id, generation) {
        zone_id -> Uuid, generation -> Integer, kek_id -> Text, sealed -> Binary,
    }
}

table! {
    signing_keys (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, status -> Text, public_point -> Binary, private_key_id -> Text,
        private_sealed -> Binary, created_at -> Timestamptz, activates_at -> Nullable<Timestamptz>,
        retires_at -> Nullable<Timestamptz>,
    }
}

table! {
    applications (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, name -> Text, registration_method -> Text, credential_type -> Text,
        secret_hash -> Nullable<Text>, jwks -> Nullable<Jsonb>, jwks_uri -> Nullable<Text>, traits -> Array<Text>,
        consent -> Text, redirect_uris -> Array<Text>, expires_at -> Nullable<Timestamptz>, version -> BigInt,
        created_at -> Timestamptz, updated_at -> Timestamptz, archived_at -> Nullable<Timestamptz>,
    }
}

table! {
    providers (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, name -> Text, identifier -> Text, kind -> Text, owner_type -> Text,
        config_json -> Jsonb, secrets_key_id -> Nullable<Text>, secrets_sealed -> Nullable<Binary>,
        secret_config_keys -> Array<Text>, version -> BigInt, created_at -> Timestamptz, updated_at -> Timestamptz,
        archived_at -> Nullable<Timestamptz>,
    }
}

table! {
    resources (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, name -> Text, identifier -> Text, prefix -> Bool, scopes -> Array<Text>,
        upstream_url -> Nullable<Text>, credential_provider_id -> Nullable<Uuid>, auth_mode -> Text,
        operations -> Jsonb, forward_headers -> Array<Text>, version -> BigInt, created_at -> Timestamptz,
        updated_at -> Timestamptz, archived_at -> Nullable<Timestamptz>,
    }
}

table! {
    used_assertions (zone_id, application_id, jti) {
        zone_id -> Uuid, application_id -> Uuid, jti -> Text, expires_at -> Timestamptz,
    }
}

table! {
    policies (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, name -> Text, description -> Nullable<Text>, owner_type -> Text,
        created_by -> Text, version -> BigInt, created_at -> Timestamptz, updated_at -> Timestamptz,
        archived_at -> Nullable<Timestamptz>,
    }
}

table! {
    policy_modules (name) {
        name -> Text, wasm -> Binary, wasm_sha256 -> Text, opa_version -> Text,
    }
}

table! {
    policy_module_successors (module) {
        module -> Text, successor -> Text, compiled_at -> Timestamptz,
    }
}

table! {
    policy_versions (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, policy_id -> Uuid, version -> Integer, content -> Text, content_sha256 -> Text,
        schema_version -> Text, module -> Text, created_by -> Text, created_at -> Timestamptz,
        names -> Nullable<Array<Text>>,
    }
}

table! {
    policy_sets (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, name -> Text, description -> Nullable<Text>, created_by -> Text,
        version -> BigInt, created_at -> Timestamptz, updated_at -> Timestamptz,
        archived_at -> Nullable<Timestamptz>,
    }
}

table! {
    policy_set_versions (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, policy_set_id -> Uuid, version -> Integer, manifest_sha256 -> Text,
        schema_version -> Text, created_by -> Text, created_at -> Timestamptz,
    }
}

table! {
    policy_set_manifest (zone_id, policy_set_version_id, position) {
        zone_id -> Uuid, policy_set_version_id -> Uuid, position -> Integer, policy_version_id -> Uuid,
    }
}

table! {
    zone_activations (zone_id) {
        zone_id -> Uuid, policy_set_id -> Uuid, active_version_id -> Uuid, shadow_version_id -> Nullable<Uuid>,
        outbox_id -> Uuid, epoch -> BigInt, activated_by -> Text, activated_at -> Timestamptz,
    }
}

table! {
    activation_loads (zone_id, instance) {
        zone_id -> Uuid, instance -> Text, version_id -> Uuid, epoch -> BigInt, status -> Text,
        detail -> Nullable<Text>, loaded_at -> Timestamptz,
    }
}

table! {
    grants (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, application_id -> Uuid, user_id -> Text, resource_id -> Uuid,
        scopes -> Array<Text>, created_by -> Text, version -> BigInt, created_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
    }
}

table! {
    subject_issuers (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, issuer -> Text, jwks_uri -> Nullable<Text>, audience -> Text,
        subject_prefix -> Text, version -> BigInt, created_at -> Timestamptz, updated_at -> Timestamptz,
        archived_at -> Nullable<Timestamptz>,
    }
}

table! {
    subject_blocks (zone_id, subject_id) {
        zone_id -> Uuid, subject_id -> Text, blocked_until -> Timestamptz, blocked_by -> Text,
    }
}

table! {
    step_up_challenges (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, application_id -> Uuid, session_id -> Nullable<Uuid>,
        agent_session_id -> Nullable<Uuid>, challenge_type -> Text, resources -> Array<Text>, scopes -> Array<Text>,
        secret_sha256 -> Binary, metadata_json -> Jsonb, created_at -> Timestamptz, expires_at -> Timestamptz,
        satisfied_at -> Nullable<Timestamptz>, satisfied_by -> Nullable<Text>, consumed_at -> Nullable<Timestamptz>,
        rests_until -> Nullable<Timestamptz>,
    }
}

table! {
    invitations (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, email -> Text, role -> Text, token_sha256 -> Binary, created_by -> Text,
        created_at -> Timestamptz, expires_at -> Timestamptz, accepted_at -> Nullable<Timestamptz>,
        admin_token_id -> Nullable<Uuid>, revoked_at -> Nullable<Timestamptz>, version -> BigInt,
    }
}

table! {
    sts_replicas (instance) {
        instance -> Text, started_at -> Timestamptz, seen_at -> Timestamptz,
    }
}

table! {
    sessions (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, session_type -> Text, subject_id -> Text, application_id -> Uuid,
        parent_id -> Nullable<Uuid>, root_id -> Uuid, scopes -> Array<Text>, targets -> Array<Text>,
        authenticated_at -> Timestamptz, expires_at -> Timestamptz, created_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>, revoked_reason -> Nullable<Text>, agent_session_id -> Nullable<Uuid>,
        epoch -> Nullable<BigInt>,
    }
}

table! {
    agent_sessions (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, application_id -> Uuid, session_id -> Nullable<Uuid>,
        parent_id -> Nullable<Uuid>, root_id -> Uuid, depth -> Integer, lifecycle -> Text, status -> Text,
        labels -> Array<Text>, capabilities -> Array<Text>, metadata_json -> Jsonb, accepts_from -> Array<Uuid>,
        ttl_seconds -> Integer, lease_expires_at -> Nullable<Timestamptz>, version -> BigInt,
        created_at -> Timestamptz, updated_at -> Timestamptz, expires_at -> Timestamptz,
        suspended_at -> Nullable<Timestamptz>, ended_at -> Nullable<Timestamptz>, end_reason -> Nullable<Text>,
    }
}

table! {
    delegation_graphs (zone_id) {
        zone_id -> Uuid, epoch -> BigInt,
    }
}

table! {
    delegation_edges (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, source_session_id -> Uuid, target_session_id -> Uuid,
        issuer_application_id -> Uuid, receiver_application_id -> Uuid, resource_id -> Nullable<Uuid>,
        parent_edge_id -> Nullable<Uuid>, path -> Array<Uuid>, scopes -> Array<Text>, constraints_json -> Jsonb,
        max_hops -> Integer, edge_version -> BigInt, graph_epoch -> BigInt, expires_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>, revoked_reason -> Nullable<Text>,
    }
}

table! {
    provider_connections (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, user_id -> Text, resource_id -> Uuid, provider_id -> Uuid,
        scopes -> Array<Text>, tokens_key_id -> Text, tokens_sealed -> Binary,
        access_expires_at -> Nullable<Timestamptz>, version -> BigInt, created_at -> Timestamptz,
        updated_at -> Timestamptz, revoked_at -> Nullable<Timestamptz>, lapsed_at -> Nullable<Timestamptz>,
    }
}

table! {
    oauth_states (zone_id, state_sha256) {
        zone_id -> Uuid, state_sha256 -> Binary, user_id -> Text, resource_id -> Uuid, provider_id -> Uuid,
        scopes -> Array<Text>, verifier_key_id -> Text, verifier_sealed -> Binary, created_by -> Text,
        created_at -> Timestamptz, expires_at -> Timestamptz, consumed_at -> Nullable<Timestamptz>,
        provider_version -> Nullable<BigInt>,
    }
}

table! {
    anchors (zone_id, kind, value) {
        zone_id -> Uuid, kind -> Text, value -> Text, epoch -> BigInt, expires_at -> Timestamptz,
    }
}

table! {
    admin_tokens (id) {
        id -> Uuid, scope -> Text, zone_id -> Nullable<Uuid>, name -> Nullable<Text>, token_sha256 -> Binary,
        read_only -> Bool, seeded -> Bool, created_by -> Text, version -> BigInt, created_at -> Timestamptz,
        expires_at -> Nullable<Timestamptz>, revoked_at -> Nullable<Timestamptz>,
    }
}

table! {
    outbox (zone_id, created_at, id) {
        zone_id -> Uuid, created_at -> Timestamptz, id -> Uuid, subject -> Text, payload -> Binary,
        traceparent -> Nullable<Text>, claimed_by -> Nullable<Text>, claimed_until -> Nullable<Timestamptz>,
        published_at -> Nullable<Timestamptz>,
    }
}

table! {
    event_spool (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, subject -> Text, payload -> Binary, traceparent -> Nullable<Text>,
    }
}

table! {
    audit_heads (zone_id) {
        zone_id -> Uuid, seq -> BigInt, hash -> Nullable<Binary>, frontier -> Nullable<Binary>,
    }
}

table! {
    audit_event_ids (zone_id, id) {
        zone_id -> Uuid, id -> Uuid, seq -> BigInt, leaf_hash -> Binary,
    }
}

table! {
    audit_tree_nodes (zone_id, level, position) {
        zone_id -> Uuid, level -> SmallInt, position -> BigInt, hash -> Binary,
    }
}

table! {
    audit_checkpoints (zone_id) {
        zone_id -> Uuid, size -> BigInt, note -> Text, signed_at -> Timestamptz,
    }
}

table! {
    ledger_keys (id) {
        id -> Uuid, name -> Text, public_key -> Binary, private_key_id -> Text, private_sealed -> Binary,
        created_at -> Timestamptz, retired_at -> Nullable<Timestamptz>,
    }
}

// The view of `audit_events` that services read; only `append.sql` names the table.
table! {
    audit_ledger (zone_id, seq, ingested_at) {
        zone_id -> Uuid, seq -> BigInt, id -> Uuid, event_type -> Text, request_id -> Text, decision -> Text,
        evaluation_status -> Text, reason -> Nullable<Text>, policy_set_id -> Nullable<Uuid>,
        policy_set_version_id -> Nullable<Uuid>, manifest_sha -> Nullable<Text>, determining_policies_json -> Jsonb,
        diagnostics_json -> Jsonb, metadata_json -> Jsonb, application_id -> Nullable<Uuid>,
        session_id -> Nullable<Uuid>, agent_session_id -> Nullable<Uuid>, resource -> Nullable<Text>,
        labels -> Array<Text>, occurred_at -> Timestamptz, ingested_at -> Timestamptz, canonical -> Binary,
        previous_hash -> Binary, hash -> Binary,
    }
}

table! {
    audit_dead_letters (id) {
        id -> Uuid, subject -> Text, message_id -> Nullable<Text>, stream -> Text, stream_sequence -> BigInt,
        reason -> Text, payload -> Binary, received_at -> Timestamptz, stream_created_at -> Timestamptz,
    }
}

allow_tables_to_appear_in_same_query!(
    zones,
    signing_keys,
    applications,
    anchors,
    admin_tokens,
    invitations,
    policies,
    policy_versions,
    policy_set_versions,
    policy_set_manifest,
    policy_module_successors,
    zone_activations,
    sts_replicas,
    activation_loads,
);
