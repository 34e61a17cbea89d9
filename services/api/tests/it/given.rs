//! What the nouns' tests share: the ledger's records, foreign zones, rows that other services would make.

use super::Zone;
use caracal_testkit::stack::{Service, Stack};
use caracal_testkit::{Answer, Client};
use josekit::jwk::alg::ec::{EcCurve, EcKeyPair};
use serde_json::{Value, json};
use uuid::Uuid;

/// Ids that no object has: one well-formed, one not.
pub(super) const ABSENT: [&str; 2] = ["0198c0de-0000-7000-8000-00000000dead", "nonsense"];

/// How many records of this deed are on their way to the zone's ledger.
pub(super) async fn deeds(stack: &Stack, zone: &Zone, what: &str) -> i64 {
    let query = format!(
        "SELECT count(*) FROM event_spool WHERE zone_id = '{}' AND position('admin.{what}'::bytea in payload) > 0
         AND position('\"source\":'::bytea in payload) = 0",
        zone.id
    );
    stack.database().count(&query).await
}

/// Rows of the zone in a table, narrowed.
pub(super) async fn rows(stack: &Stack, table: &str, zone: &Zone, also: &str) -> i64 {
    let query = format!(
        "SELECT count(*) FROM {table} WHERE zone_id = '{}' AND {also}",
        zone.id
    );
    stack.database().count(&query).await
}

/// Runs SQL as the owner of the database.
pub(super) async fn sql(stack: &Stack, statement: &str) {
    let connection = stack.database().connect().await;
    connection
        .batch_execute(statement)
        .await
        .expect("the statement runs");
}

/// A caller with a read-only token of the zone.
pub(super) async fn viewer(stack: &Stack, zone: &Zone) -> Client {
    let body = json!({"scope": "zone", "zone_id": zone.id, "read_only": true});
    let made = stack.admin().post("/v1/admin-tokens", &body).await;
    stack.anonymous(Service::Api, 0).bearer(made.member("token"))
}

/// An application with a secret.
pub(super) async fn application(zone: &Zone, name: &str) -> String {
    let body = json!({"name": name, "registration_method": "managed", "credential_type": "token"});
    zone.post("applications", &body).await.member("id").to_owned()
}

/// A private key of this name that a provider may be given.
pub(super) fn private_key(name: &str) -> String {
    let pair = EcKeyPair::generate(EcCurve::P256).expect("a key");
    let mut key = pair.to_jwk_private_key();
    key.set_key_id(name);
    key.to_string()
}

/// A session of a subject, as the STS would make it.
pub(super) async fn session(stack: &Stack, zone: &Zone, application: &str, subject: &str) -> String {
    let id = Uuid::now_v7();
    let kind = if application == subject {
        "application"
    } else {
        "user"
    };
    sql(
        stack,
        &format!(
            "INSERT INTO sessions
               (zone_id, id, session_type, subject_id, application_id, root_id, authenticated_at, expires_at)
             VALUES ('{}', '{id}', '{kind}', '{subject}', '{application}', '{id}', now(), now() + interval '1 hour')",
            zone.id
        ),
    )
    .await;
    id.to_string()
}

/// A session below another, as the STS would make it for an agent: its parent, and the root of both.
pub(super) async fn session_below(
    stack: &Stack,
    zone: &Zone,
    application: &str,
    subject: &str,
    (parent, root): (&str, &str),
) -> String {
    let id = Uuid::now_v7();
    let kind = if application == subject {
        "application"
    } else {
        "user"
    };
    sql(
        stack,
        &format!(
            "INSERT INTO sessions (zone_id, id, session_type, subject_id, application_id, parent_id, root_id,
               authenticated_at, expires_at)
             VALUES ('{}', '{id}', '{kind}', '{subject}', '{application}', '{parent}', '{root}', now(),
               now() + interval '1 hour')",
            zone.id
        ),
    )
    .await;
    id.to_string()
}

/// An agent, as the coordinator would make it.
pub(super) async fn agent(
    stack: &Stack,
    zone: &Zone,
    application: &str,
    session: Option<&str>,
    parent: Option<&str>,
) -> String {
    let (id, row) = agent_row(zone, application, session, parent);
    sql(stack, &row).await;
    id
}

/// The id of an agent to be, and the statement that makes it.
pub(super) fn agent_row(
    zone: &Zone,
    application: &str,
    session: Option<&str>,
    parent: Option<&str>,
) -> (String, String) {
    let id = Uuid::now_v7().to_string();
    let text = |value: Option<&str>| value.map_or("NULL".to_owned(), |value| format!("'{value}'"));
    let (depth, root) = parent.map_or((0, id.as_str()), |parent| (1, parent));
    let row = format!(
        "INSERT INTO agent_sessions
           (zone_id, id, application_id, session_id, parent_id, root_id, depth, lifecycle, status, ttl_seconds, expires_at)
         VALUES ('{}', '{id}', '{application}', {}, {}, '{root}', {depth}, 'task', 'active', 3600,
           now() + interval '1 hour')",
        zone.id,
        text(session),
        text(parent),
    );
    (id, row)
}

/// A delegation edge, as the coordinator would make it; `parents` are the edges above it, root first.
pub(super) async fn edge(
    stack: &Stack,
    zone: &Zone,
    from: (&str, &str),
    to: (&str, &str),
    parents: &[&str],
) -> String {
    let id = Uuid::now_v7().to_string();
    let parent = parents
        .last()
        .map_or("NULL".to_owned(), |parent| format!("'{parent}'"));
    let path: Vec<String> = parents
        .iter()
        .chain([&id.as_str()])
        .map(|id| format!("'{id}'"))
        .collect();
    sql(
        stack,
        &format!(
            "INSERT INTO delegation_edges
               (zone_id, id, source_session_id, issuer_application_id, target_session_id, receiver_application_id,
                parent_edge_id, path, scopes, constraints_json, max_hops, graph_epoch, expires_at)
             VALUES ('{}', '{id}', '{}', '{}', '{}', '{}', {parent}, ARRAY[{}]::uuid[], '{{a:b}}', '{{}}', 1, 1,
               now() + interval '1 hour')",
            zone.id,
            from.0,
            from.1,
            to.0,
            to.1,
            path.join(","),
        ),
    )
    .await;
    id
}

/// How many of the answers have this status, and this error if any.
pub(super) fn tally(answers: &[Answer], status: u16, error: &str) -> usize {
    let fits = |answer: &&Answer| answer.status == status && answer.member("error") == error;
    answers.iter().filter(fits).count()
}

/// Each of these is refused as `invalid_body`.
pub(super) async fn all_invalid(zone: &Zone, below: &str, bodies: &[Value]) {
    for body in bodies {
        let refused = zone.post(below, body).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_body"),
            "{body}: {}",
            refused.text
        );
    }
}
