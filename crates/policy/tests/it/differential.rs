//! Thousands of inputs through three evaluators: our Wasm host, regorus, and OPA itself. They must agree. Only an abort
//! in Wasm may stand against an error or an undefined result elsewhere, since both refuse; an allow on one side only is
//! a failure whatever the other side says.

mod generate;

use super::{OPA, compile, serve};
use caracal_domain::decision::{Decision, PolicyAnswer, PolicyFault};
use caracal_policy::{Engine, templates};
use futures::StreamExt as _;
use futures::stream;
use generate::inputs;
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Where regorus is known to be wrong, and OPA says what we say: there it is heard about an allow only.
const WRONG_IN_REGORUS: [(&str, &str); 2] = [
    ("strings-replace", "strings.replace_n replaces what it has put in"),
    ("strings-count-unicode", "count takes some characters for two"),
];

/// Of each policy's own; times the number of policies (57) is how many are compared.
const INPUTS: usize = 250;

/// What an evaluator made of one input.
#[derive(Debug, Clone)]
enum Outcome {
    Answer(PolicyAnswer),
    Undefined,
    Error(String),
    /// It does not know a builtin of the policy, so it has no say.
    Abstains,
}

impl Outcome {
    fn from_result(result: Option<Value>) -> Self {
        match result.map(serde_json::from_value) {
            None => Self::Undefined,
            Some(Ok(answer)) => Self::Answer(answer),
            Some(Err(error)) => Self::Error(format!("nonsense: {error}")),
        }
    }

    fn allows(&self) -> bool {
        matches!(self, Self::Answer(answer) if answer.decision == Decision::Allow)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(answer) => write!(f, "{}", serde_json::to_string(answer).unwrap_or_default()),
            Self::Undefined => f.write_str("undefined"),
            Self::Error(why) => write!(f, "error: {why}"),
            Self::Abstains => f.write_str("abstains"),
        }
    }
}

/// Whether `other` may stand against what our host said.
fn agree(ours: &Outcome, other: &Outcome) -> bool {
    match (ours, other) {
        (Outcome::Answer(a), Outcome::Answer(b)) => {
            a.decision == b.decision
                && a.evaluation_status == b.evaluation_status
                && same(&list(&a.determining_policies), &list(&b.determining_policies))
                && same(&list(&a.diagnostics), &list(&b.diagnostics))
        }
        (_, Outcome::Abstains) | (Outcome::Undefined, Outcome::Undefined) => true,
        (Outcome::Error(_), _) => !other.allows(),
        (Outcome::Answer(_) | Outcome::Undefined | Outcome::Abstains, _) => false,
    }
}

fn list<T: serde::Serialize>(values: &[T]) -> Value {
    serde_json::to_value(values).expect("texts are JSON")
}

/// The same of regorus where it is wrong about what a policy says besides.
fn agree_on_allowing(ours: &Outcome, other: &Outcome) -> bool {
    matches!(other, Outcome::Abstains) || ours.allows() == other.allows()
}

/// Equal as JSON, but for two things that no decision hangs on: `1`, `1.0` and `1e0` are one number, and what became an
/// array from a set has OPA's order in OPA and regorus, and another one in Wasm.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            let mut left: Vec<&Value> = b.iter().collect();
            let in_both = a.iter().all(|a| {
                let place = left.iter().position(|b| same(a, b));
                place.map(|place| left.swap_remove(place)).is_some()
            });
            in_both && left.is_empty()
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

struct Policy {
    name: String,
    content: String,
}

/// The nine templates, and `tests/corpus`.
fn policies() -> Vec<Policy> {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut all: Vec<Policy> = std::fs::read_dir(corpus)
        .expect("the corpus")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            Policy {
                name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
                content: std::fs::read_to_string(&path).expect("a policy"),
            }
        })
        .collect();
    assert!(all.len() >= 30, "{} policies are no corpus", all.len());
    all.extend(templates().iter().map(|template| Policy {
        name: template.id.to_owned(),
        content: template.content.to_owned(),
    }));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// What was compared: a comparison of nothing but refusals, or with nobody, would prove little.
#[derive(Debug, Default)]
struct Tally {
    inputs: usize,
    allowed: usize,
    denied: usize,
    without_opinion: usize,
    failed: usize,
    seen_by_regorus: usize,
}

