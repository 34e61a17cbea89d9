//! Client authentication: body, Basic, and every way to fail it (contract §2, "Client authentication").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use caracal_testkit::{Client, Service, Stack, World};

#[tokio::test]
async fn body_and_basic_are_the_same_client_and_never_both() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let pair = STANDARD.encode(format!("{}:{}", world.application_id, world.client_secret));
    let basic = stack.sts(0).with("Authorization", &format!("Basic {pair}"));
    let token = basic
        .form("/oauth/2/token", &[("grant_type", "client_credentials")])
        .await;
    assert_eq!(
        token.status, 200,
        "without zone_id the application decides the zone: {}",
        token.text
    );
    let in_zone = format!("/zones/{}/oauth/2/token", world.zone_id);
    assert_eq!(
        basic
            .form(&in_zone, &[("grant_type", "client_credentials")])
            .await
            .status,
        200
    );
    let both = basic
        .form("/oauth/2/token", &[("client_secret", &world.client_secret)])
        .await;
    assert_eq!(
        (both.status, both.member("reason")),
        (400, "two_client_methods"),
        "{}",
        both.text
    );
}

#[tokio::test]
async fn a_chosen_secret_is_good_by_basic_whether_or_not_the_client_encodes_it() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    for secret in ["a+b%41&c=d e~", "50%+1", "%2B"] {
        let body = serde_json::json!({
            "name": secret, "registration_method": "managed", "credential_type": "password", "client_secret": secret,
        });
        let made = stack.admin().post(&world.path("applications"), &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let id = made.member("id");
        let encoded: String = reqwest::Url::parse_with_params("http://a/", [("v", secret)])
            .expect("a URL")
            .query()
            .expect("a query")
            .trim_start_matches("v=")
            .to_owned();
        let by_basic = async |secret: &str| {
            let pair = STANDARD.encode(format!("{id}:{secret}"));
            let basic = stack.sts(0).with("Authorization", &format!("Basic {pair}"));
            basic.form("/oauth/2/token", &[]).await
        };
        // Twice, since a secret that has verified is found another way.
        for sent in [secret, &encoded, secret, &encoded] {
            let answer = by_basic(sent).await;
            assert_eq!(answer.status, 200, "{secret} as {sent}: {}", answer.text);
        }
        for wrong in [format!("{secret}%20"), format!("+{secret}"), String::new()] {
            let answer = by_basic(&wrong).await;
            let got = (answer.status, answer.member("error"));
            assert_eq!(got, (401, "invalid_client"), "{wrong}: {}", answer.text);
        }
    }
    // Of one wrong secret that reads in two ways, one failure counts.
    let pair = STANDARD.encode(format!("{}:g+uess", world.application_id));
    let basic = stack.sts(0).with("Authorization", &format!("Basic {pair}"));
    let mut refused = 0;
    while basic.form("/oauth/2/token", &[]).await.status == 401 {
        refused += 1;
        assert!(refused < 80, "no end");
    }
    assert!((60..=66).contains(&refused), "sixty a minute: {refused}");
}

#[tokio::test]
async fn whatever_is_wrong_with_a_client_the_answer_is_the_same() {
    let stack = Stack::start().await;
    let (world, other) = (World::new(&stack).await, World::new(&stack).await);
    let sts = stack.sts(0);
    let nobody = "0198c0de-0000-7000-8000-000000000000";
    let cases: [&[(&str, &str)]; 6] = [
        &[
            ("application_id", &world.application_id),
            ("client_secret", "wrong"),
        ],
        &[
            ("application_id", &world.application_id),
            ("client_secret", &other.client_secret),
        ],
        &[("application_id", &world.application_id)],
        &[("application_id", nobody), ("client_secret", "x")],
        &[
            ("application_id", &world.application_id),
            ("client_secret", &world.client_secret),
            ("zone_id", &other.zone_id),
        ],
        &[
            ("application_id", &world.application_id),
            ("client_secret", &world.client_secret),
            ("zone_id", nobody),
        ],
    ];
    for form in cases {
        let answer = sts.form("/oauth/2/token", form).await;
        assert_eq!(
            (answer.status, answer.member("error")),
            (401, "invalid_client"),
            "{form:?}: {}",
            answer.text
        );
        assert_eq!(answer.member("reason"), "invalid_client");
        assert!(
            answer.header("WWW-Authenticate").starts_with("Basic"),
            "RFC 6749 §5.2"
        );
        assert_eq!(answer.member("request_id"), answer.header("X-Request-Id"));
        assert_eq!(answer.member("requestId"), answer.header("X-Request-Id"));
    }
}

