use super::*;
use proptest::prelude::*;

const ONE: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const TWO: &str = "f00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn zone(n: u128) -> ZoneId {
    Uuid::from_u128(n).into()
}

#[test]
fn a_sealed_value_opens_only_for_its_own_zone_purpose_and_row() {
    let (dek, _) = Kek::parse(ONE).unwrap().new_dek(zone(1)).unwrap();
    let row = Uuid::from_u128(7);
    let sealed = dek.seal(zone(1), Purpose::SigningKey, row, b"private").unwrap();
    assert_eq!(
        *dek.open(zone(1), Purpose::SigningKey, row, &sealed).unwrap(),
        b"private"
    );
    assert!(dek.open(zone(2), Purpose::SigningKey, row, &sealed).is_err());
    assert!(dek.open(zone(1), Purpose::ProviderSecret, row, &sealed).is_err());
    assert!(
        dek.open(zone(1), Purpose::SigningKey, Uuid::from_u128(8), &sealed)
            .is_err()
    );
    let (other, _) = Kek::parse(ONE).unwrap().new_dek(zone(1)).unwrap();
    assert!(other.open(zone(1), Purpose::SigningKey, row, &sealed).is_err());
}

#[test]
fn a_dek_survives_the_rotation_of_its_kek_and_not_its_loss() {
    let old = Kek::parse(ONE).unwrap();
    let (dek, sealed) = old.new_dek(zone(1)).unwrap();
    let value = dek
        .seal(zone(1), Purpose::ProviderSecret, Uuid::nil(), b"key")
        .unwrap();
    let rotated = Kek::parse(&format!("2026:{TWO}, default:{ONE}")).unwrap();
    let again = rotated.open_dek(zone(1), &sealed).unwrap();
    assert_eq!(
        *again
            .open(zone(1), Purpose::ProviderSecret, Uuid::nil(), &value)
            .unwrap(),
        b"key"
    );
    assert_eq!(rotated.new_dek(zone(1)).unwrap().1.key_id, "2026");
    assert!(rotated.open_dek(zone(2), &sealed).is_err(), "another zone's row");
    assert!(matches!(
        Kek::parse(&format!("2026:{TWO}"))
            .unwrap()
            .open_dek(zone(1), &sealed),
        Err(Error::UnknownKey(_))
    ));
    assert!(matches!(
        Kek::parse(TWO).unwrap().open_dek(zone(1), &sealed),
        Err(Error::Open)
    ));
}

#[test]
fn malformed_keys_are_refused_without_being_repeated() {
    for text in [
        "",
        "00",
        &ONE[1..],
        &format!("{ONE}0"),
        &format!("a:{ONE},a:{TWO}"),
        &format!(":{ONE}"),
        "x:y",
    ] {
        let error = Kek::parse(text).unwrap_err().to_string();
        assert!(text.len() < 4 || !error.contains(text), "{error}");
    }
}

#[test]
fn debug_shows_names_only() {
    let kek = Kek::parse(&format!("a:{ONE}")).unwrap();
    assert_eq!(format!("{kek:?}"), r#"["a"]"#);
    assert_eq!(format!("{:?}", kek.new_dek(zone(1)).unwrap().0), "Dek");
}

proptest! {
    #[test]
    fn any_flipped_bit_is_noticed(plaintext: Vec<u8>, at: prop::sample::Index, bit in 0..8u8) {
        let (dek, _) = Kek::parse(ONE).unwrap().new_dek(zone(1)).unwrap();
        let mut sealed = dek.seal(zone(1), Purpose::SigningKey, Uuid::nil(), &plaintext).unwrap();
        prop_assert_eq!(&*dek.open(zone(1), Purpose::SigningKey, Uuid::nil(), &sealed).unwrap(), &plaintext);
        let at = at.index(sealed.bytes.len());
        sealed.bytes[at] ^= 1 << bit;
        prop_assert!(dek.open(zone(1), Purpose::SigningKey, Uuid::nil(), &sealed).is_err());
    }

    #[test]
    fn garbage_opens_as_nothing_and_never_panics(bytes: Vec<u8>) {
        let (dek, _) = Kek::parse(ONE).unwrap().new_dek(zone(1)).unwrap();
        let sealed = Sealed { key_id: DEK_ID.to_owned(), bytes };
        prop_assert!(dek.open(zone(1), Purpose::SigningKey, Uuid::nil(), &sealed).is_err());
    }
}
