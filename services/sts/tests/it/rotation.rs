//! Verifiers that cache, while keys rotate: nothing they check fails (issue 4; contract §1, "Signing keys"); and an
//! emergency without anyone waiting for an epoch.

use crate::hands::text;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_testkit::{Stack, World, eventually};
use josekit::jwk::Jwk;
use josekit::jws::ES256;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(2);

/// A resource server with a stock JWT library: it keeps the key set it fetched until that is too old.
struct Verifier {
    keys: Mutex<Vec<Jwk>>,
}

impl Verifier {
    async fn fetch(stack: &Stack, world: &World) -> Self {
        let keys = Mutex::new(fetched(stack, world).await);
        Self { keys }
    }

    /// Whether the token verifies by what is in the cache, and by nothing else.
    fn accepts(&self, token: &str) -> bool {
        let (input, signature) = token.rsplit_once('.').expect("a JWS");
        let header = URL_SAFE_NO_PAD.decode(input.split('.').next().expect("a header"));
        let header: Value = serde_json::from_slice(&header.expect("base64url")).expect("JSON");
        let keys = self.keys.lock();
        let Some(key) = keys
            .iter()
            .find(|key| key.key_id() == Some(&*text(&header, "kid")))
        else {
            return false;
        };
        let verifier = ES256.verifier_from_jwk(key).expect("a key");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        josekit::jws::JwsVerifier::verify(&verifier, input.as_bytes(), &signature).is_ok()
    }
}

async fn fetched(stack: &Stack, world: &World) -> Vec<Jwk> {
    let path = format!("/zones/{}/.well-known/jwks.json", world.zone_id);
    let set = stack.sts(0).get(&path).await.expect(200);
    let keys = set.get("keys").and_then(Value::as_array).expect("keys").clone();
    keys.into_iter()
        .map(|key| serde_json::from_value::<serde_json::Map<_, _>>(key).expect("members"))
        .map(|members| Jwk::from_map(members).expect("a JWK"))
        .collect()
}

async fn rotate(stack: &Stack, world: &World, mode: &str) {
    let path = world.path("signing-keys/rotate");
    let rotated = stack.admin().post(&path, &json!({"mode": mode})).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
}

#[tokio::test]
async fn a_verifier_that_caches_never_refuses_a_good_token_while_keys_rotate_gracefully() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let session = world.session(&stack.sts(0)).await;
    let verifier = Verifier::fetch(&stack, &world).await;
    let (done, kept) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let traffic = async {
        let (mut verified, mut refused) = (0, 0);
        while !done.load(Ordering::Relaxed) {
            let minted = world.mandate(&stack.sts(0), &session, "orders:read").await;
            assert_eq!(minted.status, 200, "{}", minted.text);
            let token = minted.member("access_token").to_owned();
            if verifier.accepts(&token) {
                verified += 1;
            } else {
                refused += 1;
            }
            kept.lock().push(token);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        (verified, refused)
    };
    let rotations = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            // As if the next key were old enough for every cache to hold it, which a rotation waits for.
            let aged = "UPDATE signing_keys SET created_at = created_at - interval '10 minutes'";
            let database = stack.database().connect().await;
            database.batch_execute(aged).await.expect("aged");
            rotate(&stack, &world, "graceful").await;
            // The cache is as old as it may be: it was filled before this rotation and is filled again before the next.
            tokio::time::sleep(Duration::from_millis(700)).await;
            let keys = fetched(&stack, &world).await;
            *verifier.keys.lock() = keys;
        }
        done.store(true, Ordering::Relaxed);
    };
    let ((verified, refused), ()) = tokio::join!(traffic, rotations);
    assert!(verified > 50, "{verified} tokens are no traffic");
    assert_eq!(refused, 0, "of {verified}");
    let kids: std::collections::BTreeSet<String> = kept.lock().iter().map(|token| kid(token)).collect();
    assert_eq!(kids.len(), 4, "each of the keys has signed: {kids:?}");
    let last = kept.lock().last().expect("a token").clone();
    let passed = world.through(stack.gateway(0), &last).get("/orders").await;
    assert_eq!(passed.status, 200, "{}", passed.text);
}

fn kid(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().expect("a header"));
    let header: Value = serde_json::from_slice(&header.expect("base64url")).expect("JSON");
    text(&header, "kid")
}

#[tokio::test]
async fn an_emergency_refuses_the_old_key_everywhere_within_the_bound_and_no_token_of_the_new_one() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let old = world.session(&stack.sts(0)).await;
    let minted = world.mandate(&stack.sts(0), &old, "orders:read").await;
    let mandate = minted.member("access_token").to_owned();
    let through = |token: &str| world.through(stack.gateway(0).with("X-Caracal-Scope", "orders:read"), token);
    assert_eq!(through(&old).get("/orders").await.status, 200);
    let stop = AtomicBool::new(false);
    let traffic = async {
        // Nobody names an epoch. Whatever is signed goes through, unless it is of the old key.
        let mut passed = 0;
        while !stop.load(Ordering::Relaxed) {
            let session = world.session(&stack.sts(0)).await;
            let answer = through(&session).get("/orders").await;
            assert!(
                answer.status == 200 || kid(&session) == kid(&old),
                "{}",
                answer.text
            );
            passed += u32::from(kid(&session) != kid(&old));
        }
        passed
    };
    let emergency = async {
        rotate(&stack, &world, "emergency").await;
        eventually("the old key is refused", BOUND, || async {
            let at_sts = world.mandate(&stack.sts(0), &old, "orders:read").await;
            let at_gateway = (
                through(&old).get("/orders").await,
                through(&mandate).get("/orders").await,
            );
            let refused = at_sts.status == 400 && at_gateway.0.status == 401 && at_gateway.1.status == 401;
            refused.then_some(())
        })
        .await;
        tokio::time::sleep(BOUND).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (passed, ()) = tokio::join!(traffic, emergency);
    assert!(passed > 5, "{passed} tokens of the new key");
    assert_eq!(
        world
            .mandate(&stack.sts(0), &old, "orders:read")
            .await
            .member("error"),
        "invalid_grant"
    );
}