#[tokio::test]
async fn a_rotated_secret_and_an_archived_application_end_at_once() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let application = world.path(&format!("applications/{}", world.application_id));
    assert_eq!(world.token(&stack.sts(0), &[]).await.status, 200);
    let rotated = stack
        .admin()
        .post(&format!("{application}/rotate-secret"), &serde_json::json!({}))
        .await;
    let secret = rotated.member("client_secret").to_owned();
    assert!(rotated.status < 300 && !secret.is_empty(), "{}", rotated.text);
    let sts = stack.sts(0).with("Caracal-Min-Epoch", &rotated.epoch());
    // The epoch is honoured after authentication, so the first try may still be answered from the older view.
    caracal_testkit::eventually(
        "the old secret is refused",
        std::time::Duration::from_secs(2),
        || async { (world.token(&stack.sts(0), &[]).await.status == 401).then_some(()) },
    )
    .await;
    let form = [
        ("application_id", world.application_id.as_str()),
        ("client_secret", &secret),
    ];
    assert_eq!(sts.form("/oauth/2/token", &form).await.status, 200);
    let archived = stack.admin().delete(&application).await;
    assert_eq!(archived.status, 204, "{}", archived.text);
    caracal_testkit::eventually(
        "the application is refused",
        std::time::Duration::from_secs(2),
        || async { (stack.sts(0).form("/oauth/2/token", &form).await.status == 401).then_some(()) },
    )
    .await;
}

#[tokio::test]
async fn failures_are_throttled_and_a_known_secret_never_is() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let sts = stack.sts(0);
    assert_eq!(world.token(&sts, &[]).await.status, 200);
    let wrong = [
        ("application_id", world.application_id.as_str()),
        ("client_secret", "guess"),
    ];
    let mut last = 401;
    for _ in 0..70 {
        let answer = sts.form("/oauth/2/token", &wrong).await;
        last = answer.status;
        if last == 429 {
            assert_eq!(answer.member("error"), "slow_down");
            assert!(!answer.header("Retry-After").is_empty());
            break;
        }
    }
    assert_eq!(last, 429, "sixty failures a minute, not more");
    assert_eq!(world.token(&sts, &[]).await.status, 200);
}

/// One wrong secret after another until it is told to wait; how many were answered 401.
async fn guesses_until_told_to_wait(sts: &Client, application: &str) -> usize {
    let wrong = [("application_id", application), ("client_secret", "guess")];
    for n in 0..80 {
        let answer = sts.form("/oauth/2/token", &wrong).await;
        if answer.status == 401 {
            continue;
        }
        let got = (answer.status, answer.member("error"), answer.member("reason"));
        assert_eq!(got, (429, "slow_down", "client_throttled"), "{}", answer.text);
        let wait: u32 = answer.header("Retry-After").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{wait}");
        return n;
    }
    80
}

