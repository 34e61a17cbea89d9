//! What a policy answered: the agreed shape or a fault, and never an allow that was not spelled out.
#![no_main]

use caracal_domain::Decision;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

#[allow(dead_code, unreachable_pub)]
#[path = "../../../policy/src/engine/answer.rs"]
mod answer;

fuzz_target!(|text: String| {
    let Ok(raw) = RawValue::from_string(text.clone()) else {
        return;
    };
    if let Ok(Some(read)) = answer::read(&raw, 4096) {
        assert!(read.decision != Decision::Allow || text.contains("allow") || text.contains("\\u"));
    }
});
