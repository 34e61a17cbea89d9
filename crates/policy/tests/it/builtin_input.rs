//! What a policy may hand to a builtin of the host, where nothing can interrupt it.

use super::{ask, compile, serve};
use caracal_domain::decision::PolicyFault;
use caracal_policy::EngineConfig;
use serde_json::{Value, json};
use std::time::Duration;

/// The contract leaves the number to us: docs/policy.md.
const MOST: usize = 64 << 10;

/// Every place in which an argument can stand: on its own, second, third, within a list, within an object.
const CALLS: &[(&str, &str)] = &[
    ("alone", "crypto.sha256(input.text)"),
    ("the key", "crypto.hmac.sha256(\"a\", input.text)"),
    ("the text", "crypto.hmac.sha256(input.text, \"a\")"),
    ("in a list", "sprintf(\"%s\", [input.text])"),
    ("in an object", "urlquery.encode_object({\"a\": input.text})"),
    ("in a set", "urlquery.encode_object({\"a\": {input.text}})"),
    ("made here", "hex.encode(concat(\"\", [input.text, input.text]))"),
];

fn calling(call: &str) -> String {
    format!(
        "package caracal.authz\n\nresult := {{\"decision\": \"allow\", \"diagnostics\": [count(answer)]}} if answer := {call}\n"
    )
}

fn text(bytes: usize) -> Value {
    json!({"text": "a".repeat(bytes)})
}

#[tokio::test]
async fn a_builtin_of_the_host_is_handed_so_much_and_no_more() {
    assert_eq!(EngineConfig::default().max_builtin_input_bytes, MOST);
    for (place, call) in CALLS {
        let module = compile(&calling(call)).await;
        let (engine, manifest) = serve(&[&module]).await;
        let said = ask(&engine, &manifest, &text(MOST + 1)).await;
        assert_eq!(said, Err(PolicyFault::BuiltinInput), "{place}");
        // What was cut short leaves nothing behind.
        let said = ask(&engine, &manifest, &text(MOST / 4)).await;
        assert!(matches!(said, Ok(Some(_))), "{place}: {said:?}");
    }
}

#[tokio::test]
async fn it_is_the_json_of_an_argument_that_counts_to_the_byte() {
    let module = compile(&calling("crypto.sha256(input.text)")).await;
    let (engine, manifest) = serve(&[&module]).await;
    // A text has its two quotes.
    let said = ask(&engine, &manifest, &text(MOST - 2)).await;
    assert!(matches!(said, Ok(Some(_))), "{said:?}");
    let said = ask(&engine, &manifest, &text(MOST - 1)).await;
    assert_eq!(said, Err(PolicyFault::BuiltinInput));
    // What JSON escapes counts as it is escaped, so nothing shorter stands for something longer.
    let escaped = json!({"text": "\u{1}".repeat(MOST / 6 + 1)});
    let said = ask(&engine, &manifest, &escaped).await;
    assert_eq!(said, Err(PolicyFault::BuiltinInput));
}

#[tokio::test]
async fn what_runs_in_wasm_is_not_counted() {
    let module = compile(&calling("upper(concat(\"\", [input.text, input.text]))")).await;
    let (engine, manifest) = serve(&[&module]).await;
    let said = ask(&engine, &manifest, &text(4 * MOST)).await;
    assert!(matches!(said, Ok(Some(_))), "{said:?}");
}

/// As much as each takes, of what costs it most: a policy cannot be interrupted meanwhile. What is not good for it ends
/// the evaluation, which is as well.
fn full() -> Vec<(&'static str, Value)> {
    let text = |of: &str| json!(of.repeat((MOST - 2) / of.len()));
    let number: Value = serde_json::from_str(&"9".repeat(300)).expect("a number");
    let object: serde_json::Map<_, _> = (0..MOST / 16).map(|n| (format!("k{n}"), "vvvv".into())).collect();
    vec![
        ("base64url.encode_no_pad(input.x)", text("a")),
        ("crypto.hmac.md5(input.x, input.x)", text("a")),
        ("crypto.hmac.sha1(input.x, input.x)", text("a")),
        ("crypto.hmac.sha256(input.x, input.x)", text("a")),
        ("crypto.hmac.sha512(input.x, input.x)", text("a")),
        ("crypto.md5(input.x)", text("a")),
        ("crypto.sha1(input.x)", text("a")),
        ("crypto.sha256(input.x)", text("a")),
        ("hex.decode(input.x)", text("61")),
        ("hex.encode(input.x)", text("a")),
        ("semver.compare(input.x, input.x)", version()),
        ("semver.is_valid(input.x)", version()),
        ("sprintf(`FORMAT`, input.x)", json!(vec![1e300; 7_000])),
        ("sprintf(`%s`, [input.x])", json!("a".repeat(MOST - 4))),
        ("time.add_date(0, input.x, input.x, input.x)", number),
        ("time.clock([0, input.x])", json!("a".repeat(MOST - 8))),
        ("time.date([0, input.x])", json!("a".repeat(MOST - 8))),
        ("time.weekday([0, input.x])", json!("a".repeat(MOST - 8))),
        ("time.parse_duration_ns(input.x)", text("1s")),
        ("time.parse_rfc3339_ns(input.x)", text("1")),
        ("units.parse(input.x)", text("1")),
        ("units.parse_bytes(input.x)", text("1")),
        ("urlquery.decode(input.x)", text("%41")),
        ("urlquery.decode_object(input.x)", text("a=b&")),
        ("urlquery.encode(input.x)", text("%")),
        ("urlquery.encode_object(input.x)", json!(object)),
    ]
}

fn version() -> Value {
    json!(format!("1.0.0-{}a", "a1.".repeat(MOST / 3 - 10)))
}

#[tokio::test]
async fn a_full_argument_takes_no_builtin_of_the_host_long() {
    for (call, argument) in full() {
        let content = format!(
            "package caracal.authz\n\nresult := {{\"decision\": \"allow\"}} if {{\n\tinput.x\n\t{}\n}}\n",
            call.replace("FORMAT", &"%f".repeat(64))
        );
        let module = compile(&content).await;
        let (engine, manifest) = serve(&[&module]).await;
        let input = json!({ "x": argument });
        let (mut best, mut answer) = (Duration::MAX, None);
        // The best of three: other tests have the processor too.
        for _ in 0..3 {
            let mut evaluation = engine.evaluate(&manifest, &input).await;
            best = best.min(evaluation.elapsed);
            answer = evaluation.verdicts.pop();
        }
        let answer = answer.expect("a verdict").answer;
        println!(
            "{best:?} {call} {}",
            if answer.is_ok() { "" } else { "(not good for it)" }
        );
        assert_ne!(answer, Err(PolicyFault::BuiltinInput), "{call}");
        assert!(best < Duration::from_millis(100), "{call} took {best:?}");
    }
}

#[test]
fn every_builtin_of_the_host_is_filled() {
    // Those that the compiler lets through and the host provides: `every_builtin.rego` calls each of them.
    let calls = full();
    for line in include_str!("every_builtin.rego").lines() {
        for name in line.split(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '_') {
            let families = [
                "base64url.",
                "crypto.",
                "hex.",
                "semver.",
                "time.",
                "units.",
                "urlquery.",
            ];
            let of_host =
                families.iter().any(|family| name.starts_with(family)) && line.contains(&format!("{name}("));
            assert!(
                !of_host || calls.iter().any(|(call, _)| call.starts_with(name)),
                "{name}"
            );
        }
    }
}
