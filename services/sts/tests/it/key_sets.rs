//! Keys that are fetched: rotation, outages, and hosts that mean no good (contract §2; architecture, "Everything that
//! leaves the house").

use crate::signing::{ASSERTION_TYPE, KeyPair, application, assertion_claims, issuer, set};
use caracal_testkit::{Answer, Conduct, Documents, Stack, World};
use serde_json::json;
use std::time::{Duration, Instant};

const JWKS: &str = "/jwks.json";

struct Fetched<'a> {
    stack: &'a Stack,
    world: World,
    issuer: String,
}

impl<'a> Fetched<'a> {
    async fn new(stack: &'a Stack) -> Self {
        let world = World::new(stack).await;
        let issuer = issuer(stack, &world).await;
        Self { stack, world, issuer }
    }

    /// An application whose keys are at `url`.
    async fn at(&self, url: &str) -> String {
        let credential = json!({"credential_type": "url", "jwks_uri": url});
        application(self.stack, &self.world, &credential).await
    }

    async fn present(&self, application: &str, key: &KeyPair) -> Answer {
        let assertion = key.sign(&assertion_claims(application, &self.issuer));
        let form = [
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion.as_str()),
        ];
        self.stack.sts(0).form("/oauth/2/token", &form).await
    }
}

#[tokio::test]
async fn keys_are_fetched_once_for_a_crowd_and_again_for_a_new_kid_but_not_for_every_stranger() {
    let stack = Stack::start().await;
    let (server, fetched) = (Documents::start(), Fetched::new(&stack).await);
    let (old, new) = (KeyPair::new("ES256", "old"), KeyPair::new("EdDSA", "new"));
    server.put(JWKS, set(&[&old]));
    let id = fetched.at(&server.url(JWKS)).await;
    server.conduct(Conduct::Slow(Duration::from_millis(300)));
    let crowd = futures::future::join_all((0..10).map(|_| fetched.present(&id, &old))).await;
    assert!(
        crowd.iter().all(|answer| answer.status == 200),
        "{}",
        crowd.first().expect("ten").text
    );
    assert_eq!(server.asked(JWKS), 1, "single flight, then from memory");

    server.put(JWKS, set(&[&new]));
    let rotated = fetched.present(&id, &new).await;
    assert_eq!(
        rotated.status, 200,
        "an unknown kid is looked for: {}",
        rotated.text
    );
    assert_eq!(server.asked(JWKS), 2);
    let withdrawn = fetched.present(&id, &old).await;
    assert_eq!(
        (withdrawn.status, withdrawn.member("error")),
        (401, "invalid_client")
    );
    for n in 0..10 {
        let stranger = KeyPair::new("ES256", &format!("stranger-{n}"));
        assert_eq!(fetched.present(&id, &stranger).await.status, 401);
    }
    assert_eq!(server.asked(JWKS), 2, "not again within thirty seconds");
}

#[tokio::test]
async fn keys_go_on_serving_while_their_host_is_down() {
    let stack = Stack::start().await;
    let (server, fetched) = (Documents::start(), Fetched::new(&stack).await);
    let key = KeyPair::new("ES256", "one");
    server.put(JWKS, set(&[&key]));
    let id = fetched.at(&server.url(JWKS)).await;
    assert_eq!(fetched.present(&id, &key).await.status, 200);
    server.conduct(Conduct::Fails);
    assert_eq!(fetched.present(&id, &key).await.status, 200);
    let unknown = fetched.present(&id, &KeyPair::new("ES256", "two")).await;
    assert_eq!(
        (unknown.status, unknown.member("reason")),
        (503, "jwks_unavailable"),
        "whether there is such a key cannot be known: {}",
        unknown.text
    );
    assert_eq!(
        fetched.present(&id, &key).await.status,
        200,
        "the known one is not disturbed"
    );
}

