//! Every way the STS and the gateway say no, in one closed table: safe to show, stable, and what the ledger stores.

use std::fmt;

/// The `error` member of an OAuth answer (RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 9470 and contract §2 and §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OAuthCode {
    /// The request itself is wrong.
    InvalidRequest,
    /// Not a grant we serve.
    UnsupportedGrantType,
    /// The client did not prove itself.
    InvalidClient,
    /// The subject, actor or challenge presented is no good.
    InvalidGrant,
    /// No requested resource exists.
    InvalidTarget,
    /// A scope no requested resource has.
    InvalidScope,
    /// Understood, and refused.
    AccessDenied,
    /// A proof is needed first.
    InteractionRequired,
    /// Too many.
    SlowDown,
    /// We cannot decide, or cannot record, now.
    TemporarilyUnavailable,
    /// The gateway's bearer is no good (RFC 6750).
    InvalidToken,
    /// The bearer has expired, or is about to.
    CredentialExpired,
    /// The bearer lacks the scope of the call (RFC 6750).
    InsufficientScope,
    /// The body is too large.
    PayloadTooLarge,
    /// The upstream could not be reached, or misbehaved.
    BadGateway,
    /// The upstream did not answer in time.
    GatewayTimeout,
}

impl OAuthCode {
    /// The code as sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidScope => "invalid_scope",
            Self::AccessDenied => "access_denied",
            Self::InteractionRequired => "interaction_required",
            Self::SlowDown => "slow_down",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::InvalidToken => "invalid_token",
            Self::CredentialExpired => "credential_expired",
            Self::InsufficientScope => "insufficient_scope",
            Self::PayloadTooLarge => "payload_too_large",
            Self::BadGateway => "bad_gateway",
            Self::GatewayTimeout => "gateway_timeout",
        }
    }
}

macro_rules! refusals {
    ($($name:ident => $code:ident, $reason:literal, $description:literal;)+) => {
        /// Why a request is refused. `code` is the OAuth error, `reason` the precise slug the ledger keeps.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Refusal {
            $(#[doc = $description] $name,)+
        }

        impl Refusal {
            /// Every refusal there is, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The OAuth `error`.
            #[must_use]
            pub const fn code(self) -> OAuthCode {
                match self { $(Self::$name => OAuthCode::$code,)+ }
            }

            /// The precise slug.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)+ }
            }

            /// A sentence for the caller.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $(Self::$name => $description,)+ }
            }
        }
    };
}

