//! The one table from what went wrong to status, code and public text (contract §5).

use crate::sts_client::{StsError, StsRefusal};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use caracal_domain::{AnchorKind, OAuthCode, Refusal, RequestId, Scope};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Why a call does not pass.
#[derive(Debug, Clone)]
pub enum Refused {
    /// A rule of the gateway.
    Rule(Refusal),
    /// The bearer, or what it hangs on, has been revoked.
    Revoked(AnchorKind),
    /// The operation asks for a scope that the mandate lacks.
    MissingScope(Scope),
    /// The STS said no.
    ByDecision(Arc<StsRefusal>),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Rule(refusal)
    }
}

impl From<StsError> for Refused {
    fn from(error: StsError) -> Self {
        match error {
            StsError::Refused(refusal) => Self::ByDecision(refusal),
            StsError::Unavailable => Self::Rule(Refusal::DecisionPointUnavailable),
        }
    }
}

impl Refused {
    /// The slug that the ledger keeps.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Rule(refusal) => refusal.reason(),
            Self::Revoked(anchor) => anchor.reason(),
            Self::MissingScope(_) => Refusal::ScopeMissing.reason(),
            Self::ByDecision(refusal) if refusal.text("reason").is_empty() => refusal.text("error"),
            Self::ByDecision(refusal) => refusal.text("reason"),
        }
    }

    /// The `error` member.
    #[must_use]
    pub fn code(&self) -> OAuthCode {
        match self {
            Self::Rule(refusal) => refusal.code(),
            Self::Revoked(_) => OAuthCode::InvalidToken,
            Self::MissingScope(_) => OAuthCode::InsufficientScope,
            Self::ByDecision(refusal) => of_the_sts(refusal.text("error")),
        }
    }

    /// The status answered.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        status_of(self.code())
    }

    /// The answer to the caller. `metadata` is where RFC 9728 says more about the resource.
    #[must_use]
    pub fn answer(&self, request_id: &RequestId, metadata: &str) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status());
        answer.insert_header((CACHE_CONTROL, "no-store"));
        if let Some(challenge) = self.challenge(metadata) {
            answer.insert_header((WWW_AUTHENTICATE, challenge));
        }
        if let Some(wait) = self.retry_after() {
            answer.insert_header((RETRY_AFTER, wait));
        }
        let mut body = self.step_up();
        body.insert("error".to_owned(), json!(self.code().as_str()));
        body.insert("error_description".to_owned(), json!(self.description()));
        body.insert("request_id".to_owned(), json!(request_id));
        body.insert("reason".to_owned(), json!(self.reason()));
        answer.json(body)
    }

    fn description(&self) -> &str {
        match self {
            Self::Rule(refusal) => refusal.description(),
            Self::Revoked(_) => Refusal::BearerRevoked.description(),
            Self::MissingScope(_) => Refusal::ScopeMissing.description(),
            Self::ByDecision(refusal) => refusal.text("error_description"),
        }
    }

    /// RFC 6750 §3: without a bearer no error code, with one the code, and always where to learn more (RFC 9728 §5.1).
    fn challenge(&self, metadata: &str) -> Option<String> {
        let about = format!("resource_metadata=\"{metadata}\"");
        match (self, self.code()) {
            (Self::Rule(Refusal::MissingBearer), _) => Some(format!("Bearer {about}")),
            (Self::ByDecision(refusal), OAuthCode::InteractionRequired) => {
                let relayed = refusal
                    .www_authenticate
                    .as_ref()
                    .and_then(|value| value.to_str().ok());
                relayed.map(|challenge| format!("{challenge}, {about}"))
            }
            (Self::MissingScope(scope), _) => Some(format!(
                "Bearer error=\"insufficient_scope\", scope=\"{scope}\", {about}"
            )),
            (_, OAuthCode::InvalidToken | OAuthCode::CredentialExpired) => {
                let description = self.description().replace(['"', '\\'], "'");
                Some(format!(
                    "Bearer error=\"invalid_token\", error_description=\"{description}\", {about}"
                ))
            }
            (_, OAuthCode::InsufficientScope) => {
                Some(format!("Bearer error=\"insufficient_scope\", {about}"))
            }
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<&str> {
        match self {
            Self::ByDecision(refusal) => refusal.retry_after.as_ref().and_then(|value| value.to_str().ok()),
            Self::Rule(_) | Self::Revoked(_) | Self::MissingScope(_) => None,
        }
    }

    /// What a caller needs to give a further proof.
    fn step_up(&self) -> Map<String, Value> {
        match self {
            Self::ByDecision(refusal) => {
                let challenge = refusal
                    .body
                    .iter()
                    .filter(|(name, _)| name.starts_with("challenge_"));
                challenge
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect()
            }
            Self::Rule(_) | Self::Revoked(_) | Self::MissingScope(_) => Map::new(),
        }
    }
}

/// What an error of the STS means to a caller of the gateway: its subject token is our bearer, its client is us.
fn of_the_sts(error: &str) -> OAuthCode {
    match error {
        "invalid_grant" | "invalid_token" => OAuthCode::InvalidToken,
        "invalid_target" | "access_denied" => OAuthCode::AccessDenied,
        "invalid_scope" | "insufficient_scope" => OAuthCode::InsufficientScope,
        "invalid_request" => OAuthCode::InvalidRequest,
        "interaction_required" => OAuthCode::InteractionRequired,
        "slow_down" => OAuthCode::SlowDown,
        _ => OAuthCode::TemporarilyUnavailable,
    }
}

/// The status of each code.
#[must_use]
pub const fn status_of(code: OAuthCode) -> StatusCode {
    match code {
        OAuthCode::InvalidRequest
        | OAuthCode::UnsupportedGrantType
        | OAuthCode::InvalidGrant
        | OAuthCode::InvalidTarget
        | OAuthCode::InvalidScope => StatusCode::BAD_REQUEST,
        OAuthCode::InvalidClient
        | OAuthCode::InteractionRequired
        | OAuthCode::InvalidToken
        | OAuthCode::CredentialExpired => StatusCode::UNAUTHORIZED,
        OAuthCode::AccessDenied | OAuthCode::InsufficientScope => StatusCode::FORBIDDEN,
        OAuthCode::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        OAuthCode::SlowDown => StatusCode::TOO_MANY_REQUESTS,
        OAuthCode::BadGateway => StatusCode::BAD_GATEWAY,
        OAuthCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        OAuthCode::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// `404`, of one of the gateway's own pages.
#[must_use]
pub fn unknown(request_id: &RequestId) -> HttpResponse {
    HttpResponse::NotFound().json(json!({
        "error": "not_found",
        "error_description": "there is nothing at this address",
        "request_id": request_id,
    }))
}

/// `405`, of one of the gateway's own pages.
#[must_use]
pub fn wrong_method(request_id: &RequestId) -> HttpResponse {
    HttpResponse::MethodNotAllowed().json(json!({
        "error": "method_not_allowed",
        "error_description": "this page can only be read",
        "request_id": request_id,
    }))
}

/// An error for the log, with the whole chain below it.
#[must_use]
pub fn cause<E: std::error::Error + 'static>(error: &E) -> &(dyn std::error::Error + 'static) {
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: &str = "https://gw.example/.well-known/oauth-protected-resource";

    fn challenge_of(refused: &Refused) -> Option<String> {
        let id = RequestId::accept("r-1").expect("well formed");
        let answer = refused.answer(&id, ABOUT);
        answer
            .headers()
            .get(WWW_AUTHENTICATE)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned)
    }

    fn by_decision(error: &str, reason: &str) -> Refused {
        let body = json!({"error": error, "reason": reason, "challenge_id": "c", "access_token": "never"});
        Refused::ByDecision(Arc::new(StsRefusal {
            status: http::StatusCode::BAD_REQUEST,
            body: body.as_object().cloned().unwrap_or_default(),
            www_authenticate: Some(http::HeaderValue::from_static(
                "Bearer error=\"insufficient_user_authentication\"",
            )),
            retry_after: None,
        }))
    }

    #[test]
    fn every_401_says_where_to_learn_more() {
        for refusal in Refusal::ALL {
            let refused = Refused::from(*refusal);
            let bearer_is_no_good = matches!(
                refusal.code(),
                OAuthCode::InvalidToken | OAuthCode::CredentialExpired
            );
            let challenge = challenge_of(&refused).unwrap_or_default();
            assert_eq!(
                challenge.contains(&format!("resource_metadata=\"{ABOUT}\"")),
                bearer_is_no_good || refusal.code() == OAuthCode::InsufficientScope,
                "{refusal}"
            );
        }
        assert_eq!(
            challenge_of(&Refusal::MissingBearer.into()),
            Some(format!("Bearer resource_metadata=\"{ABOUT}\""))
        );
    }

    #[test]
    fn what_the_sts_says_of_its_subject_is_said_of_our_bearer() {
        for (error, status) in [
            ("invalid_grant", 401),
            ("invalid_target", 403),
            ("invalid_scope", 403),
            ("access_denied", 403),
            ("interaction_required", 401),
            ("slow_down", 429),
            ("invalid_client", 503),
            ("server_error", 503),
            ("temporarily_unavailable", 503),
        ] {
            let refused = by_decision(error, "the_reason");
            assert_eq!(refused.status().as_u16(), status, "{error}");
            assert_eq!(refused.reason(), "the_reason");
        }
    }

    #[test]
    fn only_a_challenge_is_relayed_from_the_body() {
        let members = by_decision("interaction_required", "step_up_required").step_up();
        assert_eq!(members.keys().collect::<Vec<_>>(), ["challenge_id"]);
        let challenge = challenge_of(&by_decision("interaction_required", "step_up_required"));
        assert!(challenge.is_some_and(|c| {
            c.starts_with("Bearer error=\"insufficient_user_authentication\", resource_metadata=")
        }));
    }
}
