//! What a ledger holds, written as the audit service would write it; and how it is read at HTTP.

use super::given::sql;
use super::{Zone, alone};
use caracal_testkit::stack::Stack;
use serde_json::{Value, json};

/// An event to be, in a ledger; the rest is as it usually is.
pub(super) struct Event<'a> {
    pub(super) kind: &'a str,
    pub(super) request: &'a str,
    pub(super) decision: &'a str,
    pub(super) reason: Option<&'a str>,
    pub(super) metadata: Value,
    /// Seconds after the first.
    pub(super) at: i64,
}

impl Default for Event<'_> {
    fn default() -> Self {
        Self {
            kind: "token_exchange",
            request: "r",
            decision: "allow",
            reason: None,
            metadata: json!({}),
            at: 0,
        }
    }
}

/// When the first event of a written ledger happened.
pub(super) const FIRST: &str = "2026-05-01T00:00:00Z";

/// Adds an event as the next of its chain; what was hashed of it is of no concern here.
pub(super) async fn write(stack: &Stack, zone: &Zone, event: &Event<'_>) {
    let text = |value: Option<&str>| value.map_or("NULL".to_owned(), |value| format!("'{value}'"));
    let known = |name: &str| text(event.metadata.get(name).and_then(Value::as_str));
    let labels = event.metadata["labels"].as_array().into_iter().flatten();
    let labels: Vec<&str> = labels.filter_map(Value::as_str).collect();
    let statement = format!(
        "WITH next AS (SELECT 1 + coalesce(max(seq), 0) AS seq FROM audit_events WHERE zone_id = '{zone}')
         INSERT INTO audit_events (zone_id, seq, id, event_type, request_id, decision, evaluation_status, reason,
           policy_set_id, policy_set_version_id, manifest_sha, determining_policies_json, diagnostics_json,
           metadata_json, application_id, session_id, agent_session_id, resource, labels, occurred_at,
           canonical, previous_hash, hash)
         SELECT '{zone}', seq, gen_random_uuid(), '{kind}', '{request}', '{decision}', 'complete', {reason},
           gen_random_uuid(), gen_random_uuid(), repeat('ab', 32), '[\"p\", {{\"client_secret\": \"sEcret\"}}]',
           '[{{\"api_key\": \"sEcret\"}}]', $json${metadata}$json$::jsonb, {application}, {session}, {agent}, {resource},
           '{{{labels}}}', timestamptz '{FIRST}' + interval '{at} seconds', '', decode(repeat('00', 32), 'hex'),
           decode(repeat('00', 32), 'hex')
         FROM next",
        zone = zone.id,
        kind = event.kind,
        request = event.request,
        decision = event.decision,
        reason = text(event.reason),
        metadata = event.metadata,
        application = known("application_id"),
        session = known("session_id"),
        agent = known("agent_session_id"),
        resource = known("resource"),
        labels = labels.join(","),
        at = event.at,
    );
    sql(stack, &statement).await;
}

/// So many plain events of one request, a second apart.
async fn many(stack: &Stack, zone: &Zone, request: &str, count: usize) {
    let statement = format!(
        "INSERT INTO audit_events (zone_id, seq, id, event_type, request_id, decision, evaluation_status,
           determining_policies_json, diagnostics_json, metadata_json, occurred_at, canonical, previous_hash, hash)
         SELECT '{}', n, gen_random_uuid(), 'gateway_request', '{request}', 'allow', 'complete', '[]', '[]', '{{}}',
           timestamptz '{FIRST}' + n * interval '1 second', '', decode(repeat('00', 32), 'hex'),
           decode(repeat('00', 32), 'hex')
         FROM generate_series(1, {count}) n",
        zone.id
    );
    sql(stack, &statement).await;
}

