use super::{OPA, ask, compile, serve};
use caracal_domain::decision::{ChallengeType, Decision};
use caracal_domain::{PolicyVerdict, combine};
use caracal_policy::templates;
use serde_json::Value;
use std::path::PathBuf;
use tokio::process::Command;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("templates")
}

fn read(path: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(path)).expect("a file");
    serde_json::from_str(&text).expect("JSON")
}

/// What Rego's `object.union` does: members of `over` win, objects merge.
fn merge(base: &Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            let mut merged = base.clone();
            for (key, value) in over {
                let inner = base.get(key).map_or_else(|| value.clone(), |b| merge(b, value));
                merged.insert(key.clone(), inner);
            }
            Value::Object(merged)
        }
        _ => over.clone(),
    }
}

#[tokio::test]
async fn every_template_passes_its_cases_in_opa() {
    for template in templates() {
        let folder = folder();
        let own =
            ["policy.rego", "policy_test.rego", "cases.json"].map(|file| folder.join(template.id).join(file));
        let output = Command::new(&*OPA)
            .arg("test")
            .arg(folder.join("base.json"))
            .args(own)
            .output()
            .await
            .expect("opa");
        assert!(
            output.status.success(),
            "{}: {}",
            template.id,
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

#[tokio::test]
async fn every_template_passes_its_cases_in_the_wasm_host() {
    let base = read("base.json")["base"].clone();
    for template in templates() {
        let module = compile(template.content).await;
        let (engine, manifest) = serve(&[&module]).await;
        let cases = read(&format!("{}/cases.json", template.id));
        for case in cases["cases"].as_array().expect("a list") {
            let input = case
                .get("with")
                .map_or_else(|| base.clone(), |with| merge(&base, with));
            let answer = ask(&engine, &manifest, &input).await;
            let told = format!("{}: {}: {answer:?}", template.id, case["note"]);
            let answer = answer.unwrap_or_else(|fault| panic!("{fault}: {told}"));
            match case["expect"].as_str().expect("an expectation") {
                "none" => assert_eq!(answer, None, "{told}"),
                "allow" => assert_eq!(answer.map(|a| a.decision), Some(Decision::Allow), "{told}"),
                "deny" => {
                    let answer = answer.unwrap_or_else(|| panic!("no opinion: {told}"));
                    let codes: Vec<_> = answer.diagnostics.iter().map(|d| &d["code"]).collect();
                    assert!(
                        case.get("code").is_none_or(|code| codes.contains(&code)),
                        "{told}"
                    );
                    let version = manifest.policies[0].policy_version_id;
                    let ruling = combine(&[PolicyVerdict {
                        policy_version_id: version,
                        answer: Ok(Some(answer)),
                    }]);
                    let wanted: Option<ChallengeType> = case
                        .get("step_up")
                        .map(|s| serde_json::from_value(s.clone()).expect("a proof"));
                    assert_eq!(
                        ruling.map(|r| (r.decision, r.step_up)),
                        Ok((Decision::Deny, wanted)),
                        "{told}"
                    );
                }
                other => panic!("{other} is no expectation"),
            }
        }
    }
}

#[test]
fn the_nine_templates_of_the_seed_are_there_and_guards_never_allow() {
    let ids: Vec<_> = templates().iter().map(|t| t.id).collect();
    assert_eq!(
        ids,
        [
            "role-based",
            "attribute-based",
            "delegation",
            "baseline-scopes",
            "baseline-resource-constraints",
            "baseline-delegation-constraints",
            "baseline-session-state",
            "baseline-step-up-triggers",
            "baseline-rate-limits"
        ]
    );
    for template in templates() {
        let can_allow = template.content.contains("\"decision\": \"allow\"");
        assert_eq!(
            can_allow,
            !template.id.starts_with("baseline-"),
            "{}",
            template.id
        );
        assert!(template.content.len() < 4096 && !template.description.is_empty());
    }
}
