use super::given::{ABSENT, all_invalid, deeds, sql, tally, viewer};
use super::{Zone, alone};
use caracal_testkit::Answer;
use caracal_testkit::stack::{Service, Stack};
use chrono::{DateTime, Utc};
use futures::future::join_all;
use serde_json::json;

async fn accept(stack: &Stack, token: &str) -> Answer {
    stack
        .anonymous(Service::Api, 0)
        .post("/v1/invitations/accept", &json!({"token": token}))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_accepts_administers_the_zone_as_invited() {
    let stack = alone().start().await;
    let (zone, other) = (Zone::new(&stack, "Invited").await, Zone::new(&stack, "Not").await);
    for (role, status) in [("admin", 201), ("viewer", 403)] {
        let made = zone
            .post("invitations", &json!({"email": "ada@example.com", "role": role}))
            .await;
        assert_eq!(
            (made.status, made.member("status")),
            (201, "pending"),
            "{}",
            made.text
        );
        assert_eq!(made.header("cache-control"), "no-store");
        let listed = zone.get("invitations").await;
        assert!(!listed.text.contains("\"token\""), "{}", listed.text);
        let token = accept(&stack, made.member("token")).await;
        assert_eq!(
            (token.status, token.member("scope")),
            (201, "zone"),
            "{}",
            token.text
        );
        assert_eq!(
            (token.member("zone_id"), &token.body["read_only"]),
            (zone.id.as_str(), &json!(role == "viewer"))
        );
        let caller = stack.anonymous(Service::Api, 0).bearer(token.member("token"));
        assert_eq!(caller.get(&zone.at("resources")).await.status, 200);
        let body = json!({"identifier": "resource://r", "scopes": ["r:read"]});
        assert_eq!(
            caller.post(&zone.at("resources"), &body).await.status,
            status,
            "{role}"
        );
        assert_eq!(caller.get(&other.at("resources")).await.status, 403);
        let again = accept(&stack, made.member("token")).await;
        assert_eq!(
            (again.status, again.member("error")),
            (404, "invitation_not_found"),
            "single use"
        );
        let path = zone.at(&format!("invitations/{}", made.member("id")));
        assert_eq!(
            zone.admin.delete(&path).await.member("error"),
            "invitation_not_found"
        );
    }
    let listed = zone.get("invitations").await.expect(200);
    let statuses: Vec<_> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| &row["status"])
        .collect();
    assert_eq!(statuses, ["accepted", "accepted"]);
    assert_eq!(deeds(&stack, &zone, "invitation.create").await, 2);
    assert_eq!(deeds(&stack, &zone, "invitation.accept").await, 2);
    let leaked = "SELECT count(*) FROM event_spool WHERE position('cinv_'::bytea in payload) > 0
        OR position('cat_'::bytea in payload) > 0";
    assert_eq!(
        stack.database().count(leaked).await,
        0,
        "no token is in the ledger"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acceptance_whose_answer_was_lost_can_be_repeated() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Lost").await;
    let invite = async || {
        let body = json!({"email": "ada@example.com", "role": "admin"});
        let made = zone.post("invitations", &body).await;
        json!({"token": made.member("token")})
    };
    let (mine, other) = (invite().await, invite().await);
    let anyone = stack.anonymous(Service::Api, 0).with("Idempotency-Key", "accept");
    let first = anyone.post("/v1/invitations/accept", &mine).await;
    assert_eq!(
        (first.status, first.header("idempotency-replayed")),
        (201, ""),
        "{}",
        first.text
    );
    let again = anyone.post("/v1/invitations/accept", &mine).await;
    assert_eq!(
        (again.status, again.header("idempotency-replayed")),
        (201, "true"),
        "{}",
        again.text
    );
    assert_eq!(
        (again.member("id"), again.member("token")),
        (first.member("id"), ""),
        "the secret is shown once"
    );
    // A key is whoever's who holds the token, so nobody can take another's.
    let theirs = anyone.post("/v1/invitations/accept", &other).await;
    assert_eq!(
        (theirs.status, theirs.header("idempotency-replayed")),
        (201, ""),
        "{}",
        theirs.text
    );
    let absent = anyone
        .post("/v1/invitations/accept", &json!({"token": "nonsense"}))
        .await;
    assert_eq!(absent.member("error"), "invitation_not_found");
    let kept =
        "SELECT count(*) FROM idempotency_keys WHERE actor LIKE '%cinv_%' OR response::text LIKE '%cat_%'";
    assert_eq!(stack.database().count(kept).await, 0);
    let kept = "SELECT count(*) FROM idempotency_keys";
    assert_eq!(
        stack.database().count(kept).await,
        2,
        "nothing is kept of what was refused"
    );
    for key in ["", &"k".repeat(256)] {
        let odd = stack.anonymous(Service::Api, 0).with("Idempotency-Key", key);
        let refused = odd.post("/v1/invitations/accept", &mine).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_idempotency_key"),
            "{key}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_acceptances_one_counts() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Race").await;
    let made = zone
        .post(
            "invitations",
            &json!({"email": "ada@example.com", "role": "viewer"}),
        )
        .await;
    let answers = join_all((0..50).map(|_| accept(&stack, made.member("token")))).await;
    assert_eq!(
        (
            tally(&answers, 201, ""),
            tally(&answers, 404, "invitation_not_found")
        ),
        (1, 49)
    );
    let tokens = format!("SELECT count(*) FROM admin_tokens WHERE zone_id = '{}'", zone.id);
    assert_eq!(stack.database().count(&tokens).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_ends_by_time_by_word_and_with_its_zone() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Ends").await;
    let body = json!({"email": "ada@example.com", "role": "admin"});
    let made = zone.post("invitations", &body).await;
    let minutes = |answer: &Answer| {
        let time = |name| answer.member(name).parse::<DateTime<Utc>>().expect("a time");
        (time("expires_at") - time("created_at")).num_minutes()
    };
    assert!(
        (7 * 24 * 60 - 1..=7 * 24 * 60).contains(&minutes(&made)),
        "seven days"
    );
    let mut brief = body.clone();
    brief["expires_in"] = json!(600);
    let brief = zone.post("invitations", &brief).await;
    assert!((9..=10).contains(&minutes(&brief)), "ten minutes: {}", brief.text);
    sql(
        &stack,
        "UPDATE invitations SET expires_at = now() - interval '1 second'",
    )
    .await;
    assert_eq!(
        accept(&stack, made.member("token")).await.member("error"),
        "invitation_not_found"
    );
    assert_eq!(zone.get("invitations").await.expect(200)[0]["status"], "expired");

    let taken = zone.post("invitations", &body).await;
    let path = zone.at(&format!("invitations/{}", taken.member("id")));
    assert_eq!(zone.admin.delete(&path).await.status, 204);
    assert_eq!(zone.admin.delete(&path).await.status, 404);
    assert_eq!(
        accept(&stack, taken.member("token")).await.member("error"),
        "invitation_not_found"
    );
    assert_eq!(deeds(&stack, &zone, "invitation.revoke").await, 1);

    let open = zone.post("invitations", &body).await;
    assert_eq!(
        zone.admin.delete(&format!("/v1/zones/{}", zone.id)).await.status,
        204
    );
    assert_eq!(
        accept(&stack, open.member("token")).await.member("error"),
        "invitation_not_found"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_invitations_and_foreign_ones_are_refused() {
    let stack = alone().start().await;
    let (zone, other) = (Zone::new(&stack, "Mine").await, Zone::new(&stack, "Theirs").await);
    let bodies = [
        json!({}),
        json!({"email": "nobody", "role": "admin"}),
        json!({"email": "", "role": "admin"}),
        json!({"email": "a@b.example", "role": "owner"}),
        json!({"email": "a@b.example", "role": "admin", "expires_in": 0}),
        json!({"email": "a@b.example", "role": "admin", "expires_in": 604_801}),
        json!({"email": "a@b.example", "role": "admin", "token": "x"}),
    ];
    all_invalid(&zone, "invitations", &bodies).await;
    let body = json!({"email": "a@b.example", "role": "admin", "expires_in": 60});
    let theirs = other.post("invitations", &body).await.member("id").to_owned();
    for id in ABSENT.iter().copied().chain([theirs.as_str()]) {
        let item = format!("invitations/{id}");
        for refused in [zone.admin.delete(&zone.at(&item)).await, zone.get(&item).await] {
            assert_eq!(
                (refused.status, refused.member("error")),
                (404, "invitation_not_found"),
                "{id}"
            );
        }
    }
    let item = format!("invitations/{theirs}");
    let shown = other.get(&item).await.expect(200);
    assert_eq!(other.get("invitations").await.expect(200), json!([shown]));
    assert_eq!(shown.get("token"), None);
    assert_eq!(other.admin.delete(&other.at(&item)).await.status, 204);
    assert_eq!(other.get(&item).await.member("error"), "invitation_not_found");
    for token in ["", "nonsense", "cinv_nonsense"] {
        assert_eq!(
            accept(&stack, token).await.member("error"),
            "invitation_not_found",
            "{token}"
        );
    }
    let anyone = stack.anonymous(Service::Api, 0);
    for body in [
        json!({}),
        json!({"token": 1}),
        json!({"token": "x", "more": 1}),
        json!([]),
    ] {
        let refused = anyone.post("/v1/invitations/accept", &body).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_body"),
            "{body}"
        );
    }
    let viewer = viewer(&stack, &zone).await;
    assert_eq!(
        viewer.post(&zone.at("invitations"), &body).await.member("error"),
        "admin_token_read_only"
    );
}
