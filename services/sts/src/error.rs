//! The one table from what went wrong to status, code and public text (contract §2, "Errors").

use crate::step_up::Held;
use actix_web::http::StatusCode;
use actix_web::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use caracal_domain::{OAuthCode, Refusal, RequestId};
use caracal_web::NO_STORE;
use secrecy::ExposeSecret;
use serde_json::json;
use std::fmt;

/// An answer that is not a token.
#[derive(Debug)]
pub struct OAuthError {
    failure: Failure,
    request_id: RequestId,
}

/// Whose fault it is.
#[derive(Debug)]
pub enum Failure {
    /// The answer is no.
    Refused(Refusal),
    /// The answer is no for now: come back after this many seconds.
    Wait(Refusal, u32),
    /// Every resource was decided and refused, and each decision is in the ledger already.
    Denied {
        /// The refusal that came furthest.
        refusal: Refusal,
        /// When to come back, if that helps.
        retry_after: Option<u32>,
    },
    /// Policy asks for a further proof; each decision is in the ledger already.
    Held(Box<Held>),
    /// The body is not a form.
    UnsupportedMediaType,
    /// The body is over 64 KiB.
    PayloadTooLarge,
    /// The body has not arrived in time.
    BodyTimeout,
    /// The endpoint does not take this method.
    MethodNotAllowed,
    /// There is no such thing: what kind of thing.
    NotFound(&'static str),
    /// Our own fault; the cause is logged, not shown.
    Fault(Fault),
}

/// Our own fault, with the whole chain for the log.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The database failed in a way that is not an outage.
    #[error("reading or writing the database")]
    Storage(#[source] caracal_storage::Error),
    /// Key material could not be opened or used.
    #[error("using key material")]
    Jose(#[source] caracal_jose::Error),
    /// The zone has no active signing key, which its constraints forbid.
    #[error("the zone has no active signing key")]
    NoSigningKey,
    /// A provider's stored secrets are not what was written.
    #[error("reading a provider's secrets")]
    ProviderSecrets(#[source] serde_json::Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<caracal_jose::Error> for Failure {
    fn from(error: caracal_jose::Error) -> Self {
        Self::Fault(Fault::Jose(error))
    }
}

impl From<caracal_storage::Error> for Failure {
    /// An outage is an answer (503 `store_unavailable`), and so is a subject that is blocked or cut off; anything else is a
    /// fault.
    fn from(error: caracal_storage::Error) -> Self {
        if error.is_unavailable() {
            Self::Refused(Refusal::StoreUnavailable)
        } else if error.conflict() == Some(caracal_storage::subject_blocks::REFUSED_BY) {
            Self::Refused(Refusal::SubjectBlocked)
        } else if error.conflict() == Some(caracal_storage::sessions::REFUSED_BY) {
            Self::Refused(Refusal::SubjectRevoked)
        } else {
            Self::Fault(Fault::Storage(error))
        }
    }
}

impl Failure {
    /// The slug for the ledger.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refusal) | Self::Wait(refusal, _) | Self::Denied { refusal, .. } => {
                refusal.reason()
            }
            Self::Held(_) => Refusal::StepUpRequired.reason(),
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::PayloadTooLarge => "payload_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NotFound(what) => what,
            Self::Fault(_) => "server_error",
        }
    }

    /// Whether the client is to blame, who has not proved itself then.
    #[must_use]
    pub fn is_of_client(&self) -> bool {
        let refusal = self.refusal();
        refusal.is_some_and(|refusal| {
            refusal.code() == OAuthCode::InvalidClient || refusal == Refusal::ClientThrottled
        })
    }

