//! The policies we hand out to start from: nine, each usable as it is, each tested in OPA and again through the Wasm
//! host (`templates/<id>/policy_test.rego`, `templates/<id>/cases.json`).

/// A policy to start from (seed `004`, `GET /v1/policy-templates`).
#[derive(Debug, Clone, Copy)]
pub struct Template {
    /// Its id.
    pub id: &'static str,
    /// Its title.
    pub name: &'static str,
    /// What it does, in a sentence or two.
    pub description: &'static str,
    /// The Rego source.
    pub content: &'static str,
}

macro_rules! templates {
    ($($id:literal, $name:literal, $description:literal;)+) => {
        const TEMPLATES: &[Template] = &[$(Template {
            id: $id,
            name: $name,
            description: $description,
            content: include_str!(concat!("../templates/", $id, "/policy.rego")),
        },)+];
    };
}

templates! {
    "role-based", "Role-Based Access Control",
    "Allows what an application's roles permit. An application has a role by a trait such as `role:reader`; the table in the policy says which verbs a role may use, and the last part of a scope is its verb.";
    "attribute-based", "Attribute-Based Access Control",
    "Allows an application to use the resources of its own team: the trait `team:payments` matches `resource://payments` and what lies below it. Changing anything needs the trait `clearance:write`.";
    "delegation", "Delegated Authority",
    "Allows an agent what a live delegation edge hands to it: the edge names the agent's application and session, the resource, and every scope that is asked for.";
    "baseline-scopes", "Baseline: Scopes",
    "A guard. Denies scopes that the resource does not offer, more than 16 at once, and administrative scopes without the trait `scopes:administrative`.";
    "baseline-resource-constraints", "Baseline: Resource Constraints",
    "A guard. Denies resources named outside the schemes resource:, https: and urn:, resources marked internal without the trait `network:internal`, and administrative paths without the trait `paths:administrative`.";
    "baseline-delegation-constraints", "Baseline: Delegation Constraints",
    "A guard. Denies a delegation that is longer than three hops, that was handed to another agent or application, or that does not cover the resource and scopes asked for.";
    "baseline-session-state", "Baseline: Session State",
    "A guard. Denies sessions that are older than twelve hours, that claim to begin in the future, or that belong to someone else than the acting application says.";
    "baseline-step-up-triggers", "Baseline: Step-up Triggers",
    "A guard. Asks for a person's approval before money moves or data is destroyed, and for a second factor before administrative acts.";
    "baseline-rate-limits", "Baseline: Rate Limits",
    "A guard. Bounds how much one exchange may take: scopes per request, bulk scopes for self-registered applications, labels and hops of an agent. How often a zone mints is `mint_rate_per_minute`.";
}

/// Every template, in the order shown.
#[must_use]
pub const fn templates() -> &'static [Template] {
    TEMPLATES
}
