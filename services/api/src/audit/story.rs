//! Events told in plain sentences.

use caracal_domain::id::PolicyVersionId;
use caracal_domain::{AuditDecision, Timestamp};
use caracal_storage::audit::{AuditRow, Decided};
use serde_json::Value;
use std::collections::HashMap;
use uuid::Uuid;

/// What things are called.
#[derive(Debug, Default)]
pub(super) struct Names {
    policies: HashMap<Uuid, String>,
    applications: HashMap<Uuid, String>,
}

impl Names {
    pub(super) fn of_policies(named: Vec<(PolicyVersionId, String, i32)>) -> Self {
        let policies = named
            .into_iter()
            .map(|(id, name, version)| (id.into(), format!("{name} v{version}")));
        Self {
            policies: policies.collect(),
            applications: HashMap::new(),
        }
    }

    pub(super) fn add_application(&mut self, id: Uuid, name: String) {
        self.applications.insert(id, name);
    }

    fn policy(&self, id: &Value) -> String {
        let id = id.as_str().unwrap_or_default();
        let named = Uuid::try_parse(id).ok().and_then(|id| self.policies.get(&id));
        named.map_or_else(|| id.to_owned(), Clone::clone)
    }

    fn application(&self, row: &AuditRow) -> String {
        match application(row) {
            Some(id) => match self.applications.get(&id) {
                Some(name) => format!("Application \"{name}\""),
                None => format!("Application {id}"),
            },
            None => "Somebody unknown".to_owned(),
        }
    }
}

/// The application an event is about.
pub(super) fn application(row: &AuditRow) -> Option<Uuid> {
    Uuid::try_parse(row.metadata_json.get("application_id")?.as_str()?).ok()
}

/// The policy versions that were asked.
pub(super) fn policy_versions(row: &AuditRow) -> Vec<Uuid> {
    let id = |policy: &Value| Uuid::try_parse(policy.get("policy_version_id")?.as_str()?).ok();
    policies(&row.metadata_json).iter().filter_map(id).collect()
}

/// What each policy said, in an event's metadata or in what it has of the delegator.
pub(super) fn policies(asked: &Value) -> &[Value] {
    let spoken = asked.get("policies").and_then(Value::as_array);
    spoken.map_or(&[], Vec::as_slice)
}

/// What was asked about the root of the delegation.
fn delegator(row: &AuditRow) -> &Value {
    row.metadata_json.get("delegator").unwrap_or(&Value::Null)
}

/// What happened, in one sentence.
pub(super) fn sentence(row: &AuditRow, names: &Names) -> String {
    let text = match row.event_type.as_str() {
        "token_exchange" => exchange(row, names),
        "gateway_request" => call(row, names),
        "gateway_response" => response(row),
        "replay_detected" => {
            "The mandate had been used already, so the gateway refused it as a replay.".to_owned()
        }
        "policy_shadow" => shadow(row),
        "session.created" => format!(
            "{} began a session for {}, valid until {}.",
            names.application(row),
            text(row, "subject_id"),
            text(row, "expires_at")
        ),
        other => match other.strip_prefix("admin.") {
            Some(what) => administered(row, what),
            None => format!(
                "{}: {}{}.",
                other.replace(['.', '_'], " "),
                word(row.decision),
                because(row)
            ),
        },
    };
    format!("{} {text}", at(row.occurred_at))
}

fn exchange(row: &AuditRow, names: &Names) -> String {
    let who = names.application(row);
    let Some(resource) = row.metadata_json.get("resource").and_then(Value::as_str) else {
        return format!("{who} asked the STS for a token and was refused{}.", because(row));
    };
    let scopes = list(row.metadata_json.get("requested_scopes"));
    let scopes = if scopes.is_empty() {
        "access".to_owned()
    } else {
        scopes
    };
    let said = |asked: &Value| {
        let each = policies(asked).iter().map(|policy| {
            let name = names.policy(&policy["policy_version_id"]);
            format!("policy \"{name}\" {}", opinion(policy))
        });
        each.collect::<Vec<_>>().join(", ")
    };
    let spoken = match (said(&row.metadata_json), said(delegator(row))) {
        (none, _) if none.is_empty() => "; policy was not asked".to_owned(),
        (caller, none) if none.is_empty() => format!("; {caller}"),
        (caller, root) => format!("; {caller}; of the delegation's root {root}"),
    };
    match row.decision {
        AuditDecision::Allow => format!("{who} was granted {scopes} on {resource}{spoken}."),
        AuditDecision::Deny | AuditDecision::Partial => {
            format!(
                "{who} was refused {scopes} on {resource}{}{spoken}.",
                because(row)
            )
        }
    }
}

fn opinion(policy: &Value) -> String {
    match (
        policy.get("decision").and_then(Value::as_str),
        policy.get("error").and_then(Value::as_str),
    ) {
        (_, Some(error)) => format!("failed ({error})"),
        (Some("allow"), None) => "allows".to_owned(),
        (Some("deny"), None) if has_opinion(policy) => "denies".to_owned(),
        (_, None) => "has no opinion".to_owned(),
    }
}

