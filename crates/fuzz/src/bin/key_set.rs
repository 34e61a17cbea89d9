//! Somebody else's JWK Set, and a signature checked with whatever keys it held.
#![no_main]

use caracal_jose::{ForeignExpect, ForeignKeys, ForeignToken, VerifyingKeys};
use libfuzzer_sys::fuzz_target;

/// Headers `{"alg": …}` over claims that are otherwise right, with a signature of zeros.
const TOKENS: [&str; 2] = [
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJpIiwic3ViIjoicyIsImF1ZCI6ImEiLCJleHAiOjk5OTk5OTk5OTl9.AAAA",
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJpIiwic3ViIjoicyIsImF1ZCI6ImEiLCJleHAiOjk5OTk5OTk5OTl9.AAAA",
];

fuzz_target!(|bytes: &[u8]| {
    if let Ok(keys) = ForeignKeys::parse(bytes) {
        for token in TOKENS {
            let expect = ForeignExpect {
                issuer: "i",
                audiences: &["a"],
                types: &[],
                now: 1_790_000_000,
            };
            let token = ForeignToken::parse(token).expect("well formed");
            assert!(token.verify(&keys, &expect).is_err());
        }
    }
    if let Ok(set) = serde_json::from_slice(bytes) {
        let _ = VerifyingKeys::from_jwks(&set);
    }
});
