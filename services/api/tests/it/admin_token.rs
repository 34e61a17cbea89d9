//! Admin tokens: what may be asked for, and how long each is good.

use super::given::{ABSENT, rows};
use super::{Zone, alone, ledger};
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
        let item = format!("{path}/{absent}");
        for refused in [admin.delete(&item).await, admin.get(&item).await] {
            assert_eq!(
                (refused.status, refused.member("error")),
                (404, "admin_token_not_found"),
                "{absent}"
            );
        }
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
    let kept = format!(
        "SELECT count(*) FROM admin_tokens WHERE id = '{}' AND encode(token_sha256, 'hex') = '{}'",
        made.member("id"),
        caracal_jose::sha256_hex(made.member("token").as_bytes())
    );
    assert_eq!(stack.database().count(&kept).await, 1, "only its hash is kept");
    let item = format!("{path}/{}", made.member("id"));
    let shown = admin.get(&item).await.expect(200);
    assert_eq!((shown["name"].as_str(), shown.get("token")), (Some("ci"), None));
    let listed = admin.get(path).await.expect(200);
    assert!(listed.as_array().is_some_and(|tokens| tokens.contains(&shown)));
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
    assert_eq!(admin.get(&item).await.member("error"), "admin_token_not_found");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_time_with_an_offset_is_the_moment_it_names_and_is_shown_in_utc() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Offsets").await;
    let (given, shown) = ("2099-01-01T02:00:00+02:00", "2099-01-01T00:00:00Z");
    let body = json!({"scope": "zone", "zone_id": zone.id, "expires_at": given});
    let made = zone.admin.post("/v1/admin-tokens", &body).await;
    assert_eq!(made.member("expires_at"), shown, "{}", made.text);
    let body = json!({"subject_id": "ada", "block_until": given});
    let blocked = zone.post("subjects/revoke", &body).await;
    assert_eq!(blocked.member("blocked_until"), shown, "{}", blocked.text);
    for (table, column) in [
        ("admin_tokens", "expires_at"),
        ("subject_blocks", "blocked_until"),
    ] {
        let same = format!("{column} = timestamptz '{shown}'");
        assert_eq!(rows(&stack, table, &zone, &same).await, 1, "{table}");
    }
    for (request, at) in [("first", 0), ("second", 1)] {
        let event = ledger::Event {
            request,
            at,
            ..ledger::Event::default()
        };
        ledger::write(&stack, &zone, &event).await;
    }
    // Half a second after the first, two hours ahead.
    let later = zone
        .get("audit?since=2026-05-01T02:00:00.5%2B02:00")
        .await
        .expect(200);
    let later: Vec<_> = later["rows"].as_array().expect("rows").iter().collect();
    assert_eq!(later.len(), 1, "{later:?}");
    assert_eq!(
        (&later[0]["request_id"], &later[0]["occurred_at"]),
        (&json!("second"), &json!("2026-05-01T00:00:01Z"))
    );
}
