//! Which applications a policy may name, read off OPA's syntax tree: the texts that stand against the principal's name or
//! id, and those of which that cannot be ruled out. A text too many keeps an application from becoming public; one too
//! few lets a policy be deceived.

use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What policies say of themselves; taken for a name only where it is compared with one.
const VERDICTS: [&str; 4] = ["allow", "deny", "complete", "partial"];

/// The texts of this policy that may be an application's name or id.
pub(super) fn names(ast: &Value) -> Vec<String> {
    let mut reading = Reading::default();
    for import in list(ast.get("imports")) {
        reading.term(import.get("path").unwrap_or(&Value::Null));
    }
    for rule in list(ast.get("rules")) {
        let is_result = rule.pointer("/head/name").and_then(Value::as_str) == Some("result");
        reading.rule(rule, is_result);
    }
    let Reading { looks, mut found } = reading;
    // Ids stand in delegations and grants as well, and are nothing else.
    found.retain(|text| looks || Uuid::try_parse(text).is_ok());
    found.into_iter().collect()
}

#[derive(Default)]
struct Reading {
    /// Whether it looks at who asks at all.
    looks: bool,
    found: BTreeSet<String>,
}

/// What a term is, as far as a comparison with it is concerned.
#[derive(PartialEq, Eq)]
enum Subject {
    /// The principal's name or id, or something it may be in.
    Principal,
    /// Another part of the input.
    Other,
    /// Anything.
    Unknown,
}

impl Reading {
    fn rule(&mut self, rule: &Value, is_result: bool) {
        if let Some(head) = rule.get("head") {
            let path = list(head.get("ref"));
            if !is_result {
                path.iter().skip(1).for_each(|part| self.term(part));
            }
            for part in ["key", "args"] {
                self.anything(head.get(part).unwrap_or(&Value::Null));
            }
            let value = head.get("value").unwrap_or(&Value::Null);
            if !(is_result && kind(value) == "object") {
                self.term(value);
            }
        }
        self.anything(rule.get("body").unwrap_or(&Value::Null));
        if let Some(otherwise) = rule.get("else") {
            self.rule(otherwise, is_result);
        }
    }

    /// Terms somewhere below.
    fn anything(&mut self, tree: &Value) {
        match tree {
            Value::Array(items) => items.iter().for_each(|item| self.anything(item)),
            Value::Object(members) if members.get("type").is_some_and(Value::is_string) => self.term(tree),
            Value::Object(members) => {
                for (name, member) in members {
                    match (name.as_str(), member) {
                        ("terms", Value::Array(call)) => self.call(call),
                        _ => self.anything(member),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn term(&mut self, term: &Value) {
        let value = term.get("value").unwrap_or(&Value::Null);
        match kind(term) {
            "string" => self.text(value, false),
            "ref" => {
                self.looks |= subject(term) == Subject::Principal;
                // What it is a part of has a name of its own.
                let parts = list(Some(value)).iter().filter(|part| kind(part) != "string");
                parts.for_each(|part| self.term(part));
            }
            "call" => self.call(list(Some(value))),
            // A result's, wherever it is put together.
            "object" if has_decision(value) => {}
            _ => self.anything(value),
        }
    }

    /// An operator or function and what it is called with.
    fn call(&mut self, call: &[Value]) {
        let arguments = call.get(1..).unwrap_or_default();
        let of = |wanted: &Subject| arguments.iter().any(|argument| subject(argument) == *wanted);
        let (of_principal, of_other) = (of(&Subject::Principal), of(&Subject::Other));
        for argument in arguments {
            if of_principal && kind(argument) == "string" {
                self.text(argument.get("value").unwrap_or(&Value::Null), true);
            } else if of_principal || !of_other || !is_literal(argument) {
                self.term(argument);
            }
        }
    }

    fn text(&mut self, text: &Value, compared: bool) {
        let text = text.as_str().filter(|text| compared || !VERDICTS.contains(text));
        self.found.extend(text.map(str::to_owned));
    }
}

fn subject(term: &Value) -> Subject {
    let path = if kind(term) == "ref" {
        list(term.get("value"))
    } else {
        std::slice::from_ref(term)
    };
    let part = |place: usize| path.get(place).map(fixed);
    if path.first().is_none_or(|first| kind(first) != "var") || part(0) != Some(Some("input")) {
        return Subject::Unknown;
    }
    match (part(1), part(2)) {
        (Some(Some("principal")), Some(Some("name" | "id") | None) | None) | (Some(None) | None, _) => {
            Subject::Principal
        }
        (Some(Some(_)), _) => Subject::Other,
    }
}

/// The name of a part of a path, if it is fixed.
fn fixed(part: &Value) -> Option<&str> {
    let is_fixed = kind(part) == "string" || part.get("value").and_then(Value::as_str) == Some("input");
    part.get("value").filter(|_| is_fixed)?.as_str()
}

/// Whether there is nothing but texts, numbers and collections of them in it.
fn is_literal(term: &Value) -> bool {
    match kind(term) {
        "string" | "number" | "boolean" | "null" => true,
        "array" | "set" => list(term.get("value")).iter().all(is_literal),
        _ => false,
    }
}

fn has_decision(members: &Value) -> bool {
    let key = |member: &Value| member.pointer("/0/value").and_then(Value::as_str) == Some("decision");
    list(Some(members)).iter().any(key)
}

fn kind(term: &Value) -> &str {
    term.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
