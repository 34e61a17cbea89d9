use super::given::{
    ABSENT, agent, all_invalid, application, deeds, rows, session, session_below, tally, viewer,
};
use super::{Zone, alone};
use caracal_testkit::stack::Stack;
use futures::future::join_all;
use serde_json::{Value, json};

struct Setting {
    zone: Zone,
    application: String,
    resource: String,
}

async fn setting(stack: &Stack) -> Setting {
    let zone = Zone::new(stack, "Grants").await;
    let application = application(&zone, "agent").await;
    let body = json!({"identifier": "resource://orders", "scopes": ["orders:read", "orders:write"]});
    let resource = zone.post("resources", &body).await.member("id").to_owned();
    Setting {
        zone,
        application,
        resource,
    }
}

impl Setting {
    fn body(&self, user: &str) -> Value {
        json!({"application_id": self.application, "user_id": user, "resource_id": self.resource,
            "scopes": ["orders:read"]})
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_made_shown_and_revoked() {
    let stack = alone().start().await;
    let set = setting(&stack).await;
    let made = set.zone.post("grants", &set.body("ada")).await;
    assert_eq!(
        (made.status, made.member("status")),
        (201, "active"),
        "{}",
        made.text
    );
    assert!(made.header("etag") == "\"1\"" && !made.epoch().is_empty());
    let path = format!("grants/{}", made.member("id"));
    let shown = set.zone.get(&path).await.expect(200);
    assert_eq!(shown["scopes"], json!(["orders:read"]));
    assert_eq!(shown["user_id"], "ada");

    let mut other = set.body("bob");
    other["scopes"] = json!(["orders:write", "orders:read", "orders:write"]);
    let made = set.zone.post("grants", &other).await.expect(201);
    assert_eq!(
        made["scopes"],
        json!(["orders:write", "orders:read"]),
        "as given, each once"
    );

    let stale = set
        .zone
        .admin
        .clone()
        .with("If-Match", "\"9\"")
        .delete(&set.zone.at(&path))
        .await;
    assert_eq!((stale.status, stale.member("error")), (412, "version_conflict"));
    assert_eq!(set.zone.get(&path).await.member("status"), "active");
    let gone = set.zone.admin.delete(&set.zone.at(&path)).await;
    assert_eq!((gone.status, gone.epoch().is_empty()), (204, false));
    assert_eq!(set.zone.get(&path).await.member("status"), "revoked");
    let again = set.zone.admin.delete(&set.zone.at(&path)).await;
    assert_eq!((again.status, again.member("error")), (404, "grant_not_found"));
    assert_eq!(
        set.zone.post("grants", &set.body("ada")).await.status,
        201,
        "a revoked one does not stand in the way"
    );
    assert_eq!(deeds(&stack, &set.zone, "grant.create").await, 3);
    assert_eq!(deeds(&stack, &set.zone, "grant.revoke").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_a_grant_ends_every_session_of_its_user() {
    let stack = alone().start().await;
    let set = setting(&stack).await;
    let other = application(&set.zone, "other").await;
    for (application, user) in [
        (&set.application, "ada"),
        (&other, "ada"),
        (&set.application, "bob"),
    ] {
        session(&stack, &set.zone, application, user).await;
    }
    let grant = set
        .zone
        .post("grants", &set.body("ada"))
        .await
        .member("id")
        .to_owned();
    let before = rows(&stack, "outbox", &set.zone, "subject = 'caracal.sessions.revoke'").await;
    assert_eq!(
        set.zone
            .admin
            .delete(&set.zone.at(&format!("grants/{grant}")))
            .await
            .status,
        204
    );
    let active = set.zone.get("sessions?status=active").await.expect(200);
    let left: Vec<_> = active["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| &row["subject_id"])
        .collect();
    assert_eq!(left, [&json!("bob")]);
    assert_eq!(
        rows(&stack, "anchors", &set.zone, "kind = 'subject' AND value = 'ada'").await,
        1
    );
    let after = rows(&stack, "outbox", &set.zone, "subject = 'caracal.sessions.revoke'").await;
    assert_eq!(after, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_grants_at_once_one_holds_and_of_fifty_revocations_one_counts() {
    let stack = alone().start().await;
    let set = setting(&stack).await;
    let body = set.body("ada");
    let answers = join_all((0..50).map(|_| set.zone.post("grants", &body))).await;
    assert_eq!(
        (
            tally(&answers, 201, ""),
            tally(&answers, 409, "grant_already_exists")
        ),
        (1, 49)
    );
    let made = answers.iter().find(|answer| answer.status == 201).expect("one");
    let path = set.zone.at(&format!("grants/{}", made.member("id")));
    let answers = join_all((0..50).map(|_| set.zone.admin.delete(&path))).await;
    assert_eq!(
        (tally(&answers, 204, ""), tally(&answers, 404, "grant_not_found")),
        (1, 49)
    );
    assert_eq!(deeds(&stack, &set.zone, "grant.revoke").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_stays_within_its_zone_and_its_resource() {
    let stack = alone().start().await;
    let set = setting(&stack).await;
    let foreign = setting(&stack).await;
    let mut beyond = set.body("ada");
    beyond["scopes"] = json!(["orders:read", "orders:delete"]);
    let refused = set.zone.post("grants", &beyond).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (403, "grant_scopes_exceed_resource")
    );
    for (field, foreign, code) in [
        ("application_id", &foreign.application, "application_not_found"),
        ("resource_id", &foreign.resource, "resource_not_found"),
    ] {
        for id in [foreign.as_str(), ABSENT[0]] {
            let mut body = set.body("ada");
            body[field] = json!(id);
            let refused = set.zone.post("grants", &body).await;
            assert_eq!((refused.status, refused.member("error")), (404, code), "{id}");
        }
    }
    let theirs = foreign
        .zone
        .post("grants", &foreign.body("ada"))
        .await
        .member("id")
        .to_owned();
    for id in ABSENT.iter().copied().chain([theirs.as_str()]) {
        let path = format!("grants/{id}");
        assert_eq!(
            set.zone.get(&path).await.member("error"),
            "grant_not_found",
            "{id}"
        );
        let refused = set.zone.admin.delete(&set.zone.at(&path)).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (404, "grant_not_found"),
            "{id}"
        );
    }
    let viewer = viewer(&stack, &set.zone).await;
    assert_eq!(viewer.get(&set.zone.at("grants")).await.status, 200);
    let refused = viewer.post(&set.zone.at("grants"), &set.body("ada")).await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (403, "admin_token_read_only")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_listed_by_what_they_bind() {
    let stack = alone().start().await;
    let set = setting(&stack).await;
    for user in ["ada", "bob", "cyd"] {
        assert_eq!(set.zone.post("grants", &set.body(user)).await.status, 201);
    }
    let second = application(&set.zone, "second").await;
    let body = json!({"identifier": "resource://second", "scopes": ["orders:read"]});
    let elsewhere = set.zone.post("resources", &body).await.member("id").to_owned();
    for (field, id) in [("application_id", &second), ("resource_id", &elsewhere)] {
        let mut body = set.body("dan");
        body[field] = json!(id);
        assert_eq!(set.zone.post("grants", &body).await.status, 201, "{field}");
    }
    let ada = set.zone.get("grants?user_id=ada").await.expect(200);
    let id = ada[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        set.zone
            .admin
            .delete(&set.zone.at(&format!("grants/{id}")))
            .await
            .status,
        204
    );
    let (application, resource) = (&set.application, &set.resource);
    for (query, count) in [
        (String::new(), 5),
        ("?status=active".to_owned(), 4),
        ("?status=revoked".to_owned(), 1),
        ("?user_id=bob".to_owned(), 1),
        ("?user_id=dan".to_owned(), 2),
        (format!("?application_id={application}"), 4),
        (format!("?application_id={second}"), 1),
        (format!("?resource_id={resource}"), 4),
        (format!("?resource_id={elsewhere}"), 1),
        ("?status=revoked&user_id=ada".to_owned(), 1),
        ("?status=revoked&user_id=bob".to_owned(), 0),
        (format!("?application_id={application}&resource_id={resource}"), 3),
        (format!("?application_id={}", ABSENT[0]), 0),
    ] {
        let listed = set.zone.get(&format!("grants{query}")).await.expect(200);
        assert_eq!(listed.as_array().expect("a list").len(), count, "{query}");
    }
    for query in ["status=gone", "application_id=nonsense", "limit=0", "nonsense=1"] {
        assert_eq!(
            set.zone.get(&format!("grants?{query}")).await.member("error"),
            "invalid_query",
            "{query}"
        );
    }
    let first = set.zone.get("grants?limit=2").await;
    assert!(
        first.header("link").contains("rel=\"next\""),
        "{}",
        first.header("link")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_grant_is_refused() {
    let stack = alone().start().await;
    let set = setting(&stack).await;
    let with = |field: &str, value: Value| {
        let mut body = set.body("ada");
        body[field] = value;
        body
    };
    let many: Vec<String> = (0..65).map(|n| format!("s:{n}")).collect();
    let bodies = [
        json!({}),
        with("application_id", json!("nonsense")),
        with("user_id", json!("")),
        with("user_id", json!("a\u{7}b")),
        with("user_id", json!("x".repeat(513))),
        with("scopes", json!([])),
        with("scopes", json!(["Upper:Case"])),
        with("scopes", json!(["x".repeat(201)])),
        with("scopes", json!(many)),
        with("status", json!("active")),
    ];
    all_invalid(&set.zone, "grants", &bodies).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_granted_of_or_to_what_is_archived() {
    let stack = alone().start().await;
    let set = setting(&stack).await;
    for (path, code) in [
        (format!("resources/{}", set.resource), "resource_not_found"),
        (
            format!("applications/{}", set.application),
            "application_not_found",
        ),
    ] {
        assert_eq!(set.zone.admin.delete(&set.zone.at(&path)).await.status, 204);
        let refused = set.zone.post("grants", &set.body("ada")).await;
        assert_eq!((refused.status, refused.member("error")), (404, code));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_a_grant_ends_what_an_agent_does_in_its_users_session() {
    let stack = alone().start().await;
    let set = setting(&stack).await;
    let (zone, application) = (&set.zone, &set.application);
    let user = session(&stack, zone, application, "ada").await;
    agent(&stack, zone, application, Some(&user), None).await;
    let below = session_below(&stack, zone, application, application, (&user, &user)).await;
    let alone = session(&stack, zone, application, application).await;
    let grant = zone.post("grants", &set.body("ada")).await;
    let path = zone.at(&format!("grants/{}", grant.member("id")));
    assert_eq!(zone.admin.delete(&path).await.status, 204);
    let active = zone.get("sessions?status=active").await.expect(200);
    let active: Vec<_> = active["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| &row["id"])
        .collect();
    assert_eq!(
        active,
        [&json!(alone)],
        "a session of the application's own goes on"
    );
    for (kind, value) in [
        ("subject", "ada"),
        ("sid", below.as_str()),
        ("root_sid", user.as_str()),
    ] {
        let anchor = format!("kind = '{kind}' AND value = '{value}'");
        assert_eq!(rows(&stack, "anchors", zone, &anchor).await, 1, "{kind} {value}");
    }
}
