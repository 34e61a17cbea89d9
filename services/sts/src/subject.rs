//! Class by provenance: which rules apply is decided by what the presented credential *is*, never by how the request
//! is written (contract §2, "Classes").

use crate::app::Sts;
use crate::authenticate::Caller;
use crate::error::Failure;
use crate::view::ZoneView;
use caracal_domain::id::ApplicationId;
use caracal_domain::zone::Application;
use caracal_domain::{Refusal, TokenUse};
use caracal_jose::{Expect, TokenError, Unverified, Verified};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// The only ways into the token endpoint. A mandate, or anything else that is not a live session, has no variant: it
/// can never come back in.
#[derive(Debug)]
pub enum Provenance {
    /// The application itself: a new session.
    Application(Arc<Application>),
    /// The application with its session: a mandate.
    Session(Arc<Application>, Verified),
    /// A gateway with somebody's session: a mandate for one call, and where to send it.
    GatewayCall(Arc<Application>, Verified),
}

impl Sts {
    /// Establishes what the caller presented.
    ///
    /// # Errors
    /// `invalid_grant` for a subject token that is not a live session of this zone and this application.
    pub fn provenance(
        &self,
        view: &ZoneView,
        caller: Caller,
        subject_token: Option<&SecretString>,
    ) -> Result<Provenance, Failure> {
        match (caller, subject_token) {
            (Caller::Application(application), None) => Ok(Provenance::Application(application)),
            (Caller::Application(application), Some(token)) => {
                let session = self.live_session(view, token)?;
                if session.claims().client_id != application.id {
                    return Err(Refusal::SubjectTokenWrongClient.into());
                }
                Ok(Provenance::Session(application, session))
            }
            (Caller::Gateway, None) => Err(Refusal::SubjectTokenInvalid.into()),
            (Caller::Gateway, Some(token)) => {
                let session = self.live_session(view, token)?;
                let holder = self.holder(view, session.claims().client_id)?;
                Ok(Provenance::GatewayCall(holder, session))
            }
        }
    }

    fn holder(&self, view: &ZoneView, application: ApplicationId) -> Result<Arc<Application>, Refusal> {
        self.live(view, application).ok_or(Refusal::SubjectTokenInvalid)
    }

    fn live_session(&self, view: &ZoneView, token: &SecretString) -> Result<Verified, Refusal> {
        let verified = self.verify(view, token.expose_secret())?;
        if verified.claims().token_use != TokenUse::Session {
            return Err(Refusal::SubjectTokenWrongUse);
        }
        match view.anchors.refuses(verified.claims(), verified.kid()) {
            Some(_) => Err(Refusal::SessionRevoked),
            None => Ok(verified),
        }
    }

    /// Verifies a token of this zone: signature, issuer, zone, expiry. Revocation is the caller's to check.
    ///
    /// # Errors
    /// The `invalid_grant` refusal that names what is wrong.
    pub fn verify(&self, view: &ZoneView, token: &str) -> Result<Verified, Refusal> {
        let zone = view.zone.config.id;
        let unverified = Unverified::parse(token).map_err(refusal)?;
        if unverified.zone_hint() != zone {
            return Err(Refusal::SubjectTokenWrongZone);
        }
        let issuer = self.issuer(zone);
        let expect = Expect {
            issuer: &issuer,
            now: self.clock.now().timestamp(),
        };
        view.zone.verifying.verify(unverified, &expect).map_err(refusal)
    }
}

const fn refusal(error: TokenError) -> Refusal {
    match error {
        TokenError::Expired => Refusal::SubjectTokenExpired,
        TokenError::WrongZone => Refusal::SubjectTokenWrongZone,
        TokenError::Malformed
        | TokenError::UnknownKey
        | TokenError::BadSignature
        | TokenError::WrongIssuer
        | TokenError::NotYetValid
        | TokenError::TooLarge => Refusal::SubjectTokenInvalid,
    }
}
