//! Hostile text in every field of every endpoint, fields twice, fields too large: an answer of the contract's, never a
//! 500, never a token for what is not one.

use caracal_testkit::{Answer, Client, Stack, World};
use reqwest::Method;

/// Every parameter the endpoints know, and one they do not.
const FIELDS: [&str; 25] = [
    "grant_type",
    "zone_id",
    "application_id",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
    "resource",
    "scope",
    "ttl_seconds",
    "session_id",
    "agent_session_id",
    "delegation_edge_id",
    "challenge_id",
    "challenge_response",
    "method",
    "path",
    "token",
    "token_type_hint",
    "nobody_knows_this",
];

/// Texts that have broken parsers, databases, logs and terminals.
fn texts() -> Vec<String> {
    let mut all: Vec<String> = [
        " ",
        "\u{0}",
        "a\u{0}b",
        "\r\nSet-Cookie: x=1",
        "\u{202e}txt.exe",
        "\u{feff}a",
        "\u{200b}",
        "e\u{301}",
        "\u{fffd}",
        "\u{10ffff}",
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
        "İSTANBUL ß ﬁ",
        "' OR 1=1; --",
        "{\"a\":[1,null]}",
        "../../etc/passwd",
        "%00%ff",
        "\\u0000",
        "${jndi:ldap://x}",
        "-9223372036854775809",
        "1e309",
        "NaN",
        "0198c0de-0000-7000-8000-00000000000g",
        "0198C0DE-0000-7000-8000-000000000000",
        "{0198c0de-0000-7000-8000-000000000000}",
        "eyJhbGciOiJub25lIn0.e30.",
        "..",
    ]
    .map(str::to_owned)
    .into();
    all.push("é".repeat(9_000));
    all.push("\u{1f4a9}".repeat(2_000));
    all
}

fn is_answer(answer: &Answer, of: &str) {
    assert!(answer.status < 500, "{of}: {} {}", answer.status, answer.text);
    if answer.status >= 400 {
        assert!(!answer.member("error").is_empty(), "{of}: {}", answer.text);
        assert!(!answer.member("reason").is_empty(), "{of}: {}", answer.text);
    }
}

/// The world's own credential, with one field put in place of, or beside, what is there.
async fn with(world: &World, sts: &Client, endpoint: &str, (field, text): (&str, &str)) -> Answer {
    let good = [
        ("application_id", world.application_id.as_str()),
        ("client_secret", &world.client_secret),
        ("token", "x"),
    ];
    let mut form: Vec<_> = good.into_iter().filter(|(name, _)| *name != field).collect();
    form.push((field, text));
    sts.form(endpoint, &form).await
}

#[tokio::test]
async fn hostile_text_in_any_field_of_any_endpoint_is_answered() {
    let stack = Stack::start().await;
    let (world, sts) = (World::new(&stack).await, stack.sts(0));
    let unheard_of = [
        "grant_type",
        "zone_id",
        "client_secret",
        "subject_token",
        "resource",
        "scope",
        "ttl_seconds",
    ];
    for endpoint in ["/oauth/2/token", "/oauth/2/introspect", "/oauth/2/revoke"] {
        for field in FIELDS {
            for text in texts() {
                let answer = with(&world, &sts, endpoint, (field, &text)).await;
                is_answer(
                    &answer,
                    &format!("{endpoint} {field}={:?}", text.get(..40).unwrap_or(&text)),
                );
                let token = endpoint == "/oauth/2/token" && unheard_of.contains(&field);
                assert!(
                    !token || answer.status >= 400,
                    "{field}={text:?} is not a good one: {}",
                    answer.text
                );
            }
        }
    }
    assert_eq!(
        world.token(&sts, &[]).await.status,
        200,
        "and whoever is in order is served"
    );
}

