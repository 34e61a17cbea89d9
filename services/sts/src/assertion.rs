//! `private_key_jwt`: an application that signs for itself (RFC 7523 §2.2 and §3; contract §2).

use crate::app::Sts;
use crate::error::Failure;
use crate::key_sets::KeySource;
use caracal_domain::Refusal;
use caracal_domain::id::{ApplicationId, ZoneId};
use caracal_domain::zone::Application;
use caracal_jose::{ForeignClaims, ForeignError, ForeignExpect, ForeignKeys, ForeignToken};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// What an assertion may call itself.
const TYPES: [&str; 2] = ["jwt", "client-authentication+jwt"];
/// An assertion that would hold longer is refused: its `jti` must be remembered as long. Common libraries say an hour.
const MAX_SECONDS: i64 = 3600;
/// Clocks of others, either way.
const LEEWAY_SECONDS: i64 = 60;
const MAX_JTI_BYTES: usize = 255;

/// The application an assertion says it is of, for a client that names none.
///
/// # Errors
/// [`Refusal::InvalidClient`] when it is no assertion of one.
pub fn application_of(assertion: &SecretString) -> Result<ApplicationId, Refusal> {
    let token = ForeignToken::parse(assertion.expose_secret()).map_err(|_| Refusal::InvalidClient)?;
    token.subject_hint().parse().map_err(|_| Refusal::InvalidClient)
}

impl Sts {
    /// What an application's assertion says, when all of it holds. It is not used up by this.
    ///
    /// # Errors
    /// An `invalid_client` refusal; 503 when its keys cannot be reached.
    pub(crate) async fn check_assertion(
        &self,
        zone: ZoneId,
        application: &Application,
        assertion: &SecretString,
    ) -> Result<ForeignClaims, Failure> {
        let token = ForeignToken::parse(assertion.expose_secret()).map_err(|_| Refusal::InvalidClient)?;
        let keys = self.keys_of(application, token.kid()).await?;
        let name = application.id.to_string();
        let issuer = self.issuer(zone);
        let (of_zone, of_all) = (format!("{issuer}/oauth/2/token"), self.endpoint("/oauth/2/token"));
        let expect = ForeignExpect {
            issuer: &name,
            audiences: &[&issuer, &of_zone, &of_all],
            types: &TYPES,
            now: self.clock.now().timestamp(),
        };
        Ok(token.verify(&keys, &expect).map_err(refusal)?.into_claims())
    }

    async fn keys_of(
        &self,
        application: &Application,
        kid: Option<&str>,
    ) -> Result<Arc<ForeignKeys>, Refusal> {
        match (&application.jwks, &application.jwks_uri) {
            (Some(set), _) => {
                let keys = ForeignKeys::from_value(set).map_err(|_| Refusal::InvalidClient)?;
                Ok(Arc::new(keys))
            }
            (None, Some(uri)) => {
                let source = KeySource::Uri(uri.clone());
                let keys = self.key_sets.keys(&source, kid).await;
                keys.map_err(|_| Refusal::KeysUnreachable)
            }
            (None, None) => Err(Refusal::InvalidClient),
        }
    }

    /// Uses an assertion up: the one write of a client's authentication.
    ///
    /// # Errors
    /// An `invalid_client` refusal when it was used before or cannot be remembered; 503 when the database cannot be reached.
    pub(crate) async fn use_up(
        &self,
        zone: ZoneId,
        application: ApplicationId,
        claims: &ForeignClaims,
        now: i64,
    ) -> Result<(), Failure> {
        let named = claims
            .jti
            .as_deref()
            .filter(|jti| !jti.is_empty() && jti.len() <= MAX_JTI_BYTES);
        let jti = named
            .filter(|jti| !jti.contains('\0'))
            .ok_or(Refusal::ClientAssertionRefused)?;
        let too_long = claims.exp > now + MAX_SECONDS + LEEWAY_SECONDS;
        if too_long || claims.sub != application.to_string() {
            return Err(Refusal::ClientAssertionRefused.into());
        }
        let until = chrono::DateTime::from_timestamp(claims.exp + LEEWAY_SECONDS, 0);
        let until = until.ok_or(Refusal::ClientAssertionRefused)?;
        let first = self
            .stored(async {
                let mut conn = self.database.acquire().await?;
                caracal_storage::used_assertions::consume(&mut conn, zone, application, jti, until).await
            })
            .await?;
        if first {
            Ok(())
        } else {
            Err(Refusal::ClientAssertionReplayed.into())
        }
    }
}

/// What comes after the signature may be told: only the key's owner learns it.
const fn refusal(error: ForeignError) -> Refusal {
    match error {
        ForeignError::Malformed
        | ForeignError::TooLarge
        | ForeignError::UnknownKey
        | ForeignError::BadSignature => Refusal::InvalidClient,
        ForeignError::Expired => Refusal::ClientAssertionExpired,
        ForeignError::WrongType
        | ForeignError::WrongIssuer
        | ForeignError::WrongAudience
        | ForeignError::NotYetValid => Refusal::ClientAssertionRefused,
    }
}
