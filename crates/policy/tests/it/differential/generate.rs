//! Inputs as the STS builds them, and some it never would. Always the same ones: the generator's seed is fixed.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

const SCOPES: &[&str] = &[
    "orders:read",
    "orders:read",
    "orders:write",
    "orders:write",
    "orders:delete",
    "orders:refund",
    "billing.export",
    "read",
    "a/b:manage",
    "ORDERS:READ",
    "日本:read",
    "x",
    "",
];
const TRAITS: &[&str] = &[
    "role:reader",
    "role:reader",
    "role:writer",
    "role:writer",
    "role:admin",
    "role:",
    "team:orders",
    "team:payments",
    "clearance:write",
    "network:internal",
    "scopes:administrative",
    "verb:write",
    "é",
    "z",
    "😀",
    "",
];
const NAMES: &[&str] = &[
    "Orders agent",
    "ORDERS",
    "é",
    "ß",
    "日本",
    "😀",
    " padded ",
    "a\"b\\c\n\t\u{1}",
    "Ünïcödé Orders",
    "",
];
const RESOURCES: &[&str] = &[
    "resource://orders",
    "resource://orders/eu/1",
    "resource://payments",
    "resource://orders/internal",
    "https://api.internal.example/x",
    "ftp://x",
    "urn:orders:1",
    "resource:///",
];
const TEXTS: &[&str] = &[
    "10.1.2.3",
    "1.2.3",
    "1.10.0-rc.1",
    "42",
    "007",
    "-1.5e3",
    "{\"a\":[1,null]}",
    "[1,2",
    "null",
    "a b&c=d/é",
    "",
];
const TIMES: &[&str] = &[
    "2026-11-23T09:30:00.000Z",
    "2026-11-23T10:00:00Z",
    "2026-11-22T10:00:00.5+02:00",
    "2026-11-24T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "yesterday",
];

/// `count` inputs for the policy of this number: other ones for each.
pub(super) fn inputs(policy: u8, count: usize) -> Vec<Value> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[policy; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let inputs = any_input();
    (0..count)
        .map(|_| inputs.new_tree(&mut runner).expect("an input").current())
        .collect()
}

fn some_of(words: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    proptest::collection::vec(select(words), 0..4)
}

fn any_input() -> impl Strategy<Value = Value> {
    let parts = (
        (select(NAMES), some_of(TRAITS), some_of(TRAITS), any::<bool>()),
        (select(RESOURCES), some_of(SCOPES), some_of(SCOPES)),
        (session(), edge(), any::<bool>()),
        (
            select(TEXTS),
            proptest::collection::vec(number(), 0..4),
            instant(),
        ),
    );
    (parts, proptest::option::weighted(0.3, damage())).prop_map(|(parts, damage)| {
        let ((name, traits, labels, dcr), (resource, offered, wanted), (session, edge, resolved), rest) =
            parts;
        let (text, numbers, unix) = rest;
        let mut input = json!({
            "schema_version": "2026-03-16",
            "principal": {"type": "application", "id": "app-1", "zone_id": "zone-1", "name": name,
                "registration_method": if dcr { "dcr" } else { "managed" }, "credential_type": "token",
                "traits": traits, "labels": labels, "agent_session_id": "agent-1"},
            "resource": {"type": "resource", "id": "res-1", "identifier": resource, "scopes": offered},
            "action": {"id": "TokenExchange", "method": "GET", "path": "/admin/x"},
            "session": session, "delegation_edge": edge, "grant": null,
            "context": {"actor_claims": null, "subject_claims": null, "trace_id": "t", "session_id": null,
                "agent_session_id": null, "delegation_edge_id": null, "challenge_resolved": resolved,
                "challenge": null, "requested_scopes": wanted,
                "time": {"rfc3339": "2026-11-23T10:00:00.000Z", "unix": unix}},
            "text": text, "numbers": numbers,
        });
        if let Some((path, junk)) = damage {
            if let Some(place) = input.pointer_mut(path) {
                *place = junk;
            }
        }
        input
    })
}

/// From a week around the base time: nights and week-ends included.
fn instant() -> impl Strategy<Value = i64> {
    prop_oneof![Just(1_795_428_000), 1_795_000_000_i64..1_796_000_000]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-5_i64..50).prop_map(|n| json!(n)),
        select(vec![
            json!(0.5),
            json!(2.0),
            json!(-0.25),
            json!(1e3),
            json!(4_294_967_296_i64)
        ]),
    ]
}

fn session() -> impl Strategy<Value = Value> {
    let some = (
        select(TIMES),
        select(vec!["application", "user"]),
        select(vec!["app-1", "app-2", ""]),
    );
    prop_oneof![
        1 => Just(Value::Null),
        3 => some.prop_map(|(at, kind, subject)| {
            json!({"id": "s-1", "type": kind, "subject_id": subject, "authenticated_at": at})
        }),
    ]
}

fn edge() -> impl Strategy<Value = Value> {
    let some = (
        some_of(SCOPES),
        select(vec!["app-1", "app-2"]),
        select(vec!["agent-1", "agent-2"]),
        select(vec![json!("res-1"), json!("res-2"), Value::Null]),
        (0_usize..6, 0_i64..200),
    );
    prop_oneof![
        1 => Just(Value::Null),
        2 => some.prop_map(|(scopes, receiver, target, resource, (hops, amount))| {
            let path: Vec<String> = (0..hops).map(|hop| format!("e{hop}")).collect();
            json!({"id": "e", "source_session_id": "agent-0", "target_session_id": target,
                "issuer_application_id": "app-0", "receiver_application_id": receiver, "resource_id": resource,
                "scopes": scopes, "edge_version": 1, "path": path, "graph_epoch": 7,
                "constraints_json": {"limits": {"amount": amount}, "region": "eu"}})
        }),
    ]
}

/// Something of another type where a policy expects its own.
fn damage() -> impl Strategy<Value = (&'static str, Value)> {
    const PLACES: &[&str] = &[
        "/principal",
        "/principal/traits",
        "/principal/traits/0",
        "/principal/name",
        "/resource/identifier",
        "/resource/scopes",
        "/context/requested_scopes",
        "/context/requested_scopes/0",
        "/context/time/unix",
        "/session",
        "/delegation_edge",
        "/delegation_edge/scopes",
        "/text",
        "/numbers",
        "/numbers/0",
    ];
    let junk = vec![
        Value::Null,
        json!(true),
        json!(7),
        json!("text"),
        json!([]),
        json!({}),
        json!([[1], {"a": "b"}]),
        json!({"0": "orders:read"}),
    ];
    (select(PLACES), select(junk))
}
