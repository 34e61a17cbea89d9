//! One event, one sequence of bytes.

use caracal_domain::AuditEvent;
use serde_json::{Map, Value, json};

/// The event as deterministic JSON: UTF-8, keys sorted by their bytes at every depth, no white space.
#[must_use]
pub fn canonical_bytes(event: &AuditEvent) -> Vec<u8> {
    canonical_json(&json!({
        "id": event.id,
        "zone_id": event.zone_id,
        "event_type": event.event_type,
        "request_id": event.request_id,
        "decision": event.decision,
        "evaluation_status": event.evaluation_status,
        "reason": event.reason,
        "policy_set_id": event.policy_set_id,
        "policy_set_version_id": event.policy_set_version_id,
        "manifest_sha": event.manifest_sha,
        "determining_policies_json": event.determining_policies_json,
        "diagnostics_json": event.diagnostics_json,
        "metadata_json": event.metadata_json,
        "occurred_at": event.occurred_at,
    }))
}

/// Any JSON in the same form. Sorting is done here: whether `serde_json` keeps its maps sorted depends on a feature
/// that any dependency may switch on.
#[must_use]
pub fn canonical_json(value: &Value) -> Vec<u8> {
    let mut text = String::new();
    write(value, &mut text);
    text.into_bytes()
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => write_object(map, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
    }
}

fn write_object(map: &Map<String, Value>, out: &mut String) {
    let mut members: Vec<_> = map.iter().collect();
    members.sort_unstable_by_key(|(key, _)| key.as_bytes());
    out.push('{');
    for (index, (key, inner)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&Value::from(key.as_str()).to_string());
        out.push(':');
        write(inner, out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_sorted_at_every_depth_and_nothing_is_spaced() {
        let value = json!({"b": [{"z": 1, "a": "é\n"}], "a": {"B": null, "A": 1.5}});
        assert_eq!(
            String::from_utf8_lossy(&canonical_json(&value)),
            r#"{"a":{"A":1.5,"B":null},"b":[{"a":"é\n","z":1}]}"#
        );
    }

    proptest! {
        #[test]
        fn the_bytes_read_back_as_the_same_value(map in proptest::collection::btree_map(".*", any::<i64>(), 0..8)) {
            let value: Value = map.into_iter().collect();
            prop_assert_eq!(serde_json::from_slice::<Value>(&canonical_json(&value)).ok(), Some(value));
        }
    }
}