async fn rows(zone: &Zone, query: &str) -> Vec<Value> {
    let answer = zone.get(&format!("audit?{query}")).await;
    answer.expect(200)["rows"].as_array().expect("rows").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_finds_what_it_names_and_times_exclude_their_own_moment() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Filters").await;
    let agent = "0198c0de-0000-7000-8000-0000000000aa";
    let acting = json!({"agent_session_id": agent, "labels": ["nightly", "batch"]});
    for (at, event) in [
        Event {
            request: "first",
            ..Event::default()
        },
        Event {
            decision: "partial",
            request: "second",
            ..Event::default()
        },
        Event {
            metadata: acting,
            request: "third",
            ..Event::default()
        },
    ]
    .into_iter()
    .enumerate()
    {
        let at = i64::try_from(at).expect("few");
        write(&stack, &zone, &Event { at, ..event }).await;
    }
    for (query, wanted) in [
        ("", vec!["third", "second", "first"]),
        ("since=2026-05-01T00:00:00Z", vec!["third", "second"]),
        ("since=2026-05-01T00:00:00.999Z", vec!["third", "second"]),
        ("since=2026-05-01T00:00:02Z", vec![]),
        ("until=2026-05-01T00:00:02Z", vec!["second", "first"]),
        (
            "since=2026-05-01T00:00:00Z&until=2026-05-01T00:00:02Z",
            vec!["second"],
        ),
        ("request_id=second", vec!["second"]),
        ("request_id=nobody", vec![]),
        ("decision=partial", vec!["second"]),
        ("label=nightly", vec!["third"]),
        ("label=batch&event_type=token_exchange", vec!["third"]),
        (format!("agent_session_id={agent}").as_str(), vec!["third"]),
    ] {
        let found = rows(&zone, query).await;
        let found: Vec<&str> = found
            .iter()
            .filter_map(|row| row["request_id"].as_str())
            .collect();
        assert_eq!(found, wanted, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_leads_to_the_next_and_to_no_other_list() {
    let stack = alone().start().await;
    let (zone, other) = (Zone::new(&stack, "Pages").await, Zone::new(&stack, "Other").await);
    many(&stack, &zone, "r", 7).await;
    let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = zone.get(&format!("audit?limit=3{cursor}")).await.expect(200);
        seen.extend(
            page["rows"]
                .as_array()
                .expect("rows")
                .iter()
                .map(|row| row["id"].to_string()),
        );
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let all = rows(&zone, "limit=1000").await;
    let all: Vec<String> = all.iter().map(|row| row["id"].to_string()).collect();
    assert_eq!((pages, seen), (3, all));
    assert!(!cursor.is_empty());
    for (there, list) in [(&other, "audit"), (&zone, "sessions"), (&zone, "policies")] {
        let refused = there.get(&format!("{list}?limit=3{cursor}")).await;
        assert_eq!(
            (refused.status, refused.member("error")),
            (400, "invalid_cursor"),
            "{list}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_on_beyond_what_is_read_at_once() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Export").await;
    many(&stack, &zone, "r", 1203).await;
    let csv = zone.get("audit?format=csv").await;
    let lines: Vec<&str> = csv.text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 1204, "a header and a line an event");
    assert!(
        lines[1].starts_with("1203,") && lines[1203].starts_with("1,"),
        "newest first"
    );
    let ndjson = zone.get("audit?format=ndjson").await;
    let events: Vec<Value> = ndjson
        .text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let numbers: Vec<i64> = events.iter().filter_map(|event| event["seq"].as_i64()).collect();
    assert_eq!(numbers, (1..=1203).rev().collect::<Vec<_>>(), "each once");
    let empty = zone.get("audit?format=csv&decision=deny").await;
    assert_eq!(
        empty.text.split_terminator("\r\n").count(),
        1,
        "a header at least"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_a_request_are_shown_whole_and_redacted_and_a_thousand_at_most() {
    let stack = alone().start().await;
    let zone = Zone::new(&stack, "Requests").await;
    let metadata = json!({"deep": [{"privateKey": "sEcret", "n": 1}], "resource": "resource://a"});
    let event = Event {
        request: "asked",
        decision: "deny",
        reason: Some("policy_deny"),
        metadata,
        ..Event::default()
    };
    write(&stack, &zone, &event).await;
    let answer = zone.get("audit/by-request/asked").await;
    assert!(!answer.text.contains("sEcret"), "{}", answer.text);
    let shown = answer.expect(200)[0].clone();
    for text in [
        "id",
        "policy_set_id",
        "policy_set_version_id",
        "manifest_sha",
        "occurred_at",
        "ingested_at",
    ] {
        assert!(shown[text].is_string(), "{text}: {shown}");
    }
    assert_eq!(
        (&shown["zone_id"], &shown["request_id"], &shown["event_type"]),
        (&json!(zone.id), &json!("asked"), &json!("token_exchange"))
    );
    assert_eq!(
        (&shown["decision"], &shown["reason"], &shown["evaluation_status"]),
        (&json!("deny"), &json!("policy_deny"), &json!("complete"))
    );
    assert_eq!(
        (&shown["determining_policies_json"], &shown["diagnostics_json"]),
        (
            &json!(["p", {"client_secret": "[redacted]"}]),
            &json!([{"api_key": "[redacted]"}])
        )
    );
    assert_eq!(
        shown["metadata_json"],
        json!({"deep": [{"privateKey": "[redacted]", "n": 1}], "resource": "resource://a"})
    );

    let crowded = Zone::new(&stack, "Crowded").await;
    many(&stack, &crowded, "again", 1005).await;
    let shown = crowded.get("audit/by-request/again").await.expect(200);
    let shown = shown.as_array().expect("events");
    assert_eq!((shown.len(), &shown[0]["seq"]), (1000, &json!(1)));
    let explained = crowded.get("audit/by-request/again/explain").await.expect(200);
    assert_eq!(explained["events"].as_array().map(Vec::len), Some(1000));
    for path in ["audit/by-request/nobody", "audit/by-request/again/explain"] {
        let absent = zone.get(path).await;
        assert_eq!(
            (absent.status, absent.member("error")),
            (404, "request_not_found"),
            "{path}"
        );
    }
}
