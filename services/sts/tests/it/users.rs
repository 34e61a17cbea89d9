//! User sessions: what a registered issuer says of a user becomes a session, and nothing else ever does (contract §1,
//! "Subject issuers"; §2, "Classes").

use crate::signing::{KeyPair, now, set};
use caracal_testkit::world::claims;
use caracal_testkit::{Answer, Conduct, Documents, Stack, World, eventually};
use serde_json::{Value, json};
use std::time::Duration;

const JWKS: &str = "/jwks.json";
const AUDIENCE: &str = "caracal-client";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Moves the zone's epoch on, as every write of the control plane does.
pub(crate) async fn bump_epoch(stack: &Stack, world: &World) -> String {
    let statement = format!(
        "UPDATE zones SET previous_epoch = epoch, epoch = nextval('zone_epoch_seq'), \
         changed_xid = pg_current_xact_id() WHERE id = '{}'",
        world.zone_id
    );
    let database = stack.database().connect().await;
    database
        .batch_execute(&statement)
        .await
        .expect("the zone is there");
    let query = format!("SELECT epoch FROM zones WHERE id = '{}'", world.zone_id);
    stack.database().count(&query).await.to_string()
}

/// An outside issuer, registered in the world's zone.
pub(crate) struct Issuer {
    server: Documents,
    key: KeyPair,
    pub(crate) epoch: String,
}

impl Issuer {
    /// With its keys at a known place, or found by discovery.
    pub(crate) async fn register(stack: &Stack, world: &World, prefix: &str, discovery: bool) -> Self {
        let (server, key) = (Documents::start(), KeyPair::new("RS256", "idp"));
        server.put(JWKS, set(&[&key]));
        let document = json!({"issuer": server.url(""), "jwks_uri": server.url(JWKS)});
        server.put("/.well-known/openid-configuration", document);
        let jwks_uri = if discovery {
            "NULL".to_owned()
        } else {
            format!("'{}'", server.url(JWKS))
        };
        let issuer = server.url("");
        let statement = format!(
            "INSERT INTO subject_issuers (zone_id, id, issuer, jwks_uri, audience, subject_prefix) \
             VALUES ('{}', gen_random_uuid(), '{issuer}', {jwks_uri}, '{AUDIENCE}', '{prefix}')",
            world.zone_id
        );
        let database = stack.database().connect().await;
        database
            .batch_execute(&statement)
            .await
            .expect("it can be registered");
        let epoch = bump_epoch(stack, world).await;
        Self { server, key, epoch }
    }

    fn claims(&self, sub: &str) -> Value {
        json!({
            "iss": self.server.url(""), "sub": sub, "aud": AUDIENCE, "iat": now(), "exp": now() + 300,
            "auth_time": now() - 100, "email": "ada@example.org", "nonce": "n",
        })
    }

    pub(crate) fn id_token(&self, sub: &str) -> String {
        self.key.sign(&self.claims(sub))
    }

    /// Asks for a session with this token, at an epoch that knows the issuer.
    pub(crate) async fn sign_in(
        &self,
        stack: &Stack,
        world: &World,
        token: &str,
        more: &[(&str, &str)],
    ) -> Answer {
        let sts = stack.sts(0).with("Caracal-Min-Epoch", &self.epoch);
        let mut fields = vec![("subject_token", token), ("subject_token_type", ID_TOKEN)];
        fields.extend_from_slice(more);
        world.token(&sts, &fields).await
    }
}

fn refusal(answer: &Answer) -> (u16, &str, &str) {
    (answer.status, answer.member("error"), answer.member("reason"))
}

/// Allows whatever a user that signed in at the registered issuer asks for.
const USERS_ONLY: &str = r#"package caracal.authz

import rego.v1

result := {"decision": "allow", "evaluation_status": "complete", "determining_policies": ["users"], "diagnostics": []} if {
  input.session.type == "user"
  startswith(input.session.subject_id, "idp|")
  time.parse_rfc3339_ns(input.session.authenticated_at) < time.parse_rfc3339_ns(input.context.time.rfc3339) - 60000000000
}
"#;

