//! Every refusal is on record, at every endpoint (contract §6): before authentication in the system zone's ledger, after
//! it in the zone's own.

use crate::hands::text;
use caracal_testkit::settings::GATEWAY_STS_KEY;
use caracal_testkit::world::claims;
use caracal_testkit::{Client, Service, Stack, World, eventually};
use serde_json::{Value, json};
use std::time::Duration;

/// The reason and the metadata of the one event of this request in the system zone's ledger.
async fn noted(stack: &Stack, request_id: &str) -> (String, Value) {
    const OF_REQUEST: &str = "SELECT reason, metadata_json::text FROM audit_events
      WHERE zone_id = (SELECT id FROM zones WHERE is_system) AND request_id = $1 AND decision = 'deny'";
    let database = stack.database().connect().await;
    let found = eventually("the refusal in the ledger", Duration::from_secs(10), || async {
        let rows = database
            .query(OF_REQUEST, &[&request_id])
            .await
            .expect("the ledger");
        (!rows.is_empty()).then_some(rows)
    })
    .await;
    assert_eq!(found.len(), 1, "{request_id}: once");
    let row = found.first().expect("a row");
    let metadata: String = row.get(1);
    (row.get(0), serde_json::from_str(&metadata).expect("JSON"))
}

/// The system zone is looked for twice a second; whoever comes before it is found is only counted.
async fn with_a_ledger() -> Stack {
    let stack = Stack::builder().replicas(Service::Gateway, 0).start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    stack
}

#[tokio::test]
async fn whoever_is_refused_before_it_has_proved_itself_is_in_the_system_zones_ledger() {
    let stack = with_a_ledger().await;
    let world = World::new(&stack).await;
    let sts = |id: &str| stack.sts(0).with("X-Request-Id", id);
    let guess = [
        ("client_id", world.application_id.as_str()),
        ("client_secret", "guess"),
        ("token", "x"),
    ];
    let malformed = [("client_id", "x"), ("token", "x")];
    for endpoint in ["token", "introspect", "revoke"] {
        let path = format!("/oauth/2/{endpoint}");
        for (what, form, reason) in [
            ("guess", &guess[..], "invalid_client"),
            ("malformed", &malformed, "malformed_id"),
        ] {
            let id = format!("{what}-{endpoint}");
            let answer = sts(&id).form(&path, form).await;
            assert_eq!(answer.member("reason"), reason, "{}", answer.text);
            let (noted, metadata) = noted(&stack, &id).await;
            assert_eq!(
                (noted.as_str(), &metadata["source"]),
                (reason, &json!("127.0.0.1")),
                "{id}"
            );
            assert!(!metadata.to_string().contains("guess"), "{metadata}");
            assert!(world.events(&id).await.is_empty(), "not in a tenant's");
        }
    }
    let answer = sts("bad-zone").form("/zones/zone/oauth/2/token", &guess).await;
    assert_eq!((answer.status, answer.member("reason")), (400, "malformed_id"));
    assert_eq!(noted(&stack, "bad-zone").await.0, "malformed_id");
    for endpoint in ["directives", "credentials"] {
        let path = format!("/internal/{endpoint}");
        let stranger = sts(endpoint).bearer("guess").post(&path, &json!({})).await;
        assert_eq!(stranger.status, 401, "{}", stranger.text);
        assert_eq!(noted(&stack, endpoint).await.0, "invalid_client");
    }
}

#[tokio::test]
async fn what_a_gateway_is_refused_it_records_itself_but_what_it_asks_amiss_is_noted_in_the_tokens_zone() {
    let stack = with_a_ledger().await;
    let world = World::new(&stack).await;
    let sts = |id: &str| -> Client { stack.sts(0).with("X-Request-Id", id).bearer(GATEWAY_STS_KEY) };
    let mut asked = json!({
        "zone_id": world.zone_id, "application_id": world.application_id, "resource": "resource://nowhere",
    });
    for endpoint in ["directives", "credentials"] {
        let path = format!("/internal/{endpoint}");
        let answer = sts(endpoint).post(&path, &asked).await;
        assert_eq!(answer.member("reason"), "unknown_resource", "{}", answer.text);
        let nonsense = format!("{endpoint}-nonsense");
        let answer = sts(&nonsense).post(&path, &json!({"zone": 1})).await;
        assert_eq!((answer.status, answer.member("reason")), (400, "malformed_form"));
        assert_eq!(noted(&stack, &nonsense).await.0, "malformed_form");
        // What was asked before that is in the ledger by now, if it ever will be.
        assert!(world.events(endpoint).await.is_empty());
        asked["user_id"] = Value::Null;
    }
    let session = world.session(&stack.sts(0)).await;
    let no_call = [
        ("subject_token", session.as_str()),
        ("resource", world.resource.as_str()),
    ];
    let answer = sts("no-call").form("/oauth/2/token", &no_call).await;
    let got = (answer.status, answer.member("error"), answer.member("reason"));
    assert_eq!(got, (400, "invalid_request", "missing_call"), "{}", answer.text);
    let given_back = sts("no-token")
        .form("/oauth/2/revoke", &[("token", session.as_str())])
        .await;
    assert_eq!(
        (given_back.status, given_back.member("error")),
        (401, "invalid_client"),
        "{}",
        given_back.text
    );
    for (id, reason) in [("no-call", "missing_call"), ("no-token", "invalid_client")] {
        let event = eventually(
            "the refusal in the zone's ledger",
            Duration::from_secs(10),
            || async { world.events(id).await.into_iter().next() },
        )
        .await;
        let got = (
            &event["decision"],
            &event["reason"],
            &event["metadata_json"]["caller"],
        );
        assert_eq!(
            got,
            (&json!("deny"), &json!(reason), &json!("gateway")),
            "{event}"
        );
        assert_eq!(of_the_system_zone(&stack, id).await, 0, "{id}");
    }
}

