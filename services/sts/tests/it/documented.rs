//! `docs/sts.md` tells an application developer every reason there is.

use caracal_domain::{OAuthCode, Refusal};

/// Codes that only a gateway answers with.
const GATEWAY: [OAuthCode; 6] = [
    OAuthCode::InvalidToken,
    OAuthCode::CredentialExpired,
    OAuthCode::InsufficientScope,
    OAuthCode::PayloadTooLarge,
    OAuthCode::BadGateway,
    OAuthCode::GatewayTimeout,
];

/// Refusals of codes we share that only a gateway has.
const GATEWAYS_OWN: [Refusal; 10] = [
    Refusal::MalformedScope,
    Refusal::ClientIdHeader,
    Refusal::NoResourceNamed,
    Refusal::ResourceConflict,
    Refusal::UnsafePath,
    Refusal::ResourceNotGranted,
    Refusal::ResourceUnknownHere,
    Refusal::OperationNotAllowed,
    Refusal::ActionNotAllowed,
    Refusal::DecisionPointUnavailable,
];

#[test]
fn every_reason_is_documented_with_its_error() {
    let page = include_str!("../../../../docs/sts.md");
    let ours = Refusal::ALL
        .iter()
        .filter(|refusal| !GATEWAY.contains(&refusal.code()) && !GATEWAYS_OWN.contains(refusal));
    let missing: Vec<String> = ours
        .map(|refusal| (refusal.code().as_str(), refusal.reason(), refusal.description()))
        .filter(|(code, reason, _)| {
            !page.lines().any(|line| {
                line.starts_with(&format!("| `{code}` |")) && line.contains(&format!("| `{reason}` |"))
            })
        })
        .map(|(code, reason, description)| format!("| `{code}` | … | `{reason}` | {description} |"))
        .collect();
    assert!(missing.is_empty(), "add to docs/sts.md:\n{}", missing.join("\n"));
}
