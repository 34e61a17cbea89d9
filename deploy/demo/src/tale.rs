//! How the story is told: numbered steps in plain sentences, the actual requests and answers, a check for each claim.

use anyhow::{Result, bail};
use serde_json::Value;
use std::fmt::Display;
use std::time::Instant;

/// The story so far.
#[derive(Debug)]
pub(crate) struct Tale {
    step: u32,
    checks: u32,
    started: Instant,
}

impl Tale {
    /// Begins with a title.
    pub(crate) fn begin(title: &str) -> Self {
        println!("{title}");
        Self {
            step: 0,
            checks: 0,
            started: Instant::now(),
        }
    }

    /// A new step.
    pub(crate) fn step(&mut self, sentence: &str) {
        self.step += 1;
        println!("\n{:>2}. {sentence}", self.step);
    }

    /// A claim; the story ends here when it is not true.
    pub(crate) fn check(&mut self, claim: impl Display, holds: bool) -> Result<()> {
        if !holds {
            println!("    ✗ {claim}");
            bail!("step {}: {claim}", self.step);
        }
        self.checks += 1;
        println!("    ✓ {claim}");
        Ok(())
    }

    /// The end.
    pub(crate) fn end(&self) {
        let seconds = self.started.elapsed().as_secs_f64();
        println!(
            "\nAll {} checks of {} steps hold. It took {seconds:.1} s.",
            self.checks, self.step
        );
    }
}

/// A sentence within a step.
pub(crate) fn say(sentence: &str) {
    println!("    {sentence}");
}

/// A request and its answer.
pub(crate) fn exchange(request: &str, status: u16, body: &Value) {
    println!("    → {request}");
    println!("    ← {status} {}", shortened(body));
}

/// A body on one line, with tokens and secrets cut short: a story is read by anyone.
fn shortened(body: &Value) -> String {
    const WIDTH: usize = 230;
    let text = cut(body).to_string();
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn cut(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().map(|(name, inner)| {
                let secret = name.contains("secret") && inner.is_string() || name.ends_with("_token");
                (
                    name.clone(),
                    if secret {
                        Value::from(start_of(inner.as_str().unwrap_or_default()))
                    } else {
                        cut(inner)
                    },
                )
            });
            Value::Object(members.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(cut).collect()),
        Value::String(text) if text.starts_with("eyJ") => Value::from(start_of(text)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// The first letters of a token.
pub(crate) fn start_of(token: &str) -> String {
    format!("{}…", token.chars().take(9).collect::<String>())
}
