//! Admin tokens: what may be asked for, and how long each is good.

use super::given::ABSENT;
use super::{Zone, alone};
use caracal_testkit::eventually;
use caracal_testkit::stack::Service;
use chrono::{TimeDelta, Utc};
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_global_or_of_a_zone_that_is_there() {
    let stack = alone().start().await;
    let (admin, zone) = (stack.admin(), Zone::new(&stack, "Tokens").await);
    let path = "/v1/admin-tokens";
    for body in [
        json!({"scope": "global", "zone_id": zone.id}),
        json!({"scope": "zone"}),
        json!({"scope": "zone", "zone_id": "nonsense"}),
        json!({"scope": "zone", "zone_id": null}),
        json!({"scope": "galaxy"}),
        json!({"zone_id": zone.id}),
        json!({"scope": "global", "expires_at": "2020-01-01T00:00:00Z"}),
    ] {
        let refused = admin.post(path, &body).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_body"),
            "{body}"
        );
    }
    let gone = Zone::new(&stack, "Gone").await;
    assert_eq!(admin.delete(&format!("/v1/zones/{}", gone.id)).await.status, 204);
    for absent in [ABSENT[0], &gone.id] {
        let refused = admin
            .post(path, &json!({"scope": "zone", "zone_id": absent}))
            .await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (404, "zone_not_found"),
            "{absent}"
        );
    }
    for absent in ABSENT {
        let refused = admin.delete(&format!("{path}/{absent}")).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (404, "admin_token_not_found"),
            "{absent}"
        );
    }
    let made = admin
        .post(path, &json!({"scope": "zone", "zone_id": zone.id, "name": "ci"}))
        .await;
    assert_eq!(
        (made.status, made.header("etag")),
        (201, "\"1\""),
        "{}",
        made.text
    );
    let item = format!("{path}/{}", made.member("id"));
    let stale = admin.clone().with("If-Match", "\"2\"").delete(&item).await;
    assert_eq!((stale.status, stale.member("error")), (412, "version_conflict"));
    let caller = stack.anonymous(Service::Api, 0).bearer(made.member("token"));
    assert_eq!(
        caller.get(&zone.at("resources")).await.status,
        200,
        "the refusal ended nothing"
    );
    assert_eq!(admin.delete(&item).await.status, 204);
    assert_eq!(admin.delete(&item).await.member("error"), "admin_token_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_works_until_it_expires() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Expires").await;
    let ends = Utc::now() + TimeDelta::seconds(2);
    let body = json!({"scope": "zone", "zone_id": zone.id, "expires_at": ends.to_rfc3339()});
    let made = zone.admin.post("/v1/admin-tokens", &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let shown: chrono::DateTime<Utc> = made.member("expires_at").parse().expect("a time");
    assert_eq!(shown.timestamp_micros(), ends.timestamp_micros());
    let caller = stack.anonymous(Service::Api, 0).bearer(made.member("token"));
    let before = caller.get(&zone.at("resources")).await;
    assert!(before.status == 200 || Utc::now() > ends, "{}", before.text);
    eventually("the end", Duration::from_secs(10), || async {
        (caller.get(&zone.at("resources")).await.member("error") == "invalid_admin_token").then_some(())
    })
    .await;
    assert!(Utc::now() >= ends);
}
