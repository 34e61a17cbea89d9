//! The allow-list against every builtin that the real OPA knows.

use super::{OPA, ask, compile, compiler, serve};
use caracal_policy::CompileError;
use serde_json::{Value, json};
use tokio::process::Command;

/// What the contract forbids by name (§1, "Policies"), and what reaches out of the sandbox besides.
const FORBIDDEN: &[&str] = &[
    "http.send",
    "net.lookup_ip_addr",
    "opa.runtime",
    "rand.intn",
    "time.now_ns",
    "net.cidr_expand",
    "uuid.rfc4122",
    "trace",
];

/// Part of the language rather than functions to call; the corpus uses them.
const LANGUAGE: &[&str] = &[
    "assign",
    "eq",
    "print",
    "rego.metadata.chain",
    "rego.metadata.rule",
    "walk",
];

struct Builtin {
    name: String,
    call: String,
}

/// Every builtin with a call that type-checks.
async fn builtins() -> Vec<Builtin> {
    let output = Command::new(&*OPA)
        .args(["capabilities", "--current"])
        .output()
        .await
        .expect("opa");
    let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let builtin = |builtin: &Value| {
        let name = builtin["name"].as_str().expect("a name").to_owned();
        let types = builtin["decl"]["args"].as_array().cloned().unwrap_or_default();
        let arguments: Vec<String> = types.iter().map(example).collect();
        let call = format!("{name}({})", arguments.join(", "));
        Builtin { name, call }
    };
    let all: Vec<Builtin> = all["builtins"]
        .as_array()
        .expect("a list")
        .iter()
        .map(builtin)
        .collect();
    let called = |builtin: &Builtin| {
        !builtin.name.starts_with("internal.") && !LANGUAGE.contains(&builtin.name.as_str())
    };
    all.into_iter().filter(called).collect()
}

/// A value of a type as OPA declares it.
fn example(of: &Value) -> String {
    match of["type"].as_str().expect("a type") {
        "number" => "1".to_owned(),
        "boolean" => "true".to_owned(),
        "null" => "null".to_owned(),
        "array" => match (of["static"].as_array(), of.get("dynamic")) {
            (Some(items), _) => format!("[{}]", items.iter().map(example).collect::<Vec<_>>().join(", ")),
            (None, Some(item)) => format!("[{}]", example(item)),
            (None, None) => "[]".to_owned(),
        },
        "set" => match of.get("of") {
            Some(item) => format!("{{{}}}", example(item)),
            None => "set()".to_owned(),
        },
        "object" => {
            let fixed = of["static"].as_array().cloned().unwrap_or_default();
            let fixed = fixed
                .iter()
                .map(|p| format!("{}: {}", p["key"], example(&p["value"])));
            let open = of
                .get("dynamic")
                .map(|d| format!("{}: {}", example(&d["key"]), example(&d["value"])));
            format!("{{{}}}", fixed.chain(open).collect::<Vec<_>>().join(", "))
        }
        "any" => of["of"]
            .as_array()
            .and_then(|any| any.first())
            .map_or_else(|| "\"a\"".to_owned(), example),
        _ => "\"a\"".to_owned(),
    }
}

fn policy(calls: &[&Builtin]) -> String {
    let mut content = String::from(
        "package caracal.authz\n\nresult := {\"decision\": \"allow\", \"diagnostics\": [count(answer)]}\n\n",
    );
    for (number, builtin) in calls.iter().enumerate() {
        content.push_str(&format!("answer[\"{number}\"] := {} if input.go\n", builtin.call));
    }
    content
}

/// The builtins among `some` that the compiler refuses by name. OPA stops after ten mistakes, so eight go at a time.
async fn refused<'a>(some: &[&'a Builtin]) -> Vec<&'a Builtin> {
    let mut refused = Vec::new();
    for chunk in some.chunks(8) {
        match compiler().check(&policy(chunk)).await {
            Ok(()) => {}
            Err(CompileError::Invalid(issues)) => {
                for (line, builtin) in (5..).zip(chunk) {
                    if let Some(issue) = issues.iter().find(|issue| issue.line == line) {
                        let named = issue.message.contains(&builtin.name) || builtin.name == "sprintf";
                        assert!(named, "{}: {issue:?}", builtin.name);
                        refused.push(*builtin);
                    }
                }
            }
            Err(CompileError::Unavailable(why)) => panic!("no compiler: {why}"),
        }
    }
    refused
}

#[tokio::test]
async fn a_builtin_is_refused_when_the_policy_is_created_or_answers_when_it_is_asked() {
    let all = builtins().await;
    assert!(all.len() > 180, "{}", all.len());
    let every: Vec<&Builtin> = all.iter().collect();
    let refused = refused(&every).await;
    for name in FORBIDDEN {
        assert!(
            refused.iter().any(|builtin| builtin.name == *name),
            "{name} is let through"
        );
    }
    let families = [
        "io.jwt.",
        "graphql.",
        "crypto.x509.",
        "providers.",
        "rego.parse",
        "yaml.",
    ];
    for builtin in every
        .iter()
        .filter(|b| families.iter().any(|family| b.name.starts_with(family)))
    {
        assert!(
            refused.iter().any(|r| r.name == builtin.name),
            "{} is let through",
            builtin.name
        );
    }
    // What is let through must be there: a module that wants a builtin nobody provides does not load. That those of the
    // host are there in more than name, `every_builtin.rego` shows.
    let allowed: Vec<&Builtin> = every
        .into_iter()
        .filter(|builtin| !refused.iter().any(|refused| refused.name == builtin.name))
        .collect();
    assert!(allowed.len() > 90, "{}", allowed.len());
    for chunk in allowed.chunks(24) {
        let content = policy(chunk);
        let module = compile(&content).await;
        let (engine, manifest) = serve(&[&module]).await;
        let answer = ask(&engine, &manifest, &json!({})).await;
        assert!(matches!(answer, Ok(Some(_))), "{answer:?} from\n{content}");
    }
}