refusals! {
    MalformedForm => InvalidRequest, "malformed_form", "The form is malformed.";
    RepeatedParameter => InvalidRequest, "repeated_parameter", "A parameter that may appear once appears twice.";
    QueryNotAllowed => InvalidRequest, "query_not_allowed", "The token endpoint takes no query parameters.";
    MissingClient => InvalidRequest, "missing_client", "An application id is required.";
    TwoClientMethods => InvalidRequest, "two_client_methods", "Use one way of client authentication.";
    MissingResource => InvalidRequest, "missing_resource", "A resource is required to exchange a session token.";
    TooManyResources => InvalidRequest, "too_many_resources", "At most 16 resources may be named.";
    InvalidTtl => InvalidRequest, "invalid_ttl", "The lifetime asked for is not a positive integer of seconds.";
    UnsupportedTokenType => InvalidRequest, "unsupported_token_type", "This token type is not supported.";
    MalformedId => InvalidRequest, "malformed_id", "An id in the request is malformed.";
    EpochAhead => InvalidRequest, "epoch_ahead", "Caracal-Min-Epoch is beyond the zone's epoch.";
    MalformedEpoch => InvalidRequest, "malformed_epoch", "Caracal-Min-Epoch is not a number.";
    ChallengeIncomplete => InvalidRequest, "challenge_incomplete", "A challenge and its response belong together.";
    AgentSessionMissing => InvalidRequest, "agent_session_missing", "A delegation needs the agent session that redeems it.";
    NotSupported => InvalidRequest, "not_supported", "This parameter is not supported.";
    StrayParameter => InvalidRequest, "stray_parameter", "A parameter is given without the one it belongs to.";
    UnsupportedAssertionType => InvalidRequest, "unsupported_client_assertion_type", "This client assertion type is not supported.";
    ActorWithoutSubject => InvalidRequest, "actor_without_subject", "An actor token needs a subject token.";
    ActorIsSubject => InvalidRequest, "actor_is_subject", "The actor and the subject are the same.";
    ActorChainTooLong => InvalidRequest, "actor_chain_too_long", "Too many actors act for the subject.";
    CallMissing => InvalidRequest, "missing_call", "A gateway's exchange needs the method and the path of the call.";
    TokenTooLarge => InvalidRequest, "token_too_large", "The token would be larger than 8 KiB; name fewer resources.";
    UnsupportedGrant => UnsupportedGrantType, "unsupported_grant_type", "This grant type is not supported.";
    InvalidClient => InvalidClient, "invalid_client", "The client could not be authenticated.";
    ClientAssertionRefused => InvalidClient, "client_assertion_refused", "The client assertion's claims are not acceptable.";
    ClientAssertionExpired => InvalidClient, "client_assertion_expired", "The client assertion has expired.";
    ClientAssertionReplayed => InvalidClient, "client_assertion_replayed", "The client assertion has been used already.";
    SubjectTokenInvalid => InvalidGrant, "subject_token_invalid", "The subject token is not valid.";
    SubjectTokenExpired => InvalidGrant, "subject_token_expired", "The subject token has expired.";
    SubjectTokenWrongZone => InvalidGrant, "subject_token_wrong_zone", "The subject token belongs to another zone.";
    SubjectTokenWrongUse => InvalidGrant, "subject_token_wrong_use", "Only a session token can be exchanged.";
    SubjectTokenWrongClient => InvalidGrant, "subject_token_wrong_client", "The subject token was issued to another application.";
    SubjectTokenWrongAudience => InvalidGrant, "subject_token_wrong_audience", "The subject token is not for the audience registered here.";
    SubjectIssuerUnknown => InvalidGrant, "subject_issuer_unknown", "The subject token's issuer is not registered in this zone.";
    SubjectNotAllowed => InvalidGrant, "subject_not_allowed", "The subject token's subject cannot be a user here.";
    SubjectRevoked => InvalidGrant, "subject_revoked", "The subject has been cut off, or may not sign in at present.";
    ApplicationRevoked => InvalidGrant, "application_revoked", "The sessions of the subject token's application have been cut off.";
    SigningKeyRevoked => InvalidGrant, "signing_key_revoked", "The key that signed the subject token has been revoked.";
    TokenRevoked => InvalidGrant, "token_revoked", "The subject token has been revoked.";
    AgentSessionRevoked => InvalidGrant, "agent_session_revoked", "The agent session that the subject token is bound to has ended.";
    ActorTokenInvalid => InvalidGrant, "actor_token_invalid", "The actor token is not valid.";
    ActorTokenExpired => InvalidGrant, "actor_token_expired", "The actor token has expired.";
    ActorTokenWrongZone => InvalidGrant, "actor_token_wrong_zone", "The actor token belongs to another zone.";
    ActorTokenWrongUse => InvalidGrant, "actor_token_wrong_use", "Only an application's or agent's session token can act.";
    ActorRevoked => InvalidGrant, "actor_revoked", "The actor's session has been revoked.";
    ActorNotActive => InvalidGrant, "actor_agent_not_active", "The actor's agent session is suspended or has ended.";
    SessionRevoked => InvalidGrant, "session_revoked", "The session has been revoked.";
    SessionMismatch => InvalidGrant, "session_mismatch", "The session named is not that of the subject token.";
    ChallengeInvalid => InvalidGrant, "challenge_invalid", "There is no such challenge, or the response is not its secret.";
    ChallengeMismatch => InvalidGrant, "challenge_mismatch", "The challenge was made for another request.";
    ChallengeUnsatisfied => InvalidGrant, "challenge_unsatisfied", "The challenge has not been met yet.";
    ChallengeExpired => InvalidGrant, "challenge_expired", "The challenge has expired.";
    ChallengeUsed => InvalidGrant, "challenge_used", "The challenge has been used already.";
    UnknownResource => InvalidTarget, "unknown_resource", "No requested resource exists for this application.";
    MalformedScope => InvalidScope, "malformed_scope", "A scope is malformed.";
    ScopeExceedsResource => InvalidScope, "scope_exceeds_resource", "No requested resource has all of these scopes.";
    PlatformScopeOnMandate => InvalidScope, "platform_scope_on_mandate", "agent:lifecycle is for session tokens only.";
    NothingGranted => AccessDenied, "nothing_granted", "Each scope exists, but no requested resource has all of them.";
    SessionCeiling => AccessDenied, "session_ceiling", "This is beyond what the session was limited to.";
    SubjectBlocked => AccessDenied, "subject_blocked", "The subject may not sign in for now.";
    AgentNotUsable => AccessDenied, "agent_session_not_usable", "The agent session is not one the caller may act as.";
    AgentNotLive => AccessDenied, "agent_session_not_active", "An agent session is suspended or has ended.";
    DelegationNotFound => AccessDenied, "delegation_not_found", "The agent session holds no such delegation.";
    DelegationRevoked => AccessDenied, "delegation_revoked", "The delegation, or one above it, has been revoked.";
    DelegationExpired => AccessDenied, "delegation_expired", "The delegation, or one above it, has expired.";
    DelegationBroken => AccessDenied, "delegation_broken", "The delegation's path does not hold together.";
    DelegationTooLong => AccessDenied, "delegation_max_hops_exceeded", "The delegation was handed on too often.";
    DelegationExceedsParent => AccessDenied, "delegation_exceeds_parent_authority", "The delegation is more than the one above it.";
    DelegationScopes => AccessDenied, "delegation_scopes_exceeded", "The delegation does not carry these scopes.";
    DelegationResource => AccessDenied, "delegation_resource_not_covered", "The delegation is not for this resource.";
    DelegationBudget => AccessDenied, "delegation_budget_exceeded", "The delegation does not carry so many scopes at once.";
    DelegatorNotAuthorized => AccessDenied, "delegator_not_authorized", "Policy does not allow this to the root of the delegation.";
    NoActivePolicySet => AccessDenied, "no_active_policy_set", "The zone has no active policy set.";
    PolicyDeny => AccessDenied, "policy_deny", "Policy denies this request.";
    ProviderRefused => AccessDenied, "provider_refused", "The provider gives no credential for this.";
    ProviderNotAllowed => AccessDenied, "provider_not_allowed", "The provider's address is not allowed.";
    StepUpRequired => InteractionRequired, "step_up_required", "Policy asks for a further proof.";
    RateLimited => SlowDown, "rate_limited", "The rate of mandates for this resource is exceeded.";
    StepUpCooldown => SlowDown, "step_up_cooldown", "Too many wrong responses to this challenge; try again later.";
    ClientThrottled => SlowDown, "client_throttled", "Too many failed attempts; try again later.";
    StaleState => TemporarilyUnavailable, "stale_state", "Current state could not be confirmed.";
    NoRecord => TemporarilyUnavailable, "no_record", "The decision could not be recorded.";
    StoreUnavailable => TemporarilyUnavailable, "store_unavailable", "The database cannot be reached.";
    KeysUnreachable => TemporarilyUnavailable, "jwks_unavailable", "The keys that prove this token cannot be fetched.";
    PolicyError => TemporarilyUnavailable, "policy_error", "A policy failed.";
    PolicyDeadline => TemporarilyUnavailable, "policy_deadline", "A policy ran past its deadline.";
    PolicyMemory => TemporarilyUnavailable, "policy_memory", "A policy asked for too much memory.";
    PolicyBuiltinInput => TemporarilyUnavailable, "policy_builtin_input", "A policy handed too much to a builtin.";
    PolicyResult => TemporarilyUnavailable, "policy_result", "A policy answered nonsense.";
    PolicyBusy => TemporarilyUnavailable, "policy_busy", "Too many decisions at once in this zone.";
    MissingBearer => InvalidToken, "missing_bearer", "A bearer token is required.";
    BearerInvalid => InvalidToken, "invalid_token", "The bearer token is not valid.";
    BearerRevoked => InvalidToken, "token_revoked", "The bearer token has been revoked.";
    MandateReplayed => InvalidToken, "replay_detected", "This mandate has been used already.";
    BearerExpired => CredentialExpired, "credential_expired", "The bearer token has expired.";
    ClientIdHeader => InvalidRequest, "client_id_header", "X-Caracal-Client-ID is not accepted here.";
    NoResourceNamed => InvalidRequest, "no_resource", "X-Caracal-Resource is required.";
    ResourceConflict => InvalidRequest, "resource_conflict", "The path and the header name different resources.";
    UnsafePath => InvalidRequest, "unsafe_path", "The path has a dot segment.";
    MalformedRequest => InvalidRequest, "malformed_request", "The request is malformed.";
    ResourceNotGranted => AccessDenied, "resource_not_granted", "The token is not for this resource.";
    ResourceUnknownHere => AccessDenied, "unknown_resource", "The resource is not known in the token's zone.";
    UpstreamNotAllowed => AccessDenied, "upstream_not_allowed", "The upstream address is not allowed.";
    OperationNotAllowed => AccessDenied, "operation_not_allowed", "This call is not among the resource's operations.";
    ActionNotAllowed => AccessDenied, "action_not_allowed", "The mandate does not cover this method.";
    ConnectionRequired => AccessDenied, "connection_required", "The user has not connected this provider, or must do so again.";
    ScopeMissing => InsufficientScope, "insufficient_scope", "The token lacks the scope of this call.";
    BodyTooLarge => PayloadTooLarge, "payload_too_large", "The body is too large.";
    UpstreamUnreachable => BadGateway, "upstream_unreachable", "The upstream could not be reached.";
    UpstreamCredentialRejected => BadGateway, "upstream_credential_rejected", "The upstream refused the gateway's credential.";
    UpstreamTimeout => GatewayTimeout, "upstream_timeout", "The upstream did not answer in time.";
    ProviderNotReady => TemporarilyUnavailable, "provider_not_ready", "The credential of this provider cannot be used.";
    ProviderUnavailable => TemporarilyUnavailable, "provider_unavailable", "The provider of the credential cannot be reached, or is in trouble.";
    ProviderAnswerUnusable => TemporarilyUnavailable, "provider_answer_unusable", "The provider's answer is not a usable token.";
    DecisionPointUnavailable => TemporarilyUnavailable, "decision_point_unavailable", "The security token service cannot be reached.";
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Refusal {}

impl From<crate::decision::PolicyFault> for Refusal {
    fn from(fault: crate::decision::PolicyFault) -> Self {
        use crate::decision::PolicyFault;
        match fault {
            PolicyFault::Error => Self::PolicyError,
            PolicyFault::Deadline => Self::PolicyDeadline,
            PolicyFault::Memory => Self::PolicyMemory,
            PolicyFault::BuiltinInput => Self::PolicyBuiltinInput,
            PolicyFault::Result => Self::PolicyResult,
            PolicyFault::Busy => Self::PolicyBusy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_is_a_slug_and_unique_within_its_code() {
        let mut seen = HashSet::new();
        for refusal in Refusal::ALL {
            assert!(
                refusal
                    .reason()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{refusal}"
            );
            assert!(seen.insert((refusal.code(), refusal.reason())), "{refusal}");
        }
    }
}
