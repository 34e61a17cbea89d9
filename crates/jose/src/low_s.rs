//! ECDSA signatures come in twins: (r, s) and (r, n − s) both verify. Ours always has the smaller s and only that one
//! is accepted, so a token has exactly one spelling.

/// A JWS ES256 signature: r ‖ s, 32 bytes each (RFC 7518 §3.4).
pub(crate) type Signature = [u8; 64];

/// The order of P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Half of it, rounded down: the largest low s.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xde,
    0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];

/// Whether s is the smaller of the twins.
pub(crate) fn is_low(signature: &Signature) -> bool {
    signature.last_chunk::<32>().is_some_and(|s| *s <= HALF_ORDER)
}

/// The twin with the smaller s.
pub(crate) fn normalise(mut signature: Signature) -> Signature {
    if !is_low(&signature)
        && let Some(s) = signature.last_chunk_mut::<32>()
    {
        *s = subtract_from_order(s);
    }
    signature
}

fn subtract_from_order(s: &[u8; 32]) -> [u8; 32] {
    let mut difference = [0; 32];
    let mut borrow = false;
    for ((out, minuend), subtrahend) in difference.iter_mut().zip(ORDER).zip(s).rev() {
        let (partial, under) = minuend.overflowing_sub(*subtrahend);
        let (digit, under_again) = partial.overflowing_sub(u8::from(borrow));
        *out = digit;
        borrow = under || under_again;
    }
    difference
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_boundary_is_where_the_twins_meet() {
        let mut high = HALF_ORDER;
        *high.last_mut().unwrap() += 1;
        let signature: Signature = [[7; 32], high].concat().try_into().unwrap();
        assert!(!is_low(&signature));
        assert_eq!(normalise(signature), *[[7; 32], HALF_ORDER].concat());
    }

    proptest! {
        #[test]
        fn the_twin_of_the_twin_is_itself(s in any::<[u8; 32]>().prop_filter("below the order", |s| *s < ORDER)) {
            prop_assert_eq!(subtract_from_order(&subtract_from_order(&s)), s);
        }
    }
}
