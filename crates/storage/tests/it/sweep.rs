use crate::fixture;
use crate::scratch::Scratch;
use caracal_storage::sweep::sweep;
use diesel::sql_types::BigInt;
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

const TABLES: [&str; 5] = [
    "anchors",
    "used_assertions",
    "idempotency_keys",
    "oauth_states",
    "step_up_challenges",
];

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

async fn count(conn: &mut AsyncPgConnection, table: &str) -> i64 {
    let query = format!("SELECT count(*) FROM {table}");
    let counted: Count = sql_query(query).get_result(conn).await.unwrap();
    counted.count
}

/// So many rows of each table that expire then.
async fn fill(conn: &mut AsyncPgConnection, rows: i32, expires: &str) {
    let statements = format!(
        "INSERT INTO anchors (zone_id, kind, value, epoch, expires_at)
           SELECT zones.id, 'jti', gen_random_uuid()::text, 1, {expires} FROM zones, generate_series(1, {rows});
         INSERT INTO used_assertions (zone_id, application_id, jti, expires_at)
           SELECT zone_id, id, gen_random_uuid()::text, {expires} FROM applications, generate_series(1, {rows});
         INSERT INTO idempotency_keys (actor, route, key, body_hmac, leased_until, expires_at)
           SELECT 'a', 'r', gen_random_uuid()::text, sha256('b'), now(), {expires} FROM generate_series(1, {rows});
         INSERT INTO oauth_states (zone_id, state_sha256, user_id, resource_id, provider_id, verifier_key_id,
                                   verifier_sealed, created_by, expires_at)
           SELECT resources.zone_id, sha256(gen_random_uuid()::text::bytea), 'u', resources.id, providers.id, 'k', 'v',
                  'c', {expires} FROM resources, providers, generate_series(1, {rows});
         INSERT INTO step_up_challenges (zone_id, id, application_id, challenge_type, resources, scopes, secret_sha256,
                                         expires_at)
           SELECT zone_id, gen_random_uuid(), id, 'mfa', '{{r}}', '{{}}', sha256('s'), {expires}
           FROM applications, generate_series(1, {rows});"
    );
    conn.batch_execute(&statements).await.unwrap();
}

async fn place() -> Scratch {
    let scratch = Scratch::new().await;
    let owner = &mut scratch.owner().await;
    let zone = fixture::zone(owner, "a").await;
    fixture::application(owner, zone, "app").await;
    fixture::provider(owner, zone, "provider").await;
    fixture::resource(owner, zone, "resource://r").await;
    scratch
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expired_long_ago_is_removed_and_nothing_else() {
    let scratch = place().await;
    let owner = &mut scratch.owner().await;
    fill(owner, 2, "now() - interval '8 days'").await;
    fill(owner, 3, "now() - interval '1 minute'").await;
    fill(owner, 4, "now() + interval '1 minute'").await;
    let relay = &mut scratch.as_role("caracal_relay").await;
    assert_eq!(sweep(relay, 100).await.unwrap(), 10);
    for table in TABLES {
        assert_eq!(count(owner, table).await, 7, "{table}");
    }
    assert_eq!(sweep(relay, 100).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_removes_no_more_than_its_batch_of_each() {
    let scratch = place().await;
    let owner = &mut scratch.owner().await;
    fill(owner, 25, "now() - interval '8 days'").await;
    let relay = &mut scratch.as_role("caracal_relay").await;
    let mut rounds = Vec::new();
    for _ in 0..4 {
        rounds.push(sweep(relay, 10).await.unwrap());
    }
    assert_eq!(rounds, [50, 50, 25, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_holds_is_left_for_the_next_time() {
    let scratch = place().await;
    let owner = &mut scratch.owner().await;
    fill(owner, 1, "now() - interval '8 days'").await;
    let holder = &mut scratch.owner().await;
    holder
        .batch_execute("BEGIN; SELECT 1 FROM anchors FOR UPDATE")
        .await
        .unwrap();
    let relay = &mut scratch.as_role("caracal_relay").await;
    assert_eq!(sweep(relay, 10).await.unwrap(), 4);
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(sweep(relay, 10).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_relay_sweeps() {
    let scratch = place().await;
    for role in ["caracal_api", "caracal_sts", "caracal_gateway", "caracal_audit"] {
        let conn = &mut scratch.as_role(role).await;
        assert!(sweep(conn, 10).await.is_err(), "{role}");
    }
}
