//! What the contract asks of a policy beyond being valid Rego, read off OPA's syntax tree (contract §1, "Policies").

use super::Issue;
use serde_json::Value;

/// OPA's parser takes time quadratic in the depth of brackets, and each takes three levels of its tree, of which 128 are
/// read; no policy a person wrote comes near.
const MAX_DEPTH: usize = 40;

/// What stands at a place in a source, as far as brackets are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Code,
    /// `#` to the end of the line.
    Comment,
    /// `"…"`, which ends with its line at the latest.
    Text,
    /// The character after a backslash there.
    Escaped,
    /// `` `…` ``, over any number of lines.
    Raw,
}

impl Within {
    const fn after(self, character: char) -> Self {
        match (self, character) {
            (Self::Code, '#') => Self::Comment,
            (Self::Code, '"') | (Self::Escaped, _) => Self::Text,
            (Self::Code, '`') => Self::Raw,
            (Self::Text, '\\') => Self::Escaped,
            (Self::Text, '"') | (Self::Raw, '`') => Self::Code,
            (unchanged, _) => unchanged,
        }
    }

    const fn at_line_end(self) -> Self {
        match self {
            Self::Raw => Self::Raw,
            Self::Code | Self::Comment | Self::Text | Self::Escaped => Self::Code,
        }
    }
}

