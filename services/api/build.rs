//! Tells the `OpenAPI` generator how the words of other crates look on the wire, so that those crates need not hear of
//! `OpenAPI`. `…Word` is spelt out in `src/openapi/words.rs`, and imported where such a word is shown.

use utoipa_config::Config;

/// Everything that is an id (`domain::id`).
const IDS: [&str; 22] = [
    "ZoneId",
    "ApplicationId",
    "ResourceId",
    "ProviderId",
    "PolicyId",
    "PolicyVersionId",
    "PolicySetId",
    "PolicySetVersionId",
    "SessionId",
    "AgentSessionId",
    "DelegationEdgeId",
    "GrantId",
    "ChallengeId",
    "AdminTokenId",
    "EventId",
    "OutboxId",
    "SigningKeyId",
    "TokenId",
    "InstanceId",
    "InvitationId",
    "SubjectIssuerId",
    "ConnectionId",
];

const WORDS: [(&str, &str); 13] = [
    ("Timestamp", "DateTime"),
    ("Epoch", "i64"),
    ("Scope", "ScopeWord"),
    ("ScopeSet", "Vec<ScopeWord>"),
    ("ResourceIdentifier", "ResourceIdentifierWord"),
    ("AuditDecision", "AuditDecisionWord"),
    ("AuthMode", "AuthModeWord"),
    ("CredentialType", "CredentialTypeWord"),
    ("KeyStatus", "KeyStatusWord"),
    ("Operation", "OperationWord"),
    ("ProviderKind", "ProviderKindWord"),
    ("RegistrationMethod", "RegistrationMethodWord"),
    ("SubjectType", "SubjectTypeWord"),
];

fn main() {
    let ids = IDS.iter().map(|id| (*id, "Uuid"));
    let mut config = Config::new();
    for (word, shown) in ids.chain(WORDS) {
        config = config.alias_for(word, shown);
    }
    config.write_to_file();
    println!("cargo:rerun-if-changed=build.rs");
}
