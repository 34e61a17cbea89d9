//! What changes between the moment a request is let in and the moment it writes: the write has the last word.

use super::connection::Consents;
use super::given::{application, deeds, rows, session, sql};
use super::{Zone, alone};
use caracal_testkit::oauth_server::{CODE, Manner};
use caracal_testkit::stack::{Service, Stack};
use caracal_testkit::{Answer, eventually, settings};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

const PATIENCE: Duration = Duration::from_secs(10);

/// A request that is let in and whose body has only begun to arrive.
struct Begun {
    connection: TcpStream,
    rest: String,
}

impl Begun {
    async fn post(stack: &Stack, token: &str, path: &str, body: &Value) -> Self {
        let url: Url = stack.url(Service::Api, 0).parse().expect("a URL");
        let address = (url.host_str().expect("a host"), url.port().expect("a port"));
        let mut connection = TcpStream::connect(address).await.expect("a connection");
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let (first, rest) = body.split_at(1);
        let sent = connection.write_all(format!("{head}{first}").as_bytes()).await;
        sent.expect("sent");
        let rest = rest.to_owned();
        Self { connection, rest }
    }

    /// Sends the rest; the status and the body's `error`.
    async fn end(mut self) -> (u16, String) {
        self.connection
            .write_all(self.rest.as_bytes())
            .await
            .expect("sent");
        let mut answer = String::new();
        self.connection
            .read_to_string(&mut answer)
            .await
            .expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head
            .split(' ')
            .nth(1)
            .expect("a status")
            .parse()
            .expect("a number");
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        (status, body["error"].as_str().unwrap_or_default().to_owned())
    }
}

/// As long as it takes to let a request in.
async fn let_in() {
    tokio::time::sleep(Duration::from_millis(400)).await;
}