impl Tally {
    fn count(&mut self, ours: &Outcome, regorus: &Outcome) {
        self.inputs += 1;
        self.seen_by_regorus += usize::from(!matches!(regorus, Outcome::Abstains));
        let kind = match ours {
            Outcome::Answer(_) if ours.allows() => &mut self.allowed,
            Outcome::Answer(_) => &mut self.denied,
            Outcome::Undefined | Outcome::Abstains => &mut self.without_opinion,
            Outcome::Error(_) => &mut self.failed,
        };
        *kind += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_host_regorus_and_opa_agree_about_thousands_of_inputs() {
    let compared: Vec<(Policy, Compared)> = stream::iter((0_u8..).zip(policies()))
        .map(async |(number, policy)| {
            let inputs = inputs(number, INPUTS);
            let compared = compare(&policy, &inputs).await;
            (policy, Compared { inputs, ..compared })
        })
        .buffer_unordered(4)
        .collect()
        .await;
    let mut tally = Tally::default();
    let mut disagreements = Vec::new();
    for (policy, compared) in &compared {
        for (ours, regorus) in compared.ours.iter().zip(&compared.regorus) {
            tally.count(ours, regorus);
        }
        disagreements.extend(compared.disagreements(&policy.name));
    }
    println!("{} policies: {tally:?}", compared.len());
    assert!(disagreements.is_empty(), "\n{}", disagreements.join("\n"));
    assert!(tally.inputs >= 10_000, "{tally:?}");
    assert!(tally.seen_by_regorus * 10 >= tally.inputs * 7, "{tally:?}");
    for kind in [tally.allowed, tally.denied, tally.without_opinion, tally.failed] {
        assert!(kind >= 100, "each kind of outcome came up: {tally:?}");
    }
}

/// What each evaluator made of each input.
#[derive(Default)]
struct Compared {
    inputs: Vec<Value>,
    ours: Vec<Outcome>,
    regorus: Vec<Outcome>,
    opa: Vec<Outcome>,
}

impl Compared {
    /// One line for each evaluator that disagrees with us, with its first input.
    fn disagreements(&self, policy: &str) -> Vec<String> {
        let mut disagreements = Vec::new();
        let wrong = WRONG_IN_REGORUS.iter().any(|(name, _)| *name == policy);
        let with_regorus = if wrong { agree_on_allowing } else { agree };
        let others: [(_, _, fn(&Outcome, &Outcome) -> bool); 2] = [
            ("regorus", &self.regorus, with_regorus),
            ("opa", &self.opa, agree),
        ];
        for (who, theirs, agree) in others {
            let mut against =
                (0..self.inputs.len()).filter(|&number| !agree(&self.ours[number], &theirs[number]));
            if let Some(first) = against.next() {
                disagreements.push(format!(
                    "{policy} against {who}, {} times: ours {}\n  {who} {}\n  on {}",
                    1 + against.count(),
                    self.ours[first],
                    theirs[first],
                    self.inputs[first]
                ));
            }
        }
        disagreements
    }
}

async fn compare(policy: &Policy, inputs: &[Value]) -> Compared {
    let at = tempfile::tempdir().expect("a directory");
    for (number, input) in inputs.iter().enumerate() {
        std::fs::write(at.path().join(format!("{number}.json")), input.to_string()).expect("written");
    }
    let ours = by_wasm(policy, inputs).await;
    let opa = by_opa(policy, inputs.len(), at.path()).await;
    let mut regorus = by_regorus(policy, inputs);
    // OPA is the authority on its language. Where it agrees with us, an error of regorus (which makes one of many a type
    // mismatch that OPA calls undefined) is its own; an answer of regorus always counts.
    for (number, theirs) in regorus.iter_mut().enumerate() {
        if matches!(theirs, Outcome::Error(_)) && agree(&ours[number], &opa[number]) {
            *theirs = Outcome::Abstains;
        }
    }
    Compared {
        ours,
        regorus,
        opa,
        ..Compared::default()
    }
}

async fn by_wasm(policy: &Policy, inputs: &[Value]) -> Vec<Outcome> {
    let module = compile(&policy.content).await;
    let (engine, manifest) = serve(&[&module]).await;
    let mut outcomes = Vec::new();
    for input in inputs {
        outcomes.push(patient(&engine, &manifest, input).await);
    }
    outcomes
}

/// On a machine that is busy with other tests a deadline says nothing about the policy.
async fn patient(engine: &Engine, manifest: &caracal_domain::zone::Manifest, input: &Value) -> Outcome {
    for _ in 0..20 {
        match super::ask(engine, manifest, input).await {
            Ok(Some(answer)) => return Outcome::Answer(answer),
            Ok(None) => return Outcome::Undefined,
            Err(PolicyFault::Deadline) => {}
            Err(fault) => return Outcome::Error(fault.to_string()),
        }
    }
    Outcome::Error("never in time".to_owned())
}

fn by_regorus(policy: &Policy, inputs: &[Value]) -> Vec<Outcome> {
    let mut engine = regorus::Engine::new();
    engine.set_strict_builtin_errors(false);
    engine
        .add_policy(policy.name.clone(), policy.content.clone())
        .unwrap_or_else(|error| panic!("{}: {error}", policy.name));
    let ask = |input: &Value| {
        let mut engine = engine.clone();
        engine
            .set_input_json(&input.to_string())
            .map_err(|e| e.to_string())?;
        let result = engine
            .eval_rule("data.caracal.authz.result".to_owned())
            .map_err(|e| e.to_string())?;
        if result == regorus::Value::Undefined {
            return Ok(None);
        }
        let text = result.to_json_str().map_err(|e| e.to_string())?;
        serde_json::from_str(&text).map(Some).map_err(|e| e.to_string())
    };
    inputs
        .iter()
        .map(|input| match ask(input) {
            Ok(result) => Outcome::from_result(result),
            Err(why) if why.contains("could not find function") => Outcome::Abstains,
            Err(why) => Outcome::Error(why),
        })
        .collect()
}

/// One `opa exec` for all inputs.
async fn by_opa(policy: &Policy, count: usize, at: &Path) -> Vec<Outcome> {
    let bundle = tempfile::tempdir().expect("a directory");
    std::fs::write(bundle.path().join("policy.rego"), &policy.content).expect("written");
    let output = Command::new(&*OPA)
        .args(["exec", "--decision", "caracal/authz/result", "--bundle"])
        .arg(bundle.path())
        .args((0..count).map(|number| format!("{number}.json")))
        .current_dir(at)
        .output()
        .await
        .expect("opa");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}: {}", policy.name, String::from_utf8_lossy(&output.stderr)));
    let rows = report["result"].as_array().expect("a list of results");
    let outcome = |number: usize| {
        let file = format!("{number}.json");
        let row = rows
            .iter()
            .find(|row| row["path"] == file.as_str())
            .expect("its row");
        match row.get("error") {
            Some(error) if error["code"] == "opa_undefined_error" => Outcome::Undefined,
            Some(error) => Outcome::Error(error["code"].to_string()),
            None => Outcome::from_result(row.get("result").cloned()),
        }
    };
    (0..count).map(outcome).collect()
}
