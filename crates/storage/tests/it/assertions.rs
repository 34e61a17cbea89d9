use crate::fixture;
use crate::scratch::Scratch;
use caracal_storage::{applications, snapshot, used_assertions};
use chrono::Duration;
use diesel_async::SimpleAsyncConnection;

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_is_used_up_by_one_of_many() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let (zone, other) = (fixture::zone(conn, "a").await, fixture::zone(conn, "b").await);
    let application = fixture::application(conn, zone, "app").await;
    let neighbour = fixture::application(conn, zone, "neighbour").await;
    let theirs = fixture::application(conn, other, "app").await;
    let until = fixture::now() + Duration::minutes(2);
    // As the STS's own role: it is the one that does it.
    let tries = (0..20).map(|_| {
        let scratch = &scratch;
        async move {
            let sts = &mut scratch.as_role("caracal_sts").await;
            used_assertions::consume(sts, zone, application, "jti", until)
                .await
                .unwrap()
        }
    });
    let won = futures::future::join_all(tries).await;
    assert_eq!(won.iter().filter(|first| **first).count(), 1);
    for (zone, application) in [(zone, neighbour), (other, theirs)] {
        assert!(
            used_assertions::consume(conn, zone, application, "jti", until)
                .await
                .unwrap(),
            "the same jti of another application is another assertion"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_holds_live_subject_issuers_and_keys_of_applications() {
    let scratch = Scratch::new().await;
    let conn = &mut *scratch.database.acquire().await.unwrap();
    let zone = fixture::zone(conn, "a").await;
    let application = fixture::application(conn, zone, "app").await;
    let insert = |issuer: &str, prefix: &str, archived: &str| {
        format!(
            "INSERT INTO subject_issuers (zone_id, id, issuer, audience, subject_prefix, archived_at) \
             VALUES ('{zone}', gen_random_uuid(), '{issuer}', 'us', '{prefix}', {archived});"
        )
    };
    let statements = insert("https://a.example", "a|", "NULL") + &insert("https://b.example", "b|", "now()");
    conn.batch_execute(&statements).await.unwrap();
    let statement = format!(
        "UPDATE applications SET credential_type = 'url', secret_hash = NULL, jwks_uri = 'https://k.example' \
         WHERE id = '{application}'"
    );
    conn.batch_execute(&statement).await.unwrap();
    let snapshot = snapshot::load(conn, zone).await.unwrap().unwrap();
    let issuers: Vec<_> = snapshot
        .subject_issuers
        .iter()
        .map(|one| one.issuer.as_str())
        .collect();
    assert_eq!(issuers, ["https://a.example"]);
    let kept = snapshot.applications.get(&application).unwrap();
    assert_eq!(kept.jwks_uri.as_deref(), Some("https://k.example"));
    assert!(applications::is_known(conn, application).await.unwrap());
    applications::archive(conn, zone, application).await.unwrap();
    assert!(
        applications::is_known(conn, application).await.unwrap(),
        "an id stays taken"
    );
    let nobody = fixture::new_application(zone, "nobody").id;
    assert!(!applications::is_known(conn, nobody).await.unwrap());
}