/// Where the source nests deeper than OPA should be asked to look. Brackets in texts and comments nest nothing; but a
/// template (`$"…{code}…"`) holds code, so where there may be one every bracket counts.
pub(super) fn too_deep(content: &str) -> Option<Issue> {
    let has_template = content.contains("$\"") || content.contains("$`");
    let (mut depth, mut within) = (0_usize, Within::Code);
    for (line, text) in (1..).zip(content.lines()) {
        for (column, character) in (1..).zip(text.chars()) {
            if has_template || within == Within::Code {
                match character {
                    '(' | '[' | '{' => depth += 1,
                    ')' | ']' | '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            within = within.after(character);
            if depth > MAX_DEPTH {
                return Some(Issue::new(
                    line,
                    column,
                    format!("brackets nest deeper than {MAX_DEPTH}"),
                ));
            }
        }
        within = within.at_line_end();
    }
    None
}

/// Every way in which the policy breaks the contract.
pub(super) fn issues(ast: &Value, content: &str) -> Vec<Issue> {
    let mut issues = Vec::new();
    if package(ast) != ["data", "caracal", "authz"] {
        issues.push(Issue::new(
            line_of(content, "package"),
            1,
            "a policy declares `package caracal.authz`",
        ));
    }
    if !defines_result(ast) {
        issues.push(Issue::new(1, 1, "a policy defines the rule `result`"));
    }
    let mut formats = Vec::new();
    collect_formats(ast, &mut formats);
    let refused = |format| Some((format, unsupported_format(format)?));
    if let Some((format, reason)) = formats.into_iter().find_map(refused) {
        let (line, column) = place_of(content, format);
        issues.push(Issue::new(line, column, reason));
    }
    issues
}

fn package(ast: &Value) -> Vec<&str> {
    let path = ast.pointer("/package/path").and_then(Value::as_array);
    path.into_iter()
        .flatten()
        .filter_map(|term| term.get("value")?.as_str())
        .collect()
}

fn defines_result(ast: &Value) -> bool {
    let rules = ast.get("rules").and_then(Value::as_array);
    rules.into_iter().flatten().any(|rule| {
        let named = rule
            .pointer("/head/ref/0/value")
            .or_else(|| rule.pointer("/head/name"));
        let is_function = rule.pointer("/head/args").is_some();
        named.and_then(Value::as_str) == Some("result") && !is_function
    })
}

/// The first argument of every call of `sprintf`, anywhere in the tree.
fn collect_formats<'a>(tree: &'a Value, into: &mut Vec<Option<&'a Value>>) {
    match tree {
        Value::Array(items) => {
            let callee = items
                .first()
                .and_then(|f| f.pointer("/value/0/value"))
                .and_then(Value::as_str);
            let is_ref = items.first().and_then(|f| f.get("type")).and_then(Value::as_str) == Some("ref");
            if is_ref && callee == Some("sprintf") {
                into.push(items.get(1));
            }
            for item in items {
                collect_formats(item, into);
            }
        }
        Value::Object(members) => {
            for member in members.values() {
                collect_formats(member, into);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// How many verbs a format may have, and how many digits a width or precision: each costs the host time in which nothing
/// can interrupt it.
const MOST_VERBS: usize = 64;
const MOST_DIGITS: usize = 2;

/// Why the Wasm host cannot format with this: it knows `%s %d %i %u %x %X %o %f %e %g %c` and aborts on the rest, and a
/// width chosen by the policy would allocate outside its memory limit.
fn unsupported_format(format: Option<&Value>) -> Option<&'static str> {
    let constant = format.filter(|term| term.get("type").and_then(Value::as_str) == Some("string"));
    let Some(text) = constant.and_then(|term| term.get("value")?.as_str()) else {
        return Some("sprintf needs a constant format");
    };
    let mut rest = text.chars();
    let mut verbs = 0;
    while rest.by_ref().any(|c| c == '%') {
        verbs += 1;
        let (mut digits, mut most_digits) = (0, 0);
        let verb = rest.by_ref().find(|c| {
            digits = if c.is_ascii_digit() { digits + 1 } else { 0 };
            most_digits = most_digits.max(digits);
            !(c.is_ascii_digit() || matches!(c, '-' | '+' | ' ' | '#' | '.'))
        });
        let known = verb.is_some_and(|verb| "sdiuxXofFeEgGc%".contains(verb));
        if !known || most_digits > MOST_DIGITS || verbs > MOST_VERBS {
            return Some(
                "sprintf formats only %s (text) and %d %x %o %f %e %g (numbers), so no %v; at most 64 of them and 2 digits wide",
            );
        }
    }
    None
}

/// Where a format is written; of one that is no constant only that there is a `sprintf`.
fn place_of(content: &str, format: Option<&Value>) -> (u32, u32) {
    let text = format.and_then(|term| term.get("value")?.as_str());
    let place = text.and_then(|text| {
        let spelt = [format!("`{text}`"), Value::from(text).to_string()];
        content.lines().zip(1_u32..).find_map(|(line, row)| {
            let at = spelt.iter().find_map(|spelt| line.find(spelt.as_str()))?;
            Some((row, u32::try_from(line[..at].chars().count() + 1).ok()?))
        })
    });
    place.unwrap_or_else(|| (line_of(content, "sprintf"), 1))
}

fn line_of(content: &str, word: &str) -> u32 {
    let line = content
        .lines()
        .position(|line| line.contains(word) && !line.trim_start().starts_with('#'));
    line.and_then(|line| u32::try_from(line + 1).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn module(package: &[&str], rules: &Value) -> Value {
        let path: Vec<Value> = package
            .iter()
            .map(|p| json!({"type": "string", "value": p}))
            .collect();
        json!({"package": {"path": path}, "rules": rules})
    }

    fn result_rule() -> Value {
        json!([{"head": {"name": "result", "ref": [{"type": "var", "value": "result"}]}}])
    }

    #[test]
    fn only_brackets_of_code_nest() {
        let deep = "[".repeat(300);
        assert!(too_deep(&format!("x := {deep}")).is_some());
        for harmless in [
            format!("# {deep}\nx := 1"),
            format!("x := \"{deep}\""),
            format!("x := \"\\\"{deep}\""),
            format!("x := `a\n\"{deep}\n`"),
        ] {
            assert_eq!(too_deep(&harmless), None, "{harmless}");
        }
        for code in [
            format!("x := \"a\" {deep}"),
            format!("# a\n{deep}"),
            format!("x := \"\\\\\" {deep}"),
            format!("x := `a\n` {deep}"),
            format!("x := $\"# {{{deep}\""),
        ] {
            assert!(too_deep(&code).is_some(), "{code}");
        }
    }

    #[test]
    fn package_and_rule_are_required() {
        assert_eq!(
            issues(&module(&["data", "caracal", "authz"], &result_rule()), ""),
            []
        );
        assert_eq!(
            issues(
                &module(&["data", "caracal", "authz", "x"], &json!([])),
                "# x\n\npackage a"
            )
            .len(),
            2
        );
        let function =
            json!([{"head": {"name": "result", "args": [1], "ref": [{"type": "var", "value": "result"}]}}]);
        assert_eq!(
            issues(&module(&["data", "caracal", "authz"], &function), "").len(),
            1
        );
    }

    #[test]
    fn only_harmless_formats_pass() {
        let text = |t: &str| json!({"type": "string", "value": t});
        for good in ["%d of %s", "100%%", "%04d", "no verb", "%.2f", "%10.12f"] {
            assert_eq!(unsupported_format(Some(&text(good))), None, "{good}");
        }
        let many = "%d".repeat(65);
        for bad in [
            "%v", "%999999d", "%*d", "%", "%q", "%50000s", "%100d", "%.100f", &many,
        ] {
            assert!(unsupported_format(Some(&text(bad))).is_some(), "{bad}");
        }
        assert!(unsupported_format(Some(&json!({"type": "ref", "value": []}))).is_some());
        assert!(unsupported_format(None).is_some());
    }
}