#[tokio::test]
async fn hostile_text_in_headers_paths_and_queries_is_answered() {
    let stack = Stack::start().await;
    let (world, sts) = (World::new(&stack).await, stack.sts(0));
    for value in [
        "",
        "x",
        "-1",
        "99999999999999999999",
        "1 ",
        "é",
        "Basic",
        "Basic %%%",
        "Bearer ",
        "a\tb",
    ] {
        for header in [
            "Caracal-Min-Epoch",
            "Authorization",
            "X-Request-Id",
            "traceparent",
            "Content-Type",
        ] {
            let form = [
                ("application_id", world.application_id.as_str()),
                ("client_secret", &world.client_secret),
            ];
            let fill =
                |request: reqwest::RequestBuilder| request.form(&form).header(header, value.as_bytes());
            let answer = sts
                .send(Method::POST, "/oauth/2/token", fill)
                .await
                .expect("an answer");
            assert!(answer.status < 500, "{header}: {value:?}: {}", answer.text);
            assert!(!answer.header("X-Request-Id").is_empty(), "{header}");
        }
    }
    let zone = &world.zone_id;
    let hostile = [
        "%00",
        "%F0%9F%92%A9",
        "..%2f",
        "%E2%80%AE",
        "a%20b",
        "%ff",
        "x'--",
        "%7B0%7D",
    ];
    for text in hostile {
        for path in [
            format!("/step-up/{text}"),
            format!("/step-up/0198c0de-0000-7000-8000-000000000000?wait={text}"),
            format!("/zones/{text}/.well-known/jwks.json"),
            format!("/zones/{zone}/.well-known/{text}"),
            format!("/.well-known/jwks.json?zone_id={text}"),
            format!("/.well-known/oauth-authorization-server/zones/{text}"),
            format!("/zones/{zone}/oauth/2/authorize?state={text}&redirect_uri={text}"),
        ] {
            let answer = sts.get(&path).await;
            assert!(
                (400..500).contains(&answer.status),
                "{path}: {} {}",
                answer.status,
                answer.text
            );
            assert!(!answer.member("error").is_empty(), "{path}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn a_field_may_be_there_once_and_a_form_may_be_so_large() {
    let stack = Stack::start().await;
    let (world, sts) = (World::new(&stack).await, stack.sts(0));
    for endpoint in ["/oauth/2/token", "/oauth/2/introspect", "/oauth/2/revoke"] {
        for field in FIELDS.into_iter().filter(|field| *field != "resource") {
            for values in [["x", "x"], ["x", "y"], ["", "x"]] {
                let twice = values.map(|value| (field, value));
                let answer = sts.form(endpoint, &twice).await;
                let got = (answer.status, answer.member("reason"));
                assert_eq!(
                    got,
                    (400, "repeated_parameter"),
                    "{endpoint} {field}: {}",
                    answer.text
                );
            }
        }
        for field in FIELDS {
            let answer = with(&world, &sts, endpoint, (field, &"a".repeat(64 * 1024))).await;
            let got = (answer.status, answer.member("reason"));
            assert_eq!(got, (413, "payload_too_large"), "{endpoint} {field}");
            let answer = with(&world, &sts, endpoint, (field, &"a".repeat(60_000))).await;
            is_answer(&answer, &format!("{endpoint} 60,000 bytes of {field}"));
        }
    }
}

#[tokio::test]
async fn one_authorization_header_and_one_credential_in_it() {
    let stack = Stack::start().await;
    let (world, sts) = (World::new(&stack).await, stack.sts(0));
    let basic = |secret: &str| {
        use base64::Engine as _;
        let pair = format!("{}:{secret}", world.application_id);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    };
    let good = basic(&world.client_secret);
    let once = sts.clone().with("Authorization", &good);
    assert_eq!(once.form("/oauth/2/token", &[]).await.status, 200);
    for second in [good.as_str(), "Bearer x", "Basic eDp5"] {
        let twice = once.clone().with("Authorization", second);
        let answer = twice.form("/oauth/2/token", &[]).await;
        let got = (answer.status, answer.member("reason"));
        assert_eq!(got, (400, "two_client_methods"), "{}", answer.text);
    }
    let more = sts.with("Authorization", &basic(&format!("{}&v=x", world.client_secret)));
    let more = more.form("/oauth/2/token", &[]).await;
    assert_eq!(
        more.member("error"),
        "invalid_client",
        "nothing may stand behind the secret: {}",
        more.text
    );
}