/// A deny that names nothing and explains nothing is no opinion (architecture, "Composition").
fn has_opinion(policy: &Value) -> bool {
    let named = |name: &str| {
        policy
            .get(name)
            .and_then(Value::as_array)
            .is_some_and(|items| !items.is_empty())
    };
    named("determining_policies") || named("diagnostics")
}

fn call(row: &AuditRow, names: &Names) -> String {
    let (method, path, resource) = (text(row, "method"), text(row, "path"), text(row, "resource"));
    let who = names.application(row);
    match row.decision {
        AuditDecision::Allow => {
            format!("{who} called {method} {path} of {resource}; the gateway admitted it.")
        }
        AuditDecision::Deny | AuditDecision::Partial => {
            format!(
                "{who} called {method} {path} of {resource}; the gateway refused it{}.",
                because(row)
            )
        }
    }
}

/// How an admitted call ended; what a gateway before this one wrote has no outcome but an answer or a cut.
fn response(row: &AuditRow) -> String {
    let number = |name: &str| {
        row.metadata_json
            .get(name)
            .filter(|value| !value.is_null())
            .map_or_else(|| "?".to_owned(), ToString::to_string)
    };
    let (status, after, sent) = (number("status"), number("duration_ms"), number("bytes_out"));
    let outcome = row.metadata_json.get("outcome").and_then(Value::as_str);
    let cut = row.metadata_json.get("cut") == Some(&Value::Bool(true));
    match outcome.unwrap_or(if cut { "cut" } else { "complete" }) {
        "complete" => format!("The upstream answered {status} after {after} ms with {sent} bytes."),
        "caller_gone" => format!("The caller went away after {after} ms, having been sent {sent} bytes."),
        "revoked" => format!("The exchange was cut after {after} ms: what it stood on was revoked."),
        "expired" => format!("The exchange was cut after {after} ms: what it stood on had expired."),
        "unconfirmed" => {
            format!("The exchange was cut after {after} ms: nobody could say that it might go on.")
        }
        "upstream_failed" => {
            format!("The upstream broke its answer off after {after} ms and {sent} bytes.")
        }
        "upstream_timeout" => {
            format!("The upstream did not answer in time: the caller was told {status} after {after} ms.")
        }
        "upstream_unreachable" => {
            format!("The upstream was not reached: the caller was told {status} after {after} ms.")
        }
        "upstream_credential_rejected" => {
            format!(
                "The upstream refused the provider's credential: the caller was told {status} after {after} ms."
            )
        }
        "payload_too_large" => {
            format!("The caller's body was too large: it was told {status} after {after} ms.")
        }
        _ if cut => format!("The exchange was cut after {after} ms."),
        other => {
            format!("The call came to nothing ({other}): the caller was told {status} after {after} ms.")
        }
    }
}

fn shadow(row: &AuditRow) -> String {
    let differs = row.metadata_json.get("differs") == Some(&Value::Bool(true));
    let agrees = if differs {
        "which differs"
    } else {
        "as the active one did"
    };
    format!(
        "The shadow policy set would have said {}, {agrees}.",
        word(row.decision)
    )
}

fn administered(row: &AuditRow, what: &str) -> String {
    let changed = row.metadata_json.get("changes").and_then(Value::as_object);
    let fields: Vec<&str> =
        changed.map_or_else(Vec::new, |fields| fields.keys().map(String::as_str).collect());
    let fields = if fields.is_empty() {
        String::new()
    } else {
        format!(", setting {}", fields.join(", "))
    };
    let tried = match row.decision {
        AuditDecision::Allow => "did",
        AuditDecision::Deny | AuditDecision::Partial => "was refused",
    };
    format!(
        "{} {tried} {what} on {}{fields}{}.",
        text(row, "actor"),
        text(row, "object_id"),
        because(row)
    )
}

/// What the rest of the events came to, where not all were `told`.
pub(super) fn rest(all: &[Decided], told: usize) -> Option<String> {
    let of = |decision: AuditDecision| {
        let such = all.iter().filter(move |decided| decided.decision == decision);
        such.map(|decided| decided.events).sum::<i64>()
    };
    let (allowed, denied) = (of(AuditDecision::Allow), of(AuditDecision::Deny));
    let all: i64 = all.iter().map(|decided| decided.events).sum();
    let left = all - i64::try_from(told).unwrap_or(i64::MAX);
    (left > 0).then(|| {
        format!("{left} events more are not told: of all {all}, {allowed} allow and {denied} deny; the list has them, by request_id.")
    })
}

