//! What a policy may hand to a builtin of the host, where nothing can interrupt it.

use super::{ask, compile, serve, serve_within};
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
    let escaped = json!({"text": "\u{1}".repeat(MOST / 6)});
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

/// As much as each takes, of what costs it most: a policy cannot be interrupted meanwhile.
const FULL: &[&str] = &[
    "base64url.encode_no_pad(input.text)",
    "crypto.hmac.md5(input.text, input.text)",
    "crypto.hmac.sha1(input.text, input.text)",
    "crypto.hmac.sha256(input.text, input.text)",
    "crypto.hmac.sha512(input.text, input.text)",
    "crypto.md5(input.text)",
    "crypto.sha1(input.text)",
    "crypto.sha256(input.text)",
    "hex.decode(input.text)",
    "hex.encode(input.text)",
    "semver.compare(input.version, input.version)",
    "semver.is_valid(input.version)",
    "sprintf(`FORMAT`, input.floats)",
    "sprintf(`%s`, [input.text])",
    "time.add_date(input.number, input.number, input.number, input.number)",
    "time.clock([0, input.text])",
    "time.date([0, input.text])",
    "time.parse_duration_ns(input.duration)",
    "time.parse_rfc3339_ns(input.text)",
    "time.weekday([0, input.text])",
    "units.parse(input.digits)",
    "units.parse_bytes(input.digits)",
    "urlquery.decode(input.escapes)",
    "urlquery.decode_object(input.form)",
    "urlquery.encode(input.signs)",
    "urlquery.encode_object(input.object)",
];

#[tokio::test]
async fn a_full_argument_takes_no_builtin_of_the_host_long() {
    let pairs = MOST / 12;
    let object: serde_json::Map<_, _> = (0..pairs / 2)
        .map(|n| (format!("k{n}"), "v".repeat(4).into()))
        .collect();
    let number: Value = serde_json::from_str(&"9".repeat(300)).expect("a number");
    let input = json!({
        "text": "a".repeat(MOST - 2),
        "digits": "1".repeat(MOST - 2),
        "number": number,
        "version": format!("1.0.0-{}", "a1.".repeat(MOST / 3 - 10) + "a"),
        "duration": "1s".repeat(MOST / 2 - 2),
        "escapes": "%41".repeat(MOST / 3 - 2),
        "signs": "%".repeat(MOST - 2),
        "form": "a=b&".repeat(MOST / 4 - 2),
        "floats": vec![1e300; 10_000],
        "object": object,
    });
    for call in FULL {
        let call = call.replace("FORMAT", &"%f".repeat(10_000));
        let shown = call.get(..60.min(call.len())).unwrap_or_default();
        let module = compile(&format!(
            "package caracal.authz\n\nresult := {{\"decision\": \"allow\"}} if {call}\n"
        ))
        .await;
        let (engine, manifest) = serve_within(Duration::from_secs(5), &[&module]).await;
        let mut best = Duration::MAX;
        let mut answer = None;
        // The best of three: other tests have the processor too.
        for _ in 0..3 {
            let mut evaluation = engine.evaluate(&manifest, &input).await;
            best = best.min(evaluation.elapsed);
            answer = evaluation.verdicts.pop();
        }
        let answer = answer.expect("a verdict").answer;
        eprintln!("{best:?} {shown} {answer:?}");
        assert_ne!(answer, Err(PolicyFault::BuiltinInput), "{shown}");
        assert!(best < Duration::from_millis(100), "{shown} took {best:?}");
    }
}
