//! What was done, as the ledger tells it and as a repeated request is answered.

use crate::routes::is_deed;
use crate::text::is_reserved;
use actix_web::http::StatusCode;
use caracal_domain::event::REDACTED;
use caracal_domain::id::ZoneId;
use caracal_jose::sha256_hex;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fmt::Display;

/// What was done, for the ledger. Made of views, which hold no secret.
#[derive(Debug)]
pub(crate) struct Deed {
    pub(super) zone: ZoneId,
    pub(super) what: &'static str,
    object: String,
    before: Value,
    after: Value,
    /// Which secrets changed: whether there was one, and whether there is one.
    secrets: Vec<(String, bool, bool)>,
    about: Map<String, Value>,
    answer: Option<(StatusCode, Value)>,
    pub(super) version: Option<i64>,
}

impl Deed {
    /// `what` is `<noun>.<verb>`, as the table of routes has it, so that a refusal of the same is found with it.
    pub(crate) fn new(zone: ZoneId, what: &'static str, object: impl Display) -> Self {
        debug_assert!(is_deed(what), "no route is called {what}");
        Self {
            zone,
            what,
            object: object.to_string(),
            before: Value::Null,
            after: Value::Null,
            secrets: Vec::new(),
            about: Map::new(),
            answer: None,
            version: None,
        }
    }

    /// What the object looked like before.
    pub(crate) fn from<V: Serialize>(mut self, view: &V) -> Self {
        self.before = serde_json::to_value(view).unwrap_or_default();
        self
    }

    /// What it looks like now.
    pub(crate) fn to<V: Serialize>(mut self, view: &V) -> Self {
        self.after = serde_json::to_value(view).unwrap_or_default();
        self
    }

    /// A secret, which no view shows, was put in place, replaced or taken away.
    pub(crate) fn secret(mut self, name: impl Into<String>, was: bool, is: bool) -> Self {
        self.secrets.push((name.into(), was, is));
        self
    }

    /// What else it is about, for those who look for it in the ledger.
    pub(crate) fn about(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.about.insert(name.to_owned(), value.into());
        self
    }

    /// What a repeated request is answered, where that is not the object as it now looks (`201` for `….create`, else
    /// `200`). Never with a secret.
    pub(crate) fn answered<V: Serialize>(mut self, status: StatusCode, view: &V) -> Self {
        self.answer = Some((status, serde_json::to_value(view).unwrap_or_default()));
        self
    }

    /// The version of the object that is answered with, where the answer has an `ETag`.
    pub(crate) const fn version(mut self, version: i64) -> Self {
        self.version = Some(version);
        self
    }

    /// Whether nothing that it is about looks otherwise than before, secrets included.
    pub(crate) fn changes_nothing(&self) -> bool {
        self.secrets.is_empty() && difference(&self.before, &self.after).is_empty()
    }

    fn changes(&self) -> Value {
        let mut changes = difference(&self.before, &self.after);
        let shown = |there: bool| there.then_some(REDACTED);
        for (name, was, is) in self.secrets.iter().filter(|(_, was, is)| *was || *is) {
            changes.insert(name.clone(), json!({"from": shown(*was), "to": shown(*is)}));
        }
        changes.into()
    }

    /// What the record says of it: who did it, to what, what changed, and what the ledger's filters find it by.
    pub(super) fn metadata(&self, actor: String) -> Value {
        let mut metadata = self.subjects();
        metadata.insert("actor".to_owned(), actor.into());
        metadata.insert("object_id".to_owned(), self.object.as_str().into());
        metadata.insert("changes".to_owned(), self.changes());
        metadata.into()
    }

    /// Everything but the changes: by these members the ledger's filters find it.
    fn subjects(&self) -> Map<String, Value> {
        let noun = self.what.split('.').next().unwrap_or_default();
        let mut subjects = subjects_of(noun, &self.object);
        let member = |view: &Value, name: &str| view.get(name).filter(|value| value.is_string()).cloned();
        let last = |name: &str| member(&self.after, name).or_else(|| member(&self.before, name));
        for name in ["application_id", "session_id", "agent_session_id"] {
            subjects.extend(last(name).map(|value| (name.to_owned(), value)));
        }
        if noun == "resource" {
            let (was, is) = (member(&self.before, "identifier"), last("identifier"));
            if was.is_some() && was != is {
                subjects.insert("resources".to_owned(), json!([was, is]));
            }
            subjects.extend(is.map(|is| ("resource".to_owned(), is)));
        }
        subjects.extend(self.about.clone());
        subjects
    }

