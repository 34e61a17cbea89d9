//! Reads what a policy answered, strictly: `[]` is no opinion, `[{"result": {…}}]` is an answer, all else is nonsense. What
//! serde derives for a struct also takes an array of its fields: `["allow"]` must not become an answer.

use caracal_domain::decision::{PolicyAnswer, PolicyFault};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;
use std::marker::PhantomData;

/// An answer, or `None` when `result` is undefined.
pub(super) type Answer = Option<PolicyAnswer>;

#[derive(Deserialize)]
struct Row {
    result: Object<PolicyAnswer>,
}

/// A `T` that was written as a JSON object.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }
        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// Reads OPA's result set.
pub(super) fn read(result: &RawValue, limit: usize) -> Result<Answer, PolicyFault> {
    if result.get().len() > limit {
        return Err(PolicyFault::Result);
    }
    let rows: Vec<Object<Row>> = serde_json::from_str(result.get()).map_err(|_| PolicyFault::Result)?;
    let mut rows = rows.into_iter();
    match (rows.next(), rows.next()) {
        (None, _) => Ok(None),
        (Some(Object(row)), None) => Ok(Some(row.result.0)),
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
            r#"[{"result": {"decision": {"allow": null}}}]"#,
            r#"[{"result": {"decision": ["allow"]}}]"#,
            r#"[{"result": ["allow"]}]"#,
            r#"[{"result": ["allow", "complete", ["x"], []]}]"#,
            r#"[[{"decision": "allow"}]]"#,
            r#"[[["allow"]]]"#,
            r#"[{"result": {"decision": "allow", "decision": "deny"}}]"#,
            r#"[{"result": null}]"#,
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