/// How many events of a request the system zone's ledger holds.
async fn of_the_system_zone(stack: &Stack, request_id: &str) -> i64 {
    let of_request = format!(
        "SELECT count(*) FROM audit_events
           WHERE zone_id = (SELECT id FROM zones WHERE is_system) AND request_id = '{request_id}'"
    );
    stack.database().count(&of_request).await
}

#[tokio::test]
async fn a_token_that_is_none_of_a_zones_brings_nothing_into_its_ledger() {
    let stack = with_a_ledger().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let (input, signature) = session.rsplit_once('.').expect("a compact JWS");
    let (first, rest) = signature.split_at(1);
    let forged = format!("{input}.{}{rest}", if first == "A" { "B" } else { "A" });
    let sts = |id: &str| -> Client { stack.sts(0).with("X-Request-Id", id).bearer(GATEWAY_STS_KEY) };
    let call = [
        ("subject_token", forged.as_str()),
        ("resource", world.resource.as_str()),
        ("method", "GET"),
        ("path", "/orders"),
    ];
    let token = [("token", forged.as_str())];
    for (id, path, form, reason) in [
        (
            "forged-call",
            "/oauth/2/token",
            &call[..],
            "subject_token_invalid",
        ),
        ("forged-half", "/oauth/2/token", &call[..2], "missing_call"),
        ("forged-back", "/oauth/2/revoke", &token, "invalid_client"),
    ] {
        let answer = sts(id).form(path, form).await;
        assert_eq!(answer.member("reason"), reason, "{}", answer.text);
        let (noted, metadata) = noted(&stack, id).await;
        assert_eq!((noted.as_str(), &metadata["caller"]), (reason, &json!("gateway")));
        assert!(world.events(id).await.is_empty(), "{id}");
    }
}

#[tokio::test]
async fn a_gateway_with_a_good_key_is_told_that_its_callers_token_is_none() {
    let stack = with_a_ledger().await;
    let world = World::new(&stack).await;
    let gateway = stack.sts(0).bearer(GATEWAY_STS_KEY);
    let call = [
        ("resource", world.resource.as_str()),
        ("method", "GET"),
        ("path", "/orders"),
    ];
    for token in ["x", "a.b.c", ""] {
        let mut form = call.to_vec();
        form.push(("subject_token", token));
        let answer = gateway.form("/oauth/2/token", &form).await;
        let got = (answer.status, answer.member("error"), answer.member("reason"));
        assert_eq!(
            got,
            (400, "invalid_grant", "subject_token_invalid"),
            "{token:?}: {}",
            answer.text
        );
    }
    let session = world.session(&stack.sts(0)).await;
    for half in ["method", "path"] {
        let form = [("subject_token", session.as_str()), call[0], (half, "GET")];
        let answer = gateway.form("/oauth/2/token", &form).await;
        let got = (answer.status, answer.member("error"), answer.member("reason"));
        assert_eq!(
            got,
            (400, "invalid_request", "missing_call"),
            "{half}: {}",
            answer.text
        );
    }
    let wrong = stack.sts(0).bearer("guess").form("/oauth/2/token", &call).await;
    assert_eq!(wrong.member("error"), "invalid_client", "{}", wrong.text);
    let mut whole = call.to_vec();
    whole.extend([("subject_token", session.as_str()), ("scope", "orders:read")]);
    let minted = gateway.form("/oauth/2/token", &whole).await.expect(200);
    assert_eq!(claims(&text(&minted, "access_token"))["use"], json!("resource"));
}
