//! Somebody else's token: nothing that its key did not sign ever verifies.
#![no_main]

use caracal_jose::{ForeignExpect, ForeignKeys, ForeignToken};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// The Ed25519 key of RFC 8037 §A.2, and a P-256 key of RFC 7517 §A.1.
static KEYS: LazyLock<ForeignKeys> = LazyLock::new(|| {
    ForeignKeys::parse(
        br#"{"keys": [
        {"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        {"kty": "EC", "crv": "P-256", "kid": "b", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
         "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#,
    )
    .expect("a key set")
});

fuzz_target!(|text: &str| {
    let expect = ForeignExpect {
        issuer: "https://idp.example",
        audiences: &["caracal"],
        types: &["jwt"],
        now: 1_790_000_000,
    };
    if let Ok(token) = ForeignToken::parse(text) {
        assert!(token.verify(&KEYS, &expect).is_err());
    }
});
