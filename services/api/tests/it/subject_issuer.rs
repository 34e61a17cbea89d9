use super::given::{ABSENT, all_invalid, deeds, tally, viewer};
use super::{Zone, alone};
use futures::future::join_all;
use serde_json::{Value, json};

fn issuer(n: usize) -> Value {
    json!({"issuer": format!("https://idp{n}.example/"), "audience": "caracal", "subject_prefix": format!("p{n}:")})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_is_registered_changed_and_archived() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Issuers").await;
    let body = json!({"issuer": "https://idp.example", "jwks_uri": "https://idp.example/keys", "audience": "caracal"});
    let made = zone.post("subject-issuers", &body).await;
    assert_eq!(
        (made.status, made.member("subject_prefix")),
        (201, ""),
        "{}",
        made.text
    );
    assert_eq!(
        made.member("issuer"),
        "https://idp.example",
        "kept as it is compared"
    );
    let path = format!("subject-issuers/{}", made.member("id"));
    assert_eq!(
        zone.admin
            .patch(&zone.at(&path), &json!({}))
            .await
            .member("error"),
        "no_fields"
    );
    let stale = zone.admin.clone().with("If-Match", "\"7\"");
    for refused in [
        stale.patch(&zone.at(&path), &json!({"audience": "x"})).await,
        stale.delete(&zone.at(&path)).await,
    ] {
        assert_eq!(
            (refused.status, refused.member("error")),
            (412, "version_conflict")
        );
    }
    let patch = json!({"jwks_uri": null, "subject_prefix": "idp:"});
    let changed = zone.admin.patch(&zone.at(&path), &patch).await;
    assert_eq!(
        (changed.status, changed.header("etag")),
        (200, "\"2\""),
        "{}",
        changed.text
    );
    assert_eq!(
        (&changed.body["jwks_uri"], changed.member("subject_prefix")),
        (&Value::Null, "idp:")
    );
    assert_eq!(zone.get(&path).await.body, changed.body);
    assert_eq!(zone.admin.delete(&zone.at(&path)).await.status, 204);
    assert_eq!(zone.get(&path).await.member("error"), "subject_issuer_not_found");
    assert_eq!(zone.get("subject-issuers").await.expect(200), json!([]));
    assert_eq!(
        zone.post("subject-issuers", &body).await.status,
        201,
        "an archived one keeps nothing"
    );
    for (deed, count) in [("create", 2), ("update", 1), ("archive", 1)] {
        assert_eq!(
            deeds(&stack, &zone, &format!("subject_issuer.{deed}")).await,
            count,
            "{deed}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_and_a_token_lead_to_one_issuer() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Prefixes").await;
    assert_eq!(zone.post("subject-issuers", &issuer(1)).await.status, 201);
    let mut plain = issuer(2);
    plain["subject_prefix"] = json!("");
    assert_eq!(
        zone.post("subject-issuers", &plain).await.status,
        201,
        "one may be empty"
    );
    let mut second_empty = issuer(3);
    second_empty["subject_prefix"] = json!("");
    let mut same_prefix = issuer(4);
    same_prefix["subject_prefix"] = json!("p1:");
    let mut same_tokens = issuer(1);
    same_tokens["subject_prefix"] = json!("other:");
    for body in [&second_empty, &same_prefix, &same_tokens] {
        let refused = zone.post("subject-issuers", body).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (409, "subject_issuer_already_exists"),
            "{body}"
        );
    }
    let third = zone
        .post("subject-issuers", &issuer(5))
        .await
        .member("id")
        .to_owned();
    let path = zone.at(&format!("subject-issuers/{third}"));
    let refused = zone.admin.patch(&path, &json!({"subject_prefix": "p1:"})).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (409, "subject_issuer_already_exists")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_writers_make_twenty_and_no_more() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Twenty").await;
    let answers = join_all((0..50).map(|n| {
        let zone = &zone;
        async move { zone.post("subject-issuers", &issuer(n)).await }
    }))
    .await;
    assert_eq!(
        (
            tally(&answers, 201, ""),
            tally(&answers, 409, "subject_issuer_limit_exceeded")
        ),
        (20, 30)
    );
    let listed = zone.get("subject-issuers").await.expect(200);
    assert_eq!(listed.as_array().expect("a list").len(), 20);
    let other = Zone::new(&stack, "Other").await;
    let made = other.post("subject-issuers", &issuer(0)).await;
    assert_eq!(made.status, 201, "another zone has its own twenty: {}", made.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_issuers_and_bad_addresses_are_refused() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Bad").await;
    let with = |field: &str, value: Value| {
        let mut body = issuer(1);
        body[field] = value;
        body
    };
    // A stack without an STS has its issuers at 127.0.0.1:1.
    let ours = format!("http://127.0.0.1:1/zones/{}", zone.id);
    let bodies = [
        json!({}),
        with("issuer", json!(ours)),
        with("issuer", json!("http://127.0.0.1:1")),
        with("issuer", json!("https://127.0.0.1:1/zones/../zones/x")),
        with("issuer", json!("ftp://idp.example")),
        with("issuer", json!("idp.example")),
        with("issuer", json!("https://user:pass@idp.example")),
        with("issuer", json!("https://idp.example?tenant=1")),
        with("issuer", json!("https://idp.example#x")),
        with("issuer", json!("http://169.254.169.254/")),
        with("issuer", json!(7)),
        with("jwks_uri", json!("http://169.254.169.254/latest/meta-data")),
        with("jwks_uri", json!("http://[::ffff:169.254.169.254]/")),
        with("jwks_uri", json!("file:///etc/passwd")),
        with("audience", json!("")),
        with("audience", json!("x".repeat(256))),
        with("subject_prefix", json!("a b")),
        with("subject_prefix", json!("a\u{7}")),
        with("subject_prefix", json!(1)),
        with("extra", json!(1)),
    ];
    all_invalid(&zone, "subject-issuers", &bodies).await;
    let made = zone
        .post("subject-issuers", &issuer(1))
        .await
        .member("id")
        .to_owned();
    let path = zone.at(&format!("subject-issuers/{made}"));
    for patch in [
        json!({"issuer": ours}),
        json!({"issuer": null}),
        json!({"jwks_uri": "http://0.0.0.0/"}),
    ] {
        assert_eq!(
            zone.admin.patch(&path, &patch).await.member("error"),
            "invalid_body",
            "{patch}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_issuers_are_absent_and_viewers_read() {
    let stack = alone().start().await;
    let (zone, other) = (Zone::new(&stack, "Mine").await, Zone::new(&stack, "Theirs").await);
    let theirs = other
        .post("subject-issuers", &issuer(1))
        .await
        .member("id")
        .to_owned();
    for id in ABSENT.iter().copied().chain([theirs.as_str()]) {
        let path = zone.at(&format!("subject-issuers/{id}"));
        for refused in [
            zone.admin.get(&path).await,
            zone.admin.patch(&path, &json!({"audience": "x"})).await,
            zone.admin.delete(&path).await,
        ] {
            assert_eq!(
                (refused.status, refused.member("error")),
                (404, "subject_issuer_not_found"),
                "{id}"
            );
        }
    }
    let viewer = viewer(&stack, &zone).await;
    assert_eq!(viewer.get(&zone.at("subject-issuers")).await.status, 200);
    let refused = viewer.post(&zone.at("subject-issuers"), &issuer(1)).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (403, "admin_token_read_only")
    );
    let refused = viewer.get(&other.at("subject-issuers")).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (403, "admin_token_zone_mismatch")
    );
}