/// What would have to change for the refused request to be allowed.
pub(super) fn needs(row: &AuditRow, reason: &str) -> Vec<String> {
    let resource = text(row, "resource");
    let scopes = list(row.metadata_json.get("requested_scopes"));
    let general = match reason {
        "no_active_policy_set" => "Activate a policy set version in this zone.".to_owned(),
        "policy_deny" => return policy_needs(&row.metadata_json, &resource, &scopes),
        "delegator_not_authorized" => {
            let root = "Whoever issued the delegation at its root must be allowed the same by itself.".to_owned();
            let lifted = policy_needs(delegator(row), &resource, &scopes);
            return std::iter::once(root).chain(lifted).collect();
        }
        "step_up_required" => format!("Satisfy the step-up challenge{} and repeat the request with challenge_id and challenge_response.", challenge(row)),
        "scope_exceeds_resource" => format!("Add the missing scopes to the resource {resource}, or ask only for scopes it has (asked: {scopes})."),
        "unknown_resource" => format!("Register the resource {resource} in this zone, or name one that exists."),
        "resource_not_granted" => format!("Ask the STS for a mandate whose audience is {resource}."),
        "session_ceiling" => "Begin a session that is not limited to less, or ask for no more than the session's own scopes and targets.".to_owned(),
        "insufficient_scope" => "Hold the scope of this operation: ask for it when exchanging the token.".to_owned(),
        "operation_not_allowed" => format!("Add the operation to the resource {resource}, or call one that it lists."),
        "connection_required" => "Have the user connect the provider (POST …/provider-connections/authorize).".to_owned(),
        "provider_not_ready" => "Complete the provider's configuration and secrets (POST …/providers/{id}/check tells what is missing).".to_owned(),
        "upstream_not_allowed" => "Point the resource's upstream_url at an address that the egress rules allow.".to_owned(),
        "rate_limited" | "client_throttled" => "Wait, or raise the zone's mint_rate_per_minute.".to_owned(),
        "session_revoked" | "token_revoked" => "Sign in again: the session has been revoked.".to_owned(),
        "subject_token_expired" | "credential_expired" => "Present a token that has not expired.".to_owned(),
        "replay_detected" => "Ask for a new mandate: each passes once.".to_owned(),
        "invalid_client" => "Present the application's current credential.".to_owned(),
        "delegation_expired" => "Delegate again: the edge has expired.".to_owned(),
        "policy_error" | "policy_deadline" | "policy_memory" | "policy_builtin_input" | "policy_result" => {
            "Repair the policy that failed: an error anywhere refuses.".to_owned()
        }
        "stale_state" | "no_record" | "store_unavailable" | "policy_busy" => "Nothing: repeat the request in a moment.".to_owned(),
        other => format!("Remove the cause named by the reason {other}."),
    };
    vec![general]
}

/// Which proof is asked for, where the event says so.
fn challenge(row: &AuditRow) -> String {
    let known = |name: &str| row.metadata_json.get(name).and_then(Value::as_str);
    match (known("challenge_id"), known("challenge_type")) {
        (Some(id), Some(kind)) => format!(" {id} ({kind})"),
        _ => String::new(),
    }
}

/// Each explicit deny must be lifted; and without one, some policy must allow.
fn policy_needs(asked: &Value, resource: &str, scopes: &str) -> Vec<String> {
    let denies = |policy: &&Value| opinion(policy) == "denies";
    let mut needs: Vec<String> = policies(asked)
        .iter()
        .filter(denies)
        .map(|policy| {
            let diagnostics = policy.get("diagnostics").and_then(Value::as_array);
            let explained: Vec<String> =
                diagnostics.map_or_else(Vec::new, |all| all.iter().map(spoken).collect());
            let explained = if explained.is_empty() {
                String::new()
            } else {
                format!(": {}", explained.join("; "))
            };
            let version = policy
                .get("policy_version_id")
                .and_then(Value::as_str)
                .unwrap_or("?");
            format!("Policy version {version} must no longer deny{explained}.")
        })
        .collect();
    if !policies(asked).iter().any(|policy| opinion(policy) == "allows") {
        needs.push(format!(
            "A policy of the active set must allow {scopes} on {resource}."
        ));
    }
    needs
}

fn spoken(diagnostic: &Value) -> String {
    diagnostic
        .as_str()
        .map_or_else(|| diagnostic.to_string(), str::to_owned)
}

fn because(row: &AuditRow) -> String {
    row.reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(" because of {reason}"))
}

const fn word(decision: AuditDecision) -> &'static str {
    match decision {
        AuditDecision::Allow => "allow",
        AuditDecision::Deny => "deny",
        AuditDecision::Partial => "partial",
    }
}

fn text(row: &AuditRow, name: &str) -> String {
    let found = row.metadata_json.get(name).and_then(Value::as_str);
    found.unwrap_or("something unnamed").to_owned()
}

fn list(value: Option<&Value>) -> String {
    match value {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" "),
        Some(Value::String(text)) => text.clone(),
        Some(_) | None => String::new(),
    }
}

fn at(time: Timestamp) -> String {
    time.format("%H:%M:%S%.3f").to_string()
}
