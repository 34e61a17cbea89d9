//! A ledger's checkpoint that somebody shows us, and a key to verify it with.
#![no_main]

use caracal_chain::{Checkpoint, NoteError, VerifierKey};
use libfuzzer_sys::fuzz_target;

const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

fuzz_target!(|text: &str| {
    let key: VerifierKey = KEY.parse().expect("a key");
    // Its private half signed no checkpoint.
    assert!(Checkpoint::open(text, &[key]).is_err());
    match text.parse::<VerifierKey>() {
        Ok(key) => assert_eq!(key.to_string().parse(), Ok(key)),
        Err(error) => assert_eq!(error, NoteError::Malformed),
    }
});
