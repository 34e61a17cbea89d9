//! The token endpoint's form: whatever the bytes, a request or a refusal, and reading it again says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unreachable_pub)]
#[path = "../../../../services/sts/src/form.rs"]
mod form;

fuzz_target!(|bytes: &[u8]| {
    let once = form::TokenRequest::parse(bytes);
    let again = form::TokenRequest::parse(bytes);
    assert_eq!(once.as_ref().err(), again.as_ref().err());
    if let Ok(request) = once {
        assert!(request.resources.len() <= 16);
        assert!(request.ttl_seconds != Some(0));
    }
});