    const fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused(refusal) | Self::Wait(refusal, _) | Self::Denied { refusal, .. } => Some(*refusal),
            Self::Held(_) => Some(Refusal::StepUpRequired),
            Self::UnsupportedMediaType
            | Self::PayloadTooLarge
            | Self::BodyTimeout
            | Self::MethodNotAllowed
            | Self::NotFound(_)
            | Self::Fault(_) => None,
        }
    }

    const fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Wait(_, seconds) => Some(*seconds),
            Self::Denied { retry_after, .. } => *retry_after,
            Self::Refused(_)
            | Self::Held(_)
            | Self::UnsupportedMediaType
            | Self::PayloadTooLarge
            | Self::BodyTimeout
            | Self::MethodNotAllowed
            | Self::NotFound(_)
            | Self::Fault(_) => None,
        }
    }

    /// As the answer to the request with this id. A fault is logged here, once, with its whole chain.
    #[must_use]
    pub fn answering(self, request_id: RequestId) -> OAuthError {
        if let Self::Fault(fault) = &self {
            let cause: &(dyn std::error::Error + 'static) = fault;
            tracing::error!(error = cause, %request_id, "a request failed by our own fault");
        }
        OAuthError {
            failure: self,
            request_id,
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) | Self::Wait(refusal, _) | Self::Denied { refusal, .. } => {
                refusal.code().as_str()
            }
            Self::Held(_) => OAuthCode::InteractionRequired.as_str(),
            Self::UnsupportedMediaType | Self::PayloadTooLarge | Self::BodyTimeout => {
                OAuthCode::InvalidRequest.as_str()
            }
            Self::MethodNotAllowed | Self::NotFound(_) | Self::Fault(_) => self.reason(),
        }
    }

    const fn description(&self) -> &'static str {
        match self {
            Self::Refused(refusal) | Self::Wait(refusal, _) | Self::Denied { refusal, .. } => {
                refusal.description()
            }
            Self::Held(_) => Refusal::StepUpRequired.description(),
            Self::UnsupportedMediaType => "The body must be application/x-www-form-urlencoded.",
            Self::PayloadTooLarge => "The body is larger than 64 KiB.",
            Self::BodyTimeout => "The body did not arrive in time.",
            Self::MethodNotAllowed => "This endpoint does not take this method.",
            Self::NotFound(_) => "There is no such thing here.",
            Self::Fault(_) => "The request could not be served; quote the request id.",
        }
    }
}

/// The answer to a request by a method that its endpoint does not take.
#[must_use]
pub fn wrong_method(id: &RequestId) -> HttpResponse {
    Failure::MethodNotAllowed.answering(id.clone()).error_response()
}

/// The answer on a path that nothing answers.
#[must_use]
pub fn unknown_route(id: &RequestId) -> HttpResponse {
    Failure::NotFound("not_found")
        .answering(id.clone())
        .error_response()
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.failure.reason())
    }
}

const fn status_of(code: OAuthCode) -> StatusCode {
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

impl ResponseError for OAuthError {
    fn status_code(&self) -> StatusCode {
        match &self.failure {
            Failure::Refused(refusal) | Failure::Wait(refusal, _) | Failure::Denied { refusal, .. } => {
                status_of(refusal.code())
            }
            Failure::Held(_) => StatusCode::UNAUTHORIZED,
            Failure::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Failure::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Failure::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Failure::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Failure::NotFound(_) => StatusCode::NOT_FOUND,
            Failure::Fault(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status_code());
        if matches!(self.failure, Failure::BodyTimeout) {
            answer.force_close();
        }
        for header in NO_STORE {
            answer.insert_header(header);
        }
        match self.failure.refusal().map(Refusal::code) {
            Some(OAuthCode::InvalidClient) => {
                answer.insert_header((WWW_AUTHENTICATE, "Basic realm=\"caracal\", charset=\"UTF-8\""));
            }
            Some(OAuthCode::InteractionRequired) => {
                answer.insert_header((
                    WWW_AUTHENTICATE,
                    "Bearer error=\"insufficient_user_authentication\"",
                ));
            }
            _ => {}
        }
        if let Some(seconds) = self.failure.retry_after() {
            answer.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        let mut body = json!({
            "error": self.failure.code(),
            "error_description": self.failure.description(),
            "reason": self.failure.reason(),
            "request_id": self.request_id,
            "requestId": self.request_id,
        });
        if let (Failure::Held(held), Some(members)) = (&self.failure, body.as_object_mut()) {
            members.insert("challenge_id".to_owned(), json!(held.id));
            members.insert("challenge_type".to_owned(), json!(held.challenge_type));
            members.insert("challenge_secret".to_owned(), json!(held.secret.expose_secret()));
            members.insert("challenge_expires_at".to_owned(), json!(held.expires_at));
        }
        answer.json(body)
    }
}
