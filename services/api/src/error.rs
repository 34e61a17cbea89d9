//! The one table from what went wrong to status, code and public text.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use caracal_web::{ApiError, Issue, Place};
use serde_json::json;

macro_rules! refusals {
    ($($name:ident => $status:ident, $code:literal, $what:literal;)+) => {
        /// A no that is the caller's to know.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Refusal {
            $(#[doc = $what] $name,)+
        }

        impl Refusal {
            /// Status and code.
            pub(crate) const fn parts(self) -> (StatusCode, &'static str) {
                match self { $(Self::$name => (StatusCode::$status, $code),)+ }
            }

            /// What it says to whoever does not know the code: `detail`, where nothing more is known.
            const fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)+ }
            }
        }
    };
}

refusals! {
    NotFound => NOT_FOUND, "not_found", "Nothing answers here.";
    InvalidAdminToken => UNAUTHORIZED, "invalid_admin_token", "No token, or not one that is live.";
    AdminTokenZoneMismatch => FORBIDDEN, "admin_token_zone_mismatch", "A zone's token where it is not its zone's.";
    AdminTokenReadOnly => FORBIDDEN, "admin_token_read_only", "A read-only token where something is written.";
    AdminTokenNotFound => NOT_FOUND, "admin_token_not_found", "No such admin token.";
    AdminTokenSeeded => CONFLICT, "admin_token_seeded", "The token of the configuration ends by changing that.";
    SystemZoneReadOnly => FORBIDDEN, "system_zone_read_only", "Only global tokens write to system zones.";
    SystemZoneProtected => CONFLICT, "system_zone_protected", "The system zone stays.";
    ReservedNamespace => BAD_REQUEST, "reserved_namespace", "`caracal.sys/` belongs to system zones.";
    VersionConflict => PRECONDITION_FAILED, "version_conflict", "`If-Match` names another version.";
    NoFields => BAD_REQUEST, "no_fields", "Nothing to change.";
    InvalidCursor => BAD_REQUEST, "invalid_cursor", "Not a cursor of this list.";
    InvalidIdempotencyKey => BAD_REQUEST, "invalid_idempotency_key", "Not 1 to 255 printable ASCII characters.";
    IdempotencyKeyConflict => CONFLICT, "idempotency_key_conflict", "The key was used with another body.";
    IdempotencyKeyInFlight => CONFLICT, "idempotency_key_in_flight", "The first request of the key is still running.";
    InvalidZone => BAD_REQUEST, "invalid_zone", "The slug is taken.";
    ZoneNotFound => NOT_FOUND, "zone_not_found", "No such zone.";
    DcrShutdownRequired => CONFLICT, "dcr_shutdown_required", "Live self-registered applications need a decision.";
    ZoneNotLocalBootstrap => CONFLICT, "zone_not_local_bootstrap", "`local` is somebody else's zone.";
    ApplicationNotFound => NOT_FOUND, "application_not_found", "No such application.";
    ApplicationAlreadyExists => CONFLICT, "application_already_exists", "The name is taken.";
    ApplicationHasNoSecret => CONFLICT, "application_has_no_secret", "Nothing to rotate.";
    AppReferencedByActivePolicy => CONFLICT, "app_referenced_by_active_policy", "The active policy names it.";
    DcrDisabled => FORBIDDEN, "dcr_disabled", "The zone takes no self-registered applications.";
    DcrRateLimitExceeded => TOO_MANY_REQUESTS, "dcr_rate_limit_exceeded", "Ten registrations a second.";
    DcrLimitExceeded => TOO_MANY_REQUESTS, "dcr_limit_exceeded", "A thousand live registrations.";
    ResourceNotFound => NOT_FOUND, "resource_not_found", "No such resource.";
    ResourceAlreadyExists => CONFLICT, "resource_already_exists", "The identifier is taken.";
    ProviderNotFound => NOT_FOUND, "provider_not_found", "No such provider.";
    ProviderAlreadyExists => CONFLICT, "provider_already_exists", "The identifier is taken.";
    PolicyNotFound => NOT_FOUND, "policy_not_found", "No such policy.";
    PolicyAlreadyExists => CONFLICT, "policy_already_exists", "The name is taken.";
    PolicyVersionNotFound => NOT_FOUND, "policy_version_not_found", "No such policy version in this zone.";
    PolicySetNotFound => NOT_FOUND, "policy_set_not_found", "No such policy set.";
    PolicySetAlreadyExists => CONFLICT, "policy_set_already_exists", "The name is taken.";
    VersionNotFound => NOT_FOUND, "version_not_found", "No such version of the set.";
    ShadowVersionNotFound => NOT_FOUND, "shadow_version_not_found", "No such version to observe.";
    ReferencedPolicyVersionMissing => CONFLICT, "referenced_policy_version_missing", "A policy was archived since.";
    SessionNotFound => NOT_FOUND, "session_not_found", "No such session.";
    GrantNotFound => NOT_FOUND, "grant_not_found", "No such grant, or none to revoke.";
    GrantAlreadyExists => CONFLICT, "grant_already_exists", "An active grant binds the same three.";
    GrantScopesExceedResource => FORBIDDEN, "grant_scopes_exceed_resource", "The resource has not all of these scopes.";
    SubjectIssuerNotFound => NOT_FOUND, "subject_issuer_not_found", "No such subject issuer.";
    SubjectIssuerAlreadyExists => CONFLICT, "subject_issuer_already_exists", "The prefix or the tokens are taken.";
    SubjectIssuerLimitExceeded => CONFLICT, "subject_issuer_limit_exceeded", "A zone has at most twenty.";
    ChallengeNotFoundOrExpired => NOT_FOUND, "challenge_not_found_or_expired", "No such challenge, or none that waits for a proof.";
    InvitationNotFound => NOT_FOUND, "invitation_not_found", "No such invitation that is open.";
    RotationInProgress => CONFLICT, "rotation_in_progress", "A rotation waits for its key to be known.";
    RequestNotFound => NOT_FOUND, "request_not_found", "No event of this request.";
    EventNotFound => NOT_FOUND, "event_not_found", "No such event in this ledger.";
    LedgerInconsistent => INTERNAL_SERVER_ERROR, "ledger_inconsistent", "The ledger does not follow from its last checkpoint.";
    ConnectionNotFound => NOT_FOUND, "connection_not_found", "No such connection.";
    SubjectBlocked => CONFLICT, "subject_blocked", "The subject is blocked for now.";
    InvalidOauthCallback => BAD_REQUEST, "invalid_oauth_callback", "Not what a provider sends back.";
    OauthStateInvalid => BAD_REQUEST, "oauth_state_invalid", "Unknown, used or expired.";
    ProviderOauthDenied => BAD_REQUEST, "provider_oauth_denied", "The user or the provider said no.";
    ProviderTokenExchangeFailed => BAD_GATEWAY, "provider_token_exchange_failed", "The provider gave no token.";
    ProviderDiscoveryFailed => BAD_GATEWAY, "provider_discovery_failed", "The issuer's document could not be had.";
    TailLimitExceeded => TOO_MANY_REQUESTS, "tail_limit_exceeded", "As many follow a ledger as may.";
}

