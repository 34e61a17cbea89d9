//! Reads what a policy answered, strictly: `[]` is no opinion, `[{"result": {…}}]` is an answer, all else is nonsense.

use caracal_domain::decision::{PolicyAnswer, PolicyFault};
use serde::Deserialize;
use serde_json::value::RawValue;

/// An answer, or `None` when `result` is undefined.
pub(super) type Answer = Option<PolicyAnswer>;

#[derive(Deserialize)]
struct Row {
    result: PolicyAnswer,
}

/// Reads OPA's result set.
pub(super) fn read(result: &RawValue, limit: usize) -> Result<Answer, PolicyFault> {
    if result.get().len() > limit {
        return Err(PolicyFault::Result);
    }
    let rows: Vec<Row> = serde_json::from_str(result.get()).map_err(|_| PolicyFault::Result)?;
    let mut rows = rows.into_iter();
    match (rows.next(), rows.next()) {
        (None, _) => Ok(None),
        (Some(row), None) => Ok(Some(row.result)),
        (Some(_), Some(_)) => Err(PolicyFault::Result),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use caracal_domain::Decision;

    fn reading(text: &str) -> Result<Answer, PolicyFault> {
        read(&RawValue::from_string(text.to_owned()).expect("JSON"), 200)
    }

    #[test]
    fn only_the_agreed_shape_is_an_answer() {
        assert_eq!(reading("[]"), Ok(None));
        let allow = reading(r#"[{"result": {"decision": "allow"}}]"#);
        assert!(
            matches!(allow, Ok(Some(a)) if a.decision == Decision::Allow && a.evaluation_status == "complete")
        );
        for nonsense in [
            "{}",
            "[{}]",
            r#"[{"result": true}]"#,
            r#"[{"result": {"decision": "maybe"}}]"#,
            r#"[{"result": {"decision": "allow", "diagnostics": "x"}}]"#,
            r#"[{"result": {"decision": "deny"}}, {"result": {"decision": "allow"}}]"#,
        ] {
            assert_eq!(reading(nonsense), Err(PolicyFault::Result), "{nonsense}");
        }
        let long = format!(
            r#"[{{"result": {{"decision": "allow", "diagnostics": ["{}"]}}}}]"#,
            "x".repeat(200)
        );
        assert_eq!(reading(&long), Err(PolicyFault::Result));
    }
}
