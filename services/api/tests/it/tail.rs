//! A tail ends with the right to read, whether its ledger is quiet or busy.

use super::given::sql;
use super::{Zone, alone};
use caracal_testkit::stack::{Service, Stack};
use reqwest::Response;
use serde_json::json;
use std::time::{Duration, Instant};

/// A stream looks every second and a half whether its reader may still read; a busy machine takes something on top.
const BOUND: Duration = Duration::from_secs(4);

/// A stream that `token` follows.
async fn following(stack: &Stack, zone: &Zone, token: &str) -> Response {
    let url = format!("{}{}", stack.url(Service::Api, 0), zone.at("audit/tail"));
    let request = caracal_testkit::client().get(url).bearer_auth(token);
    let mut response = request.send().await.expect("an answer");
    assert_eq!(response.status().as_u16(), 200);
    let first = response.chunk().await.expect("it is open").expect("a beginning");
    assert!(first.starts_with(b"id: "), "{first:?}");
    response
}

/// How long it goes on from now.
async fn ends(mut response: Response) -> Duration {
    let started = Instant::now();
    let reading = async { while response.chunk().await.expect("a whole stream").is_some() {} };
    tokio::time::timeout(BOUND, reading)
        .await
        .expect("an end in time");
    started.elapsed()
}

/// A zone's read-only token, and its id.
async fn token(stack: &Stack, zone: &Zone) -> (String, String) {
    let body = json!({"scope": "zone", "zone_id": zone.id, "read_only": true});
    let made = stack.admin().post("/v1/admin-tokens", &body).await;
    (made.member("token").to_owned(), made.member("id").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_ends_with_its_token_or_its_zone() {
    let stack = alone().start().await;
    let [revoking, expiring, archiving, staying] = [
        Zone::new(&stack, "Revoking").await,
        Zone::new(&stack, "Expiring").await,
        Zone::new(&stack, "Archiving").await,
        Zone::new(&stack, "Staying").await,
    ];
    let (revoked, revoked_id) = token(&stack, &revoking).await;
    let (expired, expired_id) = token(&stack, &expiring).await;
    let of_revoked = following(&stack, &revoking, &revoked).await;
    let of_expired = following(&stack, &expiring, &expired).await;
    let admin = caracal_testkit::settings::ADMIN_TOKEN;
    let of_archived = following(&stack, &archiving, admin).await;
    let mut of_staying = following(&stack, &staying, admin).await;

    let gone = stack
        .admin()
        .delete(&format!("/v1/admin-tokens/{revoked_id}"))
        .await;
    assert_eq!(gone.status, 204);
    sql(
        &stack,
        &format!("UPDATE admin_tokens SET expires_at = now() WHERE id = '{expired_id}'"),
    )
    .await;
    let gone = stack.admin().delete(&format!("/v1/zones/{}", archiving.id)).await;
    assert_eq!(gone.status, 204);
    tokio::join!(ends(of_revoked), ends(of_expired), ends(of_archived));
    let next = of_staying.chunk().await.expect("it is open");
    assert!(next.is_some_and(|text| text.starts_with(b":")), "others go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_ledger_does_not_keep_a_tail_open() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Busy").await;
    let (secret, id) = token(&stack, &zone).await;
    let following = following(&stack, &zone, &secret).await;
    assert_eq!(
        stack
            .admin()
            .delete(&format!("/v1/admin-tokens/{id}"))
            .await
            .status,
        204
    );
    // As after each batch of events, five times a second.
    let grown = stack.database().connect().await;
    let busy = async {
        loop {
            let notify = format!("SELECT pg_notify('caracal_ledger', '{}')", zone.id);
            grown.batch_execute(&notify).await.expect("told");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        took = ends(following) => assert!(took < BOUND),
        () = busy => {}
    }
}