/// Why a use-case has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The caller's to know.
    #[error("refused")]
    Refused(Refusal),
    /// The caller's to know, with the live count that asks for a decision.
    #[error("refused")]
    DcrShutdownRequired(i64),
    /// A field of the body breaks a rule that its shape does not show.
    #[error("refused")]
    InvalidField(Issue),
    /// The policy is no policy.
    #[error("refused")]
    InvalidRego(Vec<caracal_policy::Issue>),
    /// A policy of a manifest could not serve.
    #[error("refused")]
    InvalidPolicyContract(Vec<Issue>),
    /// OPA is missing or hung; nothing else depends on it.
    #[error("the policy compiler is unavailable: {0}")]
    CompilerUnavailable(String),
    /// The database could not be asked, or a constraint refused.
    #[error("using the database")]
    Storage(#[from] caracal_storage::Error),
    /// A key or secret could not be made, sealed or opened.
    #[error("using the zone's keys")]
    Keys(#[from] caracal_jose::Error),
    /// As many do so already as may.
    #[error("busy: {0}")]
    Busy(&'static str),
    /// A value of ours that cannot be what it is.
    #[error("{0}")]
    Fault(&'static str),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Failure {
    /// A field that breaks a rule.
    pub(crate) fn field(path: &str, message: impl Into<String>) -> Self {
        Self::InvalidField(Issue::at(path, message))
    }
}

impl From<caracal_policy::CompileError> for Failure {
    fn from(error: caracal_policy::CompileError) -> Self {
        match error {
            caracal_policy::CompileError::Invalid(issues) => Self::InvalidRego(issues),
            caracal_policy::CompileError::Unavailable(why) => Self::CompilerUnavailable(why),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = refusal.parts();
        let error = Self::new(status, code);
        if status == StatusCode::NOT_FOUND {
            // The code says it all; nor is a malformed id told from one that is nobody's.
            return error;
        }
        let error = error.with_detail(refusal.what());
        if refusal == Refusal::InvalidAdminToken {
            return error.with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // Of the ten in any one second, the first will have been longer ago than that.
        if matches!(
            refusal,
            Refusal::DcrRateLimitExceeded | Refusal::IdempotencyKeyInFlight
        ) {
            return error.with_header(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        error
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::DcrShutdownRequired(live) => {
                Self::from(Refusal::DcrShutdownRequired).with_detail(json!({"live_applications": live}))
            }
            Failure::InvalidField(issue) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_body").with_issue(issue)
            }
            Failure::InvalidRego(issues) => {
                let refused = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_rego");
                issues
                    .iter()
                    .fold(refused, |error, issue| error.with_issue(rego_issue(issue)))
            }
            Failure::InvalidPolicyContract(issues) => {
                let refused = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_policy_contract");
                issues.into_iter().fold(refused, Self::with_issue)
            }
            Failure::CompilerUnavailable(why) => {
                tracing::error!(why, "the policy compiler is unavailable");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "policy_compiler_unavailable")
            }
            Failure::Storage(error) if error.is_unavailable() => {
                let cause: &(dyn std::error::Error + 'static) = &error;
                tracing::warn!(error = cause, "the database is unavailable");
                Self::unavailable("The database cannot be reached.")
            }
            Failure::Storage(ref error) => match refused_by(error) {
                Some(refusal) => refusal.into(),
                None => Self::fault(&failure),
            },
            Failure::Busy(what) => Self::unavailable(what),
            Failure::Keys(_) | Failure::Fault(_) => Self::fault(&failure),
        }
    }
}

/// What the caller did when this constraint refuses, or this row is gone.
fn refused_by(error: &caracal_storage::Error) -> Option<Refusal> {
    Some(match error.conflict().or_else(|| missing(error))? {
        // The system zone is there, so its slug is taken; what would end it is refused before it comes here.
        "zones_slug_live" | "zones_system_zone_protected" => Refusal::InvalidZone,
        "applications_name_live" => Refusal::ApplicationAlreadyExists,
        "resources_identifier_live" => Refusal::ResourceAlreadyExists,
        "providers_identifier_live" => Refusal::ProviderAlreadyExists,
        "policies_name_live" => Refusal::PolicyAlreadyExists,
        "policy_sets_name_live" => Refusal::PolicySetAlreadyExists,
        "grants_one_active" => Refusal::GrantAlreadyExists,
        "subject_issuers_prefix_live" | "subject_issuers_token_live" => Refusal::SubjectIssuerAlreadyExists,
        "policy_set_manifest_policy_version" => Refusal::PolicyVersionNotFound,
        "zone_activations_active" => Refusal::VersionNotFound,
        "zone_activations_shadow" => Refusal::ShadowVersionNotFound,
        "zone" => Refusal::ZoneNotFound,
        "application" => Refusal::ApplicationNotFound,
        "resource" => Refusal::ResourceNotFound,
        "provider" | "resources_provider" => Refusal::ProviderNotFound,
        "policy" => Refusal::PolicyNotFound,
        "subject issuer" => Refusal::SubjectIssuerNotFound,
        "policy set" => Refusal::PolicySetNotFound,
        _ => return None,
    })
}

fn missing(error: &caracal_storage::Error) -> Option<&str> {
    match error {
        caracal_storage::Error::NotFound(what) => Some(what),
        caracal_storage::Error::Unavailable(_)
        | caracal_storage::Error::Conflict { .. }
        | caracal_storage::Error::Corrupt(_)
        | caracal_storage::Error::Settings(_)
        | caracal_storage::Error::Other(_) => None,
    }
}

/// A mistake in a policy's source, with its place there.
pub(crate) fn rego_issue(issue: &caracal_policy::Issue) -> Issue {
    let place = Place {
        line: issue.line,
        column: issue.column,
    };
    Issue {
        path: vec!["content".into()],
        message: issue.message.clone(),
        place: Some(place),
    }
}
