//! What belongs together, in the order in which one meets it. A handler's tag is its module; what it is called and where it
//! stands is said here, once.

use serde_json::{Map, Value, json};

/// A heading of the document.
struct Tag {
    name: &'static str,
    about: &'static str,
    modules: &'static [&'static str],
}

const fn tag(name: &'static str, about: &'static str, modules: &'static [&'static str]) -> Tag {
    Tag { name, about, modules }
}

const TAGS: [Tag; 19] = [
    tag(
        "Zones",
        "The tenancy boundary: everything else is in one.",
        &["zone"],
    ),
    tag(
        "Signing keys",
        "What a zone signs its tokens with.",
        &["signing_key"],
    ),
    tag("Applications", "Who asks for tokens.", &["application"]),
    tag("Resources", "What tokens are for.", &["resource"]),
    tag(
        "Providers",
        "Whose credentials the gateway gives a resource's upstream.",
        &["provider"],
    ),
    tag(
        "Provider connections",
        "What users consented to at providers.",
        &["connection"],
    ),
    tag("Policies", "Who may do what, in Rego.", &["policy", "template"]),
    tag(
        "Policy sets",
        "Which policies decide in a zone, in immutable versions, of which one is active.",
        &["policy_set"],
    ),
    tag("Grants", "What users let applications do.", &["grant"]),
    tag(
        "Subject issuers",
        "Whose tokens make sessions of users.",
        &["subject_issuer"],
    ),
    tag(
        "Sessions",
        "Who acts at present, and how to end that.",
        &["session", "subject"],
    ),
    tag(
        "Step-up challenges",
        "Proofs that policies asked for.",
        &["step_up"],
    ),
    tag(
        "Audit",
        "The ledger: every decision, and every change with who made it.",
        &["audit"],
    ),
    tag(
        "Ledger proofs",
        "The same for those who trust nobody: signed checkpoints, what was hashed, and proofs (docs/ledger.md).",
        &["ledger"],
    ),
    tag(
        "Admin tokens",
        "Who may use this API, everywhere or in one zone.",
        &["admin_token"],
    ),
    tag(
        "Invitations",
        "How somebody becomes the administrator of a zone.",
        &["invitation"],
    ),
    tag(
        "Bootstrap",
        "Something to begin with, on a developer's machine.",
        &["bootstrap"],
    ),
    tag("Documentation", "This description.", &["docs"]),
    tag("Probes", "What the service says of itself.", &[]),
];

/// The list of them, for the document.
pub(super) fn list() -> Value {
    let shown = TAGS
        .iter()
        .map(|tag| json!({"name": tag.name, "description": tag.about}));
    shown.collect()
}

/// Puts an operation, which its handler's module tags, under its heading; answers the module.
pub(super) fn retag(operation: &mut Map<String, Value>) -> String {
    let tags = operation.get("tags");
    let module = tags
        .and_then(|tags| tags.get(0)?.as_str())
        .unwrap_or_default()
        .to_owned();
    if let Some(tag) = TAGS.iter().find(|tag| tag.modules.contains(&module.as_str())) {
        operation.insert("tags".to_owned(), json!([tag.name]));
    }
    module
}