    /// Whether it leaves a name that belongs to system zones.
    pub(super) fn takes_reserved(&self) -> bool {
        let named = |name: &str| self.after.get(name).and_then(Value::as_str);
        let traits = self.after.get("traits").and_then(Value::as_array);
        let traits = traits.into_iter().flatten().filter_map(Value::as_str);
        let names = ["name", "identifier", "subject_prefix"]
            .into_iter()
            .filter_map(named);
        names.chain(traits).any(is_reserved)
    }

    /// What a repeated request is answered.
    pub(super) fn answer(&self) -> (StatusCode, Value) {
        let usual = || {
            let new = self.what.ends_with(".create");
            let status = if new { StatusCode::CREATED } else { StatusCode::OK };
            (status, self.after.clone())
        };
        self.answer.clone().unwrap_or_else(usual)
    }
}

/// What the ledger's filters know an object of this noun by.
pub(crate) fn subjects_of(noun: &str, object: &str) -> Map<String, Value> {
    let name = match noun {
        "application" => "application_id",
        "session" => "session_id",
        _ => return Map::new(),
    };
    Map::from_iter([(name.to_owned(), object.into())])
}

/// So many bytes of JSON of one value stand in a record; of a larger one its size and its hash. An event of all a body may
/// hold, twice, would be more than NATS carries.
const SHOWN: usize = 16 * 1024;

/// A value as a record shows it.
fn in_record(value: Value) -> Value {
    let text = value.to_string();
    if text.len() <= SHOWN {
        return value;
    }
    json!({"bytes": text.len(), "sha256": sha256_hex(text.as_bytes())})
}

/// `{field: {from, to}}` for every field that differs; times of the row itself say nothing.
fn difference(before: &Value, after: &Value) -> Map<String, Value> {
    let none = Map::new();
    let (old, new) = (
        before.as_object().unwrap_or(&none),
        after.as_object().unwrap_or(&none),
    );
    let mut changes = Map::new();
    for field in old.keys().chain(new.keys()) {
        // A field that is not there says no more than one that is null.
        let value = |of: &Map<String, Value>| of.get(field).cloned().unwrap_or_default();
        let (from, to) = (value(old), value(new));
        if from != to && !matches!(field.as_str(), "created_at" | "updated_at") {
            changes.insert(
                field.clone(),
                json!({"from": in_record(from), "to": in_record(to)}),
            );
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_value_is_known_by_its_hash() {
        let large = "x".repeat(SHOWN);
        let changes = difference(&json!({"name": "a"}), &json!({"name": large}));
        let expected = json!({"bytes": SHOWN + 2, "sha256": sha256_hex(format!("\"{large}\"").as_bytes())});
        assert_eq!(changes["name"], json!({"from": "a", "to": expected}));
        let most = "x".repeat(SHOWN - 2);
        let changes = difference(&Value::Null, &json!({"name": most}));
        assert_eq!(changes["name"]["to"], json!(most));
    }

    #[test]
    fn a_difference_names_only_what_changed() {
        let before = json!({"name": "a", "prefix": false, "updated_at": 1});
        let after = json!({"name": "b", "prefix": false, "updated_at": 2, "scopes": ["x"]});
        let changes = json!({"name": {"from": "a", "to": "b"}, "scopes": {"from": null, "to": ["x"]}});
        assert_eq!(Value::from(difference(&before, &after)), changes);
        let made = difference(&Value::Null, &json!({"name": "a", "description": null}));
        assert_eq!(
            Value::from(made),
            json!({"name": {"from": null, "to": "a"}}),
            "nothing became nothing"
        );
        assert!(difference(&Value::Null, &Value::Null).is_empty());
    }
}