#[tokio::test]
async fn a_host_that_means_no_good_is_a_503_for_its_own_callers_and_nothing_to_others() {
    let stack = Stack::start().await;
    let fetched = Fetched::new(&stack).await;
    let (honest, elsewhere) = (Documents::start(), Documents::start());
    let key = KeyPair::new("ES256", "one");
    honest.put(JWKS, set(&[&key]));
    elsewhere.put(JWKS, set(&[&key]));
    let good = fetched.at(&honest.url(JWKS)).await;
    assert_eq!(fetched.present(&good, &key).await.status, 200);
    for conduct in [
        Conduct::Fails,
        Conduct::Garbage,
        Conduct::Slow(Duration::from_secs(20)),
        Conduct::Drips,
        Conduct::Endless,
        Conduct::Redirects(elsewhere.url(JWKS)),
    ] {
        let server = Documents::start();
        server.put(JWKS, set(&[&key]));
        server.conduct(conduct.clone());
        let id = fetched.at(&server.url(JWKS)).await;
        let started = Instant::now();
        let (bad, (others, slowest)) = tokio::join!(fetched.present(&id, &key), async {
            let mut slowest = Duration::ZERO;
            let mut all = true;
            for _ in 0..5 {
                let answer = fetched.present(&good, &key).await;
                all &= answer.status == 200;
                slowest = slowest.max(answer.took);
            }
            (all, slowest)
        });
        assert_eq!(
            (bad.status, bad.member("error"), bad.member("reason")),
            (503, "temporarily_unavailable", "jwks_unavailable"),
            "{conduct:?}: {}",
            bad.text
        );
        assert!(
            started.elapsed() < Duration::from_secs(8),
            "{conduct:?} took {:?}",
            started.elapsed()
        );
        assert!(
            others && slowest < Duration::from_secs(2),
            "{conduct:?} held others up: {slowest:?}"
        );
        // While it is given a pause, its callers are answered at once and it is left alone.
        let asked = server.asked(JWKS);
        let again = fetched.present(&id, &key).await;
        assert_eq!(again.status, 503, "{conduct:?}");
        assert!(
            again.took < Duration::from_secs(2),
            "{conduct:?}: {:?}",
            again.took
        );
        assert_eq!(server.asked(JWKS), asked, "{conduct:?}");
    }
    assert_eq!(elsewhere.asked(JWKS), 0, "nobody followed the redirect");
}

#[tokio::test]
async fn addresses_that_are_never_allowed_are_not_asked() {
    let stack = Stack::start().await;
    let fetched = Fetched::new(&stack).await;
    let key = KeyPair::new("ES256", "one");
    let id = fetched.at("https://jwks.example/keys").await;
    // Our own STS, and a metadata address: what is saved may have been saved under other rules.
    let own = format!(
        "{}/zones/{}/.well-known/jwks.json",
        stack.url(caracal_testkit::stack::Service::Sts, 0),
        fetched.world.zone_id
    );
    for url in [
        "http://169.254.169.254/latest",
        "http://[::ffff:169.254.169.254]/",
        "http://127.0.0.1:1/",
        &own,
    ] {
        let statement = format!("UPDATE applications SET jwks_uri = '{url}' WHERE id = '{id}'");
        let database = stack.database().connect().await;
        database
            .batch_execute(&statement)
            .await
            .expect("the row is there");
        let epoch = crate::users::bump_epoch(&stack, &fetched.world).await;
        let assertion = key.sign(&assertion_claims(&id, &fetched.issuer));
        caracal_testkit::eventually("the new address is used", Duration::from_secs(10), || async {
            let answer = fetched
                .stack
                .sts(0)
                .get(&format!("/zones/{}/.well-known/jwks.json", fetched.world.zone_id))
                .await;
            (answer.epoch() == epoch).then_some(())
        })
        .await;
        let form = [
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion.as_str()),
        ];
        let answer = stack.sts(0).form("/oauth/2/token", &form).await;
        assert_eq!(
            (answer.status, answer.member("reason")),
            (503, "jwks_unavailable"),
            "{url}: {}",
            answer.text
        );
    }
}