async fn token(stack: &Stack, body: &Value) -> [String; 2] {
    let made = stack.admin().post("/v1/admin-tokens", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    [made.member("id").to_owned(), made.member("token").to_owned()]
}

fn named(n: usize) -> Value {
    json!({"identifier": format!("resource://{n}"), "scopes": ["read"]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_before_the_write_writes_nothing() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Ends").await;
    let of_zone = json!({"scope": "zone", "zone_id": zone.id});
    let [global, global_token] = token(&stack, &json!({"scope": "global"})).await;
    let [revoked, revoked_token] = token(&stack, &of_zone).await;
    let [expired, expired_token] = token(&stack, &of_zone).await;
    let [_, good] = token(&stack, &of_zone).await;
    let heir = Begun::post(
        &stack,
        &global_token,
        "/v1/admin-tokens",
        &json!({"scope": "global"}),
    )
    .await;
    let at = zone.at("resources");
    let late = [
        Begun::post(&stack, &revoked_token, &at, &named(1)).await,
        Begun::post(&stack, &expired_token, &at, &named(2)).await,
    ];
    let stays = Begun::post(&stack, &good, &at, &named(3)).await;
    let_in().await;
    for id in [&global, &revoked] {
        let path = format!("/v1/admin-tokens/{id}");
        assert_eq!(stack.admin().delete(&path).await.status, 204);
    }
    sql(
        &stack,
        &format!("UPDATE admin_tokens SET expires_at = now() WHERE id = '{expired}'"),
    )
    .await;
    let ended = (401, "invalid_admin_token".to_owned());
    assert_eq!(heir.end().await, ended);
    for request in late {
        assert_eq!(request.end().await, ended);
    }
    assert_eq!(stays.end().await.0, 201);
    assert_eq!(rows(&stack, "resources", &zone, "true").await, 1);
    let heirs = format!("SELECT count(*) FROM admin_tokens WHERE created_by = 'admin-token:{global}'");
    assert_eq!(stack.database().count(&heirs).await, 0);
    // One that ends itself does so.
    let [own, own_token] = token(&stack, &json!({"scope": "global"})).await;
    let own_caller = stack.anonymous(Service::Api, 0).bearer(&own_token);
    assert_eq!(
        own_caller.delete(&format!("/v1/admin-tokens/{own}")).await.status,
        204
    );
    assert_eq!(own_caller.get("/v1/zones").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_is_archived_before_the_write_is_not_written_to() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Archived").await;
    let [_, of_zone] = token(&stack, &json!({"scope": "zone", "zone_id": zone.id})).await;
    let at = zone.at("resources");
    let by_all = Begun::post(&stack, settings::ADMIN_TOKEN, &at, &named(1)).await;
    let by_its_own = Begun::post(&stack, &of_zone, &at, &named(2)).await;
    let_in().await;
    assert_eq!(
        zone.admin.delete(&format!("/v1/zones/{}", zone.id)).await.status,
        204
    );
    assert_eq!(by_all.end().await, (404, "zone_not_found".to_owned()));
    assert_eq!(by_its_own.end().await, (401, "invalid_admin_token".to_owned()));
    assert_eq!(rows(&stack, "resources", &zone, "true").await, 0);

    // And at once: nothing is later than the archive.
    let busy = Zone::new(&stack, "Busy").await;
    let path = format!("/v1/zones/{}", busy.id);
    let writes = join_all((0..8).map(|n| {
        let busy = &busy;
        async move { busy.post("resources", &named(n)).await }
    }));
    let (gone, written) = futures::join!(busy.admin.delete(&path), writes);
    let epoch = |answer: &Answer| answer.epoch().parse::<i64>().unwrap_or_default();
    for answer in &written {
        assert!(
            (answer.status == 201 && epoch(answer) < epoch(&gone))
                || answer.member("error") == "zone_not_found",
            "{}: {}",
            epoch(&gone),
            answer.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_becomes_or_ceases_to_be_a_system_zone_is_written_to_as_what_it_is() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Marked").await;
    let path = format!("/v1/zones/{}", zone.id);
    let [_, of_zone] = token(&stack, &json!({"scope": "zone", "zone_id": zone.id})).await;
    let at = zone.at("resources");
    let theirs = Begun::post(&stack, &of_zone, &at, &named(1)).await;
    // One that draws no epoch.
    let invitation = json!({"email": "ada@example.com", "role": "admin"});
    let invites = Begun::post(&stack, &of_zone, &zone.at("invitations"), &invitation).await;
    let_in().await;
    let mark = async |is_system: bool| {
        let marked = zone.admin.patch(&path, &json!({"is_system": is_system})).await;
        assert_eq!(marked.status, 200, "{}", marked.text);
    };
    mark(true).await;
    for request in [theirs, invites] {
        assert_eq!(request.end().await, (403, "system_zone_read_only".to_owned()));
    }
    let reserved = json!({"identifier": "caracal.sys/x", "scopes": ["read"]});
    let ours = Begun::post(&stack, settings::ADMIN_TOKEN, &at, &reserved).await;
    let plain = Begun::post(&stack, settings::ADMIN_TOKEN, &at, &named(2)).await;
    let_in().await;
    mark(false).await;
    assert_eq!(ours.end().await, (400, "reserved_namespace".to_owned()));
    assert_eq!(plain.end().await.0, 201);
}

/// Comes back from the provider, which takes its time, and meanwhile something is done.
async fn while_exchanged(world: &Consents, user: &str, meanwhile: impl AsyncFnOnce()) -> Answer {
    let begun = world.begin(user).await;
    let before = world.server.asked().len();
    world.server.behave(Manner::Late(Duration::from_millis(800)));
    let query = format!("state={}&code={CODE}", begun["state"].as_str().expect("a state"));
    let coming = world.back(&query);
    let doing = async {
        let asked = || async { (world.server.asked().len() > before).then_some(()) };
        eventually("a code on its way", PATIENCE, asked).await;
        meanwhile().await;
    };
    let (answer, ()) = futures::join!(coming, doing);
    world.server.behave(Manner::Good);
    answer
}

async fn active(world: &Consents) -> usize {
    let listed = world
        .zone
        .get("provider-connections?status=active")
        .await
        .expect(200);
    listed.as_array().map_or(usize::MAX, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_is_withdrawn_on_the_way_connects_nobody_and_its_tokens_go_back() {
    let stack = alone().start().await;
    let world = Consents::new(&stack).await;
    let zone = &world.zone;
    let kill = json!({"subject_id": "ann"});
    let invalid = |answer: &Answer, why: &str| {
        assert_eq!(
            (answer.status, answer.member("error")),
            (400, "oauth_state_invalid"),
            "{why}: {}",
            answer.text
        );
    };
    // Before it comes back.
    let begun = world.begin("ann").await;
    assert_eq!(zone.post("subjects/revoke", &kill).await.status, 200);
    let state = begun["state"].as_str().expect("a state");
    let late = world.back(&format!("state={state}&code={CODE}")).await;
    invalid(&late, "the kill switch");
    assert!(world.server.asked().is_empty(), "the code never left");
    // While its code is exchanged.
    let killed = while_exchanged(&world, "ann", async || {
        assert_eq!(zone.post("subjects/revoke", &kill).await.status, 200);
    })
    .await;
    invalid(&killed, "the kill switch, in the middle");
    let told = world.server.asked().pop().expect("a request");
    assert_eq!(
        (told.path.as_str(), told.form["token"].as_str()),
        ("/revoke", "refresh-1")
    );
    let path = zone.at(&format!("providers/{}", world.provider));
    let changed = while_exchanged(&world, "ann", async || {
        let other = json!({"name": "Another"});
        assert_eq!(zone.admin.patch(&path, &other).await.status, 200);
    })
    .await;
    invalid(&changed, "a provider that is no longer as it was");
    assert_eq!(active(&world).await, 0);
    // Who is blocked is sent nowhere.
    let blocked = json!({"subject_id": "ann", "block_until": "2099-01-01T00:00:00Z"});
    assert_eq!(zone.post("subjects/revoke", &blocked).await.status, 200);
    let refused = zone
        .post("provider-connections/authorize", &world.body("ann"))
        .await;
    assert_eq!(
        (refused.status, refused.member("error")),
        (409, "subject_blocked")
    );
    assert_eq!(world.connect("bob").await.status, 200);
    assert_eq!(zone.post("subjects/revoke", &kill).await.status, 200);
    assert_eq!(
        world.connect("ann").await.status,
        200,
        "without a block she may come again"
    );
    let gone = while_exchanged(&world, "cleo", async || {
        let resource = zone.at(&format!("resources/{}", world.resource));
        assert_eq!(zone.admin.delete(&resource).await.status, 204);
    })
    .await;
    invalid(&gone, "a resource that is gone");
    assert_eq!(active(&world).await, 0, "and those for it went with it");
    let world = Consents::new(&stack).await;
    let archived = while_exchanged(&world, "ann", async || {
        let path = format!("/v1/zones/{}", world.zone.id);
        assert_eq!(world.zone.admin.delete(&path).await.status, 204);
    })
    .await;
    invalid(&archived, "a zone that is gone");
    let told = world.server.asked().pop().expect("a request");
    assert_eq!(told.path, "/revoke", "and its tokens go back");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_with_their_provider_and_with_what_they_were_for() {
    let stack = alone().start().await;
    let world = Consents::new(&stack).await;
    let zone = &world.zone;
    let path = zone.at(&format!("providers/{}", world.provider));
    assert_eq!(world.connect("ann").await.status, 200);
    let renamed = json!({"name": "Renamed", "secret_config": {"client_secret": null}});
    assert_eq!(zone.admin.patch(&path, &renamed).await.status, 200);
    assert_eq!(active(&world).await, 1, "what users consented to is still there");
    let other = json!({"kind": "apikey", "config_json": {}});
    let other = zone.admin.patch(&path, &other).await;
    assert_eq!(other.status, 200, "{}", other.text);
    assert_eq!(active(&world).await, 0, "nobody consents to a key");

    let world = Consents::new(&stack).await;
    assert_eq!(world.connect("ann").await.status, 200);
    let path = world.zone.at(&format!("providers/{}", world.provider));
    assert_eq!(world.zone.admin.delete(&path).await.status, 204);
    assert_eq!(active(&world).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_parallel_revocations_of_a_connection_each_answers_that_it_has_ended() {
    let stack = alone().start().await;
    let world = Consents::new(&stack).await;
    for user in ["ann", "bob", "cleo"] {
        let connected = world.connect(user).await;
        let path = format!("provider-connections/{}/revoke", connected.member("id"));
        let answers = join_all((0..6).map(|_| {
            let (zone, path) = (&world.zone, &path);
            async move { zone.post(path, &json!({})).await }
        }))
        .await;
        for answer in &answers {
            assert_eq!(
                (answer.status, answer.member("status"), answer.header("etag")),
                (200, "revoked", "\"2\""),
                "{}",
                answer.text
            );
        }
    }
    assert_eq!(
        deeds(&stack, &world.zone, "connection.revoke").await,
        3,
        "each once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_begins_as_its_subject_is_cut_off_ends_with_the_others() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Beginning").await;
    let agent = application(&zone, "agent").await;
    session(&stack, &zone, &agent, "ann").await;
    let begin = |subject: &str| {
        format!(
            "INSERT INTO sessions (zone_id, id, session_type, subject_id, application_id, root_id, authenticated_at,
               expires_at, epoch)
             SELECT '{}', id, 'user', '{subject}', '{agent}', id, now(), now() + interval '1 hour', 1
             FROM (SELECT gen_random_uuid() AS id) new",
            zone.id
        )
    };
    for (subject, what, path, body) in [
        (
            "ann",
            "subject.revoke",
            zone.at("subjects/revoke"),
            json!({"subject_id": "ann"}),
        ),
        (
            "bob",
            "application.archive",
            zone.at(&format!("applications/{agent}")),
            Value::Null,
        ),
    ] {
        let mut beginning = stack.database().connect().await;
        let opened = beginning.transaction().await.expect("a transaction");
        opened
            .batch_execute(&begin(subject))
            .await
            .expect("a session begins");
        let admin = zone.admin.clone();
        let ending = tokio::spawn(async move {
            if body.is_null() {
                admin.delete(&path).await
            } else {
                admin.post(&path, &body).await
            }
        });
        let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let waiting = || async { (stack.database().count(waits).await == 1).then_some(()) };
        eventually("an end that waits for a beginning", PATIENCE, waiting).await;
        opened.commit().await.expect("the session has begun");
        let ended = ending.await.expect("an answer");
        assert!(ended.status < 300, "{what}: {}", ended.text);
        let live = format!("subject_id = '{subject}' AND revoked_at IS NULL");
        assert_eq!(rows(&stack, "sessions", &zone, &live).await, 0, "{what}");
    }
    // One that begins while the end is under way finds the cut-off.
    let refused = stack
        .database()
        .connect()
        .await
        .batch_execute(&begin("ann"))
        .await;
    let refused = refused.expect_err("an epoch of before");
    let constraint = refused.as_db_error().and_then(|error| error.constraint());
    assert_eq!(constraint, Some("sessions_cut_off"));
    assert_eq!(
        deeds(&stack, &zone, "session.revoke").await,
        3,
        "each end is told"
    );
}
