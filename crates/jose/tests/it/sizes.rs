//! How large a token will be is known before it is signed.

use crate::forge::{Zone, claims};
use caracal_jose::{MAX_TOKEN_BYTES, TokenError, Unverified};

#[test]
fn the_length_told_is_the_length_signed_and_the_largest_told_is_read() {
    let zone = Zone::new();
    let mut claims = claims();
    let mut refused = false;
    for size in (0..7000).step_by(997).chain(5780..5800) {
        claims.sub = "s".repeat(size);
        let token = zone.signer.sign(&claims).unwrap();
        let told = zone.signer.length_of(&claims).unwrap();
        assert_eq!(told, token.len(), "{size}");
        let read = Unverified::parse(&token).err();
        assert_eq!(
            read == Some(TokenError::TooLarge),
            told > MAX_TOKEN_BYTES,
            "{size}"
        );
        refused |= told > MAX_TOKEN_BYTES;
    }
    assert!(refused, "some were too large");
}
