//! What a client that was written from the RFCs alone relies on, and Caracal's own clients do not happen to use.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use caracal_testkit::{Answer, Client, Stack, World};
use reqwest::Method;
use serde_json::json;

const FORM: &str = "application/x-www-form-urlencoded";

async fn sent(sts: &Client, path: &str, media_type: &str, body: String) -> Answer {
    let fill = |request: reqwest::RequestBuilder| request.header("Content-Type", media_type).body(body);
    sts.send(Method::POST, path, fill).await.expect("an answer")
}

/// Every byte in its escaped form, which RFC 6749 §2.3.1 allows as well as any other.
fn escaped(text: &str) -> String {
    text.bytes()
        .fold(String::new(), |escaped, byte| escaped + &format!("%{byte:02X}"))
}

fn basic(user: &str, password: &str) -> String {
    STANDARD.encode(format!("{user}:{password}"))
}

#[tokio::test]
async fn a_form_is_read_as_the_rfcs_write_it() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    let secret = format!(
        "client_id={}&client_secret={}",
        world.application_id, world.client_secret
    );
    for media_type in [
        FORM,
        "Application/X-WWW-Form-Urlencoded",
        "application/x-www-form-urlencoded;charset=UTF-8",
        "application/x-www-form-urlencoded ; charset=\"utf-8\"",
    ] {
        let answer = sent(&sts, "/oauth/2/token", media_type, secret.clone()).await;
        assert_eq!(answer.status, 200, "{media_type}: {}", answer.text);
    }
    // RFC 6749 §3.1: a parameter without a value was not sent, one that is not known is ignored.
    let empty = "&scope=&resource=&audience=&session_id=&challenge_id=&challenge_response=&ttl_seconds=&zone_id=\
                 &subject_token=&subject_token_type=&actor_token=&requested_token_type=&client_assertion=\
                 &delegation_edge_id=&grant_type=&anything=else";
    let answer = sent(&sts, "/oauth/2/token", FORM, format!("{secret}{empty}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        (answer.header("Cache-Control"), answer.header("Pragma")),
        ("no-store", "no-cache")
    );
    // RFC 8693 §2.1: a target may be named as an audience, as often as there are targets.
    let named = [
        ("subject_token", answer.member("access_token")),
        ("audience", &world.resource),
        ("audience", &world.resource),
        ("scope", "orders:read"),
    ];
    let minted = world.token(&sts, &named).await;
    assert_eq!(minted.status, 200, "{}", minted.text);
    assert_eq!(minted.body["target_resources"], json!([world.resource]));
    let unknown = [named[0], ("audience", "resource://nowhere"), named[3]];
    let unknown = world.token(&sts, &unknown).await;
    assert_eq!((unknown.status, unknown.member("error")), (400, "invalid_target"));
}

#[tokio::test]
async fn a_client_may_escape_whatever_it_likes_and_is_told_how_to_prove_itself() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let chosen = "a+b%2B:d&e=f/~";
    let body = json!({
        "name": "chosen", "registration_method": "managed", "credential_type": "password", "client_secret": chosen,
    });
    let made = stack.admin().post(&world.path("applications"), &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.member("id");
    let as_form: String = url::form_urlencoded::byte_serialize(chosen.as_bytes()).collect();
    for header in [
        format!("Basic {}", basic(&escaped(id), &escaped(chosen))),
        format!("basic {}", basic(id, &as_form)),
    ] {
        let sts = stack.sts(0).with("Authorization", &header);
        let answer = sent(
            &sts,
            "/oauth/2/token",
            FORM,
            "grant_type=client_credentials".to_owned(),
        )
        .await;
        assert_eq!(answer.status, 200, "{header}: {}", answer.text);
    }
    for path in ["/oauth/2/token", "/oauth/2/introspect", "/oauth/2/revoke"] {
        for (header, body) in [
            (None, "token=x".to_owned()),
            (None, format!("token=x&client_id={id}")),
            (Some(basic(id, "wrong")), "token=x".to_owned()),
        ] {
            let sts = match header {
                Some(pair) => stack.sts(0).with("Authorization", &format!("Basic {pair}")),
                None => stack.sts(0),
            };
            let answer = sent(&sts, path, FORM, body.clone()).await;
            let got = (answer.status, answer.member("error"));
            assert_eq!(got, (401, "invalid_client"), "{path} {body}: {}", answer.text);
            assert!(
                answer.header("WWW-Authenticate").starts_with("Basic realm="),
                "{path}"
            );
            assert_eq!(
                (answer.header("Cache-Control"), answer.header("Pragma")),
                ("no-store", "no-cache"),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn a_hint_and_an_unknown_token_change_nothing() {
    let stack = Stack::start().await;
    let (world, other) = (World::new(&stack).await, World::new(&stack).await);
    let sts = stack.sts(0);
    let foreign = other.session(&sts).await;
    for token in ["unknown", "a.b.c", &foreign, &"x".repeat(9000)] {
        for hint in ["access_token", "refresh_token", "whatever"] {
            let form = [
                ("client_id", world.application_id.as_str()),
                ("client_secret", &world.client_secret),
                ("token", token),
                ("token_type_hint", hint),
            ];
            let told = sts.form("/oauth/2/introspect", &form).await;
            assert_eq!(
                (told.status, &told.body),
                (200, &json!({"active": false})),
                "{hint}"
            );
            let revoked = sts.form("/oauth/2/revoke", &form).await;
            assert_eq!((revoked.status, revoked.text.as_str()), (200, ""), "{hint}");
        }
    }
    assert_eq!(
        other.mandate(&sts, &foreign, "orders:read").await.status,
        200,
        "nobody ends what is another zone's"
    );
    for path in ["/oauth/2/introspect", "/oauth/2/revoke"] {
        let none = sts.form(path, &world.form(&[])).await;
        assert_eq!(
            (none.status, none.member("error")),
            (400, "invalid_request"),
            "{path}"
        );
    }
}
