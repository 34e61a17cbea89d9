//! What is encoded comes back equal, and what is not ours is refused.
#![expect(clippy::unwrap_used, reason = "tests")]

use caracal_domain::clock::Timestamp;
use caracal_domain::feed::Heartbeat;
use caracal_domain::{
    Anchor, AnchorKind, AuditDecision, AuditEvent, EventType, FeedBody, FeedEvent, RequestId,
};
use caracal_wire::{
    decode_audit, decode_feed, decode_heartbeat, encode_audit, encode_feed, encode_heartbeat,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

fn time() -> impl Strategy<Value = Timestamp> {
    (0_i64..4_000_000_000_000_000).prop_map(|micros| chrono::DateTime::from_timestamp_micros(micros).unwrap())
}

fn id<T: From<Uuid> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    any::<u128>().prop_map(|bits| Uuid::from_u128(bits).into())
}

fn anchors() -> impl Strategy<Value = Vec<Anchor>> {
    let kind = proptest::sample::select(AnchorKind::ALL.to_vec());
    let anchor = (kind, ".*", any::<i64>(), time()).prop_map(|(kind, value, epoch, expires_at)| Anchor {
        kind,
        value,
        epoch: epoch.into(),
        expires_at,
    });
    proptest::collection::vec(anchor, 0..4)
}

fn body() -> impl Strategy<Value = FeedBody> {
    prop_oneof![
        proptest::option::of(id()).prop_map(|id| FeedBody::PolicyActivated {
            policy_set_version_id: id
        }),
        proptest::collection::vec("[0-9a-f]{64}", 0..3)
            .prop_map(|modules| FeedBody::PolicyCompiled { modules }),
        anchors().prop_map(|anchors| FeedBody::KeysChanged { anchors }),
        Just(FeedBody::ZoneChanged),
        anchors().prop_map(|anchors| FeedBody::SessionsRevoked { anchors }),
        anchors().prop_map(|anchors| FeedBody::DelegationsRevoked { anchors }),
        anchors().prop_map(|anchors| FeedBody::AgentsEnded { anchors }),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".*".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(".*", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn feed_events_survive(id in id(), zone_id in id(), epoch: i64, previous: i64, body in body()) {
        let event = FeedEvent { id, zone_id, epoch: epoch.into(), previous_epoch: previous.into(), body };
        prop_assert_eq!(decode_feed(&encode_feed(&event)).unwrap(), event);
    }

    #[test]
    fn heartbeats_survive(database_time in time()) {
        let heartbeat = Heartbeat { database_time };
        prop_assert_eq!(decode_heartbeat(&encode_heartbeat(&heartbeat)).unwrap(), heartbeat);
    }

    #[test]
    fn audit_events_survive(id in id(), zone in id(), set in proptest::option::of(id()), metadata in value(), at in time()) {
        let request_id = RequestId::accept("req-1").unwrap();
        let mut event = AuditEvent::new(id, zone, EventType::TokenExchange, request_id, AuditDecision::Deny, metadata, at).because("x");
        event.policy_set_id = set;
        event.diagnostics_json = json!([{"b": 1.5, "a": null}]);
        prop_assert_eq!(decode_audit(&encode_audit(&event)).unwrap(), event);
    }

    #[test]
    fn strangers_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode_feed(&bytes).is_err());
        prop_assert!(decode_audit(&bytes).is_err());
        let _ = decode_heartbeat(&bytes);
    }
}

#[test]
fn a_message_without_a_known_body_is_refused() {
    assert!(decode_feed(&[]).is_err());
}
