//! A token of ours: nothing that we did not sign ever verifies.
#![no_main]

use caracal_jose::{Expect, Unverified, VerifyingKeys};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static KEYS: LazyLock<VerifyingKeys> = LazyLock::new(|| {
    let pair = caracal_jose::generate_key_pair().expect("a key");
    VerifyingKeys::from_points([("0198c0de-0000-7000-8000-000000000002".parse().expect("an id"), pair.public)])
});

fuzz_target!(|text: &str| {
    let expect = Expect {
        issuer: "https://sts.example/zones/0198c0de-0000-7000-8000-000000000001",
        now: 1_790_000_000,
    };
    if let Ok(token) = Unverified::parse(text) {
        assert!(KEYS.verify(token, &expect).is_err());
    }
});