#[tokio::test]
async fn a_source_is_the_peer_unless_the_peer_is_a_trusted_proxy() {
    let trusting = Stack::builder()
        .env(Service::Sts, "TRUSTED_PROXIES", "127.0.0.0/8")
        .start()
        .await;
    let world = World::new(&trusting).await;
    let from = |address: &str| trusting.sts(0).with("X-Forwarded-For", address);
    let counted = guesses_until_told_to_wait(&from("192.0.2.1"), &world.application_id).await;
    assert!((60..=66).contains(&counted), "sixty a minute: {counted}");
    let wrong = [
        ("application_id", world.application_id.as_str()),
        ("client_secret", "guess"),
    ];
    let elsewhere = from("192.0.2.2").form("/oauth/2/token", &wrong).await;
    assert_eq!(
        elsewhere.status, 401,
        "another source has its own count: {}",
        elsewhere.text
    );
    // A chain is read from the right, up to the first hop that is not trusted: what a caller puts before it is noise.
    let forged = from("192.0.2.77, 192.0.2.1").form("/oauth/2/token", &wrong).await;
    assert_eq!(forged.status, 429, "{}", forged.text);

    let plain = Stack::start().await;
    let world = World::new(&plain).await;
    let wrong = [
        ("application_id", world.application_id.as_str()),
        ("client_secret", "guess"),
    ];
    let counted = guesses_until_told_to_wait(&plain.sts(0), &world.application_id).await;
    assert!((60..=66).contains(&counted), "{counted}");
    let pretending = plain.sts(0).with("X-Forwarded-For", "192.0.2.9");
    assert_eq!(
        pretending.form("/oauth/2/token", &wrong).await.status,
        429,
        "nobody chooses its own source"
    );
    let other = World::new(&plain).await;
    assert_eq!(
        other.token(&plain.sts(0), &[]).await.status,
        200,
        "another application is not held up"
    );
}

#[tokio::test]
async fn nobody_learns_from_being_told_to_wait_whether_there_is_such_an_application() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let started = std::time::Instant::now();
    let known = guesses_until_told_to_wait(&stack.sts(0), &world.application_id).await;
    let took = usize::try_from(started.elapsed().as_secs()).expect("seconds");
    assert!(
        (60..=61 + took).contains(&known),
        "the sixty-first waits: {known} in {took} s"
    );
    let started = std::time::Instant::now();
    let nobody = guesses_until_told_to_wait(&stack.sts(0), "0198c0de-0000-7000-8000-000000000000").await;
    let took = usize::try_from(started.elapsed().as_secs()).expect("seconds");
    assert!((60..=61 + took).contains(&nobody), "{nobody} in {took} s");
}

#[tokio::test]
async fn a_guess_that_looks_like_a_secret_of_ours_costs_no_derivation() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let body = serde_json::json!({
        "name": "chosen", "registration_method": "managed", "credential_type": "password",
        "client_secret": "of its own choice",
    });
    let made = stack.admin().post(&world.path("applications"), &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let sts = stack.sts(0);
    // The quickest of many: what else this machine does only makes some slower.
    let quickest = async |guess: &str| {
        let form = [("application_id", made.member("id")), ("client_secret", guess)];
        let mut quickest = std::time::Duration::MAX;
        for _ in 0..20 {
            let answer = sts.form("/oauth/2/token", &form).await;
            let got = (answer.status, answer.member("error"));
            assert_eq!(got, (401, "invalid_client"), "{}", answer.text);
            quickest = quickest.min(answer.took);
        }
        quickest
    };
    let derived = quickest("of somebody else's choice").await;
    let known_by_its_form = quickest(&format!("ccs_{}", "A".repeat(49))).await;
    assert!(
        known_by_its_form * 2 < derived,
        "{known_by_its_form:?}, and {derived:?} with a derivation"
    );
}

#[tokio::test]
async fn guesses_that_come_together_are_not_derived_together() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    assert_eq!(world.token(&stack.sts(0), &[]).await.status, 200);
    let crowd = futures::future::join_all((0..150).map(|n| {
        let (sts, guess) = (stack.sts(0), format!("guess-{n}"));
        let id = world.application_id.clone();
        async move {
            let form = [("application_id", id.as_str()), ("client_secret", guess.as_str())];
            sts.form("/oauth/2/token", &form).await.status
        }
    }));
    let sts = stack.sts(0);
    let (statuses, known) = tokio::join!(crowd, world.token(&sts, &[]));
    assert_eq!(
        known.status, 200,
        "a known secret passes a crowd of guesses: {}",
        known.text
    );
    let refused = statuses.iter().filter(|status| **status == 401).count();
    assert!(refused <= 70, "no more than sixty a minute are tried: {refused}");
    assert!(
        statuses.iter().all(|status| matches!(status, 401 | 429)),
        "{statuses:?}"
    );
}