#[tokio::test]
async fn an_id_token_becomes_a_users_session_and_its_mandates_speak_for_the_user() {
    let stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    world.adopt(USERS_ONLY).await;
    let issuer = Issuer::register(&stack, &world, "idp|", false).await;
    let opened = issuer.sign_in(&stack, &world, &issuer.id_token("ada"), &[]).await;
    assert_eq!(opened.status, 200, "{}", opened.text);
    assert_eq!(opened.body["expires_in"], 3600);
    let session = opened.member("access_token");
    let said = claims(session);
    assert_eq!(
        (&said["sub"], &said["sub_type"], &said["use"]),
        (&json!("idp|ada"), &json!("user"), &json!("session"))
    );
    assert_eq!(
        (&said["client_id"], &said["aud"]),
        (&json!(world.application_id), &json!([said["iss"]]))
    );
    assert!(said["auth_time"].as_i64().is_some_and(|at| at < now() - 60));

    let minted = world.mandate(&stack.sts(0), session, "orders:read").await;
    assert_eq!(minted.status, 200, "policy sees a user: {}", minted.text);
    let mandate = claims(minted.member("access_token"));
    assert_eq!(
        (&mandate["sub"], &mandate["sub_type"], &mandate["sid"]),
        (&json!("idp|ada"), &json!("user"), &said["sid"])
    );
    let own = world
        .mandate(&stack.sts(0), &world.session(&stack.sts(0)).await, "orders:read")
        .await;
    assert_eq!(own.status, 403, "the application by itself is no user");

    let list = stack
        .admin()
        .get(&world.path("sessions?subject_id=idp%7Cada"))
        .await;
    let row = list
        .body
        .pointer("/rows/0")
        .expect("the session is listed")
        .clone();
    assert_eq!(
        (&row["id"], &row["session_type"], &row["status"]),
        (&said["sid"], &json!("user"), &json!("active"))
    );
    assert_ne!(
        row["authenticated_at"], row["created_at"],
        "when the user signed in there"
    );

    // Ending the session ends what was minted from it.
    assert_eq!(
        world
            .revoke_session(said["sid"].as_str().expect("an id"))
            .await
            .status,
        200
    );
    eventually("the session has ended", Duration::from_secs(2), || async {
        (world
            .mandate(&stack.sts(0), session, "orders:read")
            .await
            .member("reason")
            == "session_revoked")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_session_that_names_a_resource_is_decided_with_the_issuers_own_claims() {
    let stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    let rego = r#"package caracal.authz

import rego.v1

result := {"decision": "allow", "evaluation_status": "complete", "determining_policies": ["mail"], "diagnostics": []} if {
  input.context.subject_claims.email == "ada@example.org"
}
"#;
    world.adopt(rego).await;
    let issuer = Issuer::register(&stack, &world, "", true).await;
    let resource = [("resource", world.resource.as_str()), ("scope", "orders:read")];
    let opened = issuer
        .sign_in(&stack, &world, &issuer.id_token("ada"), &resource)
        .await;
    assert_eq!(opened.status, 200, "found by discovery: {}", opened.text);
    let said = claims(opened.member("access_token"));
    assert_eq!(
        (&said["sub"], &said["target"]),
        (&json!("ada"), &json!([world.resource]))
    );
    let mut other = issuer.claims("eve");
    other["email"] = json!("eve@example.org");
    let denied = issuer
        .sign_in(&stack, &world, &issuer.key.sign(&other), &resource)
        .await;
    assert_eq!(denied.status, 403, "{}", denied.text);
}

#[tokio::test]
async fn what_a_token_is_decides_and_not_what_it_is_called() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let issuer = Issuer::register(&stack, &world, "idp|", false).await;
    for spelling in ["id_token", "jwt", "access_token"] {
        let kind = format!("urn:ietf:params:oauth:token-type:{spelling}");
        let sts = stack.sts(0).with("Caracal-Min-Epoch", &issuer.epoch);
        let token = issuer.id_token("ada");
        let fields = [("subject_token", token.as_str()), ("subject_token_type", &kind)];
        let opened = world.token(&sts, &fields).await;
        assert_eq!(opened.status, 200, "{spelling}: {}", opened.text);
        assert_eq!(
            claims(opened.member("access_token"))["sub_type"],
            "user",
            "{spelling}"
        );
    }
    // None of our own tokens is an ID token, whatever it is called: it cannot come in by that door.
    let session = world.session(&stack.sts(0)).await;
    let user = issuer.sign_in(&stack, &world, &issuer.id_token("ada"), &[]).await;
    let mandate = world.mandate(&stack.sts(0), &session, "orders:read").await;
    for token in [
        session.as_str(),
        user.member("access_token"),
        mandate.member("access_token"),
    ] {
        for resource in [&[][..], &[("resource", world.resource.as_str())]] {
            let answer = issuer.sign_in(&stack, &world, token, resource).await;
            assert_eq!(
                refusal(&answer),
                (400, "invalid_grant", "subject_token_wrong_use")
            );
        }
    }
    // A registered issuer that signs a token which says it is ours is not believed.
    let mut forged = claims(&session);
    forged["sub"] = json!("somebody");
    for forgery in [forged.clone(), {
        forged["iss"] = json!(format!("{}/", forged["iss"].as_str().expect("an issuer")));
        forged
    }] {
        let answer = issuer
            .sign_in(&stack, &world, &issuer.key.sign(&forgery), &[])
            .await;
        assert_eq!(
            (answer.status, answer.member("error")),
            (400, "invalid_grant"),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn tokens_that_are_not_right_make_no_session() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let issuer = Issuer::register(&stack, &world, "", false).await;
    let other = KeyPair::new("RS256", "idp");
    let with = |name: &str, value: Value| {
        let mut said = issuer.claims("ada");
        said[name] = value;
        issuer.key.sign(&said)
    };
    let cases = [
        (other.sign(&issuer.claims("ada")), "subject_token_invalid"),
        (
            with("aud", json!("another-client")),
            "subject_token_wrong_audience",
        ),
        (with("aud", json!(["a", "b"])), "subject_token_wrong_audience"),
        (
            with("iss", json!("https://unknown.example")),
            "subject_issuer_unknown",
        ),
        (
            with("iss", json!(format!("{}/", issuer.server.url("")))),
            "subject_issuer_unknown",
        ),
        (with("exp", json!(now() - 61)), "subject_token_expired"),
        (with("iat", json!(now() + 120)), "subject_token_invalid"),
        (with("nbf", json!(now() + 120)), "subject_token_invalid"),
        (with("sub", json!("")), "subject_not_allowed"),
        (with("sub", json!("a\u{0}b")), "subject_not_allowed"),
        (with("sub", json!("x".repeat(300))), "subject_not_allowed"),
        (with("sub", json!(world.application_id)), "subject_not_allowed"),
        (
            with("sub", json!(world.application_id.to_uppercase())),
            "subject_not_allowed",
        ),
        (with("sub", json!(7)), "subject_token_invalid"),
        (
            issuer
                .key
                .sign_as(&json!({"alg": "none", "kid": "idp"}), &issuer.claims("ada")),
            "subject_token_invalid",
        ),
        (
            issuer.key.sign_as(
                &json!({"alg": "RS256", "kid": "idp", "typ": "logout+jwt"}),
                &issuer.claims("ada"),
            ),
            "subject_token_invalid",
        ),
        ("not.a.token".to_owned(), "subject_token_invalid"),
    ];
    for (token, reason) in cases {
        let answer = issuer.sign_in(&stack, &world, &token, &[]).await;
        assert_eq!(
            answer.member("error"),
            "invalid_grant",
            "{reason}: {}",
            answer.text
        );
        assert_eq!(answer.member("reason"), reason, "{}", answer.text);
    }
    let late = with("exp", json!(now() - 30));
    assert_eq!(
        issuer.sign_in(&stack, &world, &late, &[]).await.status,
        200,
        "another's clock may be a minute off"
    );
    assert_eq!(
        stack
            .database()
            .count("SELECT count(*) FROM sessions WHERE session_type = 'user'")
            .await,
        1
    );

    // An archived application's id stays taken, and another zone's issuer is nobody here.
    let gone = crate::signing::application(&stack, &world, &json!({"credential_type": "token"})).await;
    assert_eq!(
        stack
            .admin()
            .delete(&world.path(&format!("applications/{gone}")))
            .await
            .status,
        204
    );
    let answer = issuer
        .sign_in(&stack, &world, &with("sub", json!(gone)), &[])
        .await;
    assert_eq!(refusal(&answer), (400, "invalid_grant", "subject_not_allowed"));
    let elsewhere = World::new(&stack).await;
    let token = issuer.id_token("ada");
    let answer = elsewhere.token(&stack.sts(0), &[("subject_token", &token)]).await;
    assert_eq!(refusal(&answer), (400, "invalid_grant", "subject_issuer_unknown"));
}

#[tokio::test]
async fn an_issuer_that_is_down_slow_or_somebody_else_is_a_503() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let liar = Issuer::register(&stack, &world, "liar|", true).await;
    let document = json!({"issuer": "https://idp.example", "jwks_uri": liar.server.url(JWKS)});
    liar.server.put("/.well-known/openid-configuration", document);
    let answer = liar.sign_in(&stack, &world, &liar.id_token("ada"), &[]).await;
    assert_eq!(
        refusal(&answer),
        (503, "temporarily_unavailable", "jwks_unavailable")
    );
    let endless = Issuer::register(&stack, &world, "endless|", false).await;
    endless.server.conduct(Conduct::Endless);
    let answer = endless
        .sign_in(&stack, &world, &endless.id_token("ada"), &[])
        .await;
    assert_eq!(
        refusal(&answer),
        (503, "temporarily_unavailable", "jwks_unavailable")
    );
    assert_eq!(
        world.token(&stack.sts(0), &[]).await.status,
        200,
        "nobody else notices"
    );
}

#[tokio::test]
async fn a_subjects_cut_off_ends_its_sessions_and_leaves_later_ones() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let issuer = Issuer::register(&stack, &world, "idp|", false).await;
    let opened = issuer.sign_in(&stack, &world, &issuer.id_token("ada"), &[]).await;
    let bystander = issuer.sign_in(&stack, &world, &issuer.id_token("bob"), &[]).await;
    let session = opened.member("access_token").to_owned();
    let cut_off = |epoch: &str| {
        format!(
            "INSERT INTO anchors (zone_id, kind, value, epoch, expires_at) \
             VALUES ('{}', 'subject', 'idp|ada', {epoch}, now() + interval '1 hour') \
             ON CONFLICT (zone_id, kind, value) DO UPDATE SET epoch = excluded.epoch",
            world.zone_id
        )
    };
    let epoch = bump_epoch(&stack, &world).await;
    let database = stack.database().connect().await;
    database
        .batch_execute(&cut_off(&epoch))
        .await
        .expect("the anchor is kept");
    let sts = stack
        .sts(0)
        .with("Caracal-Min-Epoch", &bump_epoch(&stack, &world).await);
    let refused = world.mandate(&sts, &session, "orders:read").await;
    assert_eq!(refusal(&refused), (400, "invalid_grant", "subject_revoked"));
    assert_eq!(
        world
            .mandate(&sts, bystander.member("access_token"), "orders:read")
            .await
            .status,
        200
    );
    let again = issuer.sign_in(&stack, &world, &issuer.id_token("ada"), &[]).await;
    assert_eq!(
        again.status, 200,
        "who may sign in again gets a new session: {}",
        again.text
    );
    assert_eq!(
        world
            .mandate(&sts, again.member("access_token"), "orders:read")
            .await
            .status,
        200
    );
    // A cut-off beyond every epoch blocks the subject itself.
    database
        .batch_execute(&cut_off("9223372036854775807"))
        .await
        .expect("the anchor is kept");
    let mut blocked = issuer;
    blocked.epoch = bump_epoch(&stack, &world).await;
    let answer = blocked
        .sign_in(&stack, &world, &blocked.id_token("ada"), &[])
        .await;
    assert_eq!(refusal(&answer), (400, "invalid_grant", "subject_revoked"));
}

#[tokio::test]
async fn whoever_opened_a_users_session_stays_named_in_its_mandates() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let issuer = Issuer::register(&stack, &world, "idp|", false).await;
    let sts = stack.sts(0);
    let helper = async |name: &str| {
        let body = json!({"name": name, "registration_method": "managed", "credential_type": "token"});
        let made = stack
            .admin()
            .post(&world.path("applications"), &body)
            .await
            .expect(201);
        let text = |name: &str| made[name].as_str().expect("a text");
        let form = [
            ("client_id", text("id")),
            ("client_secret", text("client_secret")),
        ];
        (
            text("id").to_owned(),
            sts.form("/oauth/2/token", &form)
                .await
                .member("access_token")
                .to_owned(),
        )
    };
    let ((first, first_session), (second, second_session)) = (helper("first").await, helper("second").await);
    let actor = [("actor_token", first_session.as_str())];
    let opened = issuer
        .sign_in(&stack, &world, &issuer.id_token("ada"), &actor)
        .await;
    assert_eq!(opened.status, 200, "{}", opened.text);
    let session = opened.member("access_token");
    assert_eq!(claims(session)["act"]["sub"], json!(first));
    let plain = world.mandate(&sts, session, "orders:read").await;
    assert_eq!(claims(plain.member("access_token"))["act"]["sub"], json!(first));
    let fields = [
        ("subject_token", session),
        ("actor_token", second_session.as_str()),
        ("resource", world.resource.as_str()),
        ("scope", "orders:read"),
    ];
    let nested = world.token(&sts, &fields).await;
    assert_eq!(nested.status, 200, "{}", nested.text);
    let act = &claims(nested.member("access_token"))["act"];
    assert_eq!(
        (&act["sub"], &act["act"]["sub"], &act["act"]["act"]),
        (&json!(second), &json!(first), &Value::Null)
    );
    let user = issuer.sign_in(&stack, &world, &issuer.id_token("bob"), &[]).await;
    let fields = [
        ("subject_token", session),
        ("actor_token", user.member("access_token")),
        ("resource", &world.resource),
    ];
    let answer = world.token(&sts, &fields).await;
    assert_eq!(
        refusal(&answer),
        (400, "invalid_grant", "actor_token_wrong_use"),
        "a user is no actor"
    );
}
