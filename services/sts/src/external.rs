//! Users: what a registered subject issuer says of one becomes a subject of ours (contract §1, "Subject issuers").

use crate::app::Sts;
use crate::error::Failure;
use crate::key_sets::KeySource;
use crate::view::ZoneView;
use caracal_domain::zone::SubjectIssuer;
use caracal_domain::{Refusal, Timestamp, is_subject_name};
use caracal_jose::{ForeignClaims, ForeignError, ForeignExpect, ForeignToken};
use std::sync::Arc;
use uuid::Uuid;

/// What an issuer's token may call itself: an ID token, a JWT, or an access token in JWT form (RFC 9068).
const TYPES: [&str; 2] = ["jwt", "at+jwt"];
const MAX_SUBJECT_BYTES: usize = 255;

/// A user, as a registered issuer vouches for it.
#[derive(Debug)]
pub struct User {
    /// Prefix and external `sub`: who it is here.
    pub subject: String,
    /// Who vouches.
    pub issuer: Arc<SubjectIssuer>,
    /// When it signed in there.
    pub authenticated_at: Timestamp,
    /// The token's claims, as the issuer wrote them.
    pub claims: ForeignClaims,
}

impl Sts {
    /// Whether a token with this issuer would be one of ours, of whatever zone: such a one is never somebody else's.
    #[must_use]
    pub(crate) fn is_ours(&self, issuer: &str) -> bool {
        let base = self.endpoint("");
        issuer
            .strip_prefix(base.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Verifies a token of a registered issuer and says which user it names.
    ///
    /// # Errors
    /// An `invalid_grant` refusal; 503 when the issuer's keys or the database cannot be reached.
    pub(crate) async fn user(&self, view: &Arc<ZoneView>, token: ForeignToken<'_>) -> Result<User, Failure> {
        let (view, issuer) = match registered(view, &token) {
            // It may have been registered a moment ago (docs/decisions, 0007).
            Err(Refusal::SubjectIssuerUnknown) => {
                let current = self.zones.confirmed(view).await;
                let issuer = registered(&current, &token)?;
                (current, issuer)
            }
            found => (Arc::clone(view), found?),
        };
        let keys = self.key_sets.keys(&KeySource::from(&*issuer), token.kid()).await;
        let keys = keys.map_err(|_| Refusal::KeysUnreachable)?;
        let now = self.clock.now();
        let expect = ForeignExpect {
            issuer: &issuer.issuer,
            audiences: &[&issuer.audience],
            types: &TYPES,
            now: now.timestamp(),
        };
        let claims = token.verify(&keys, &expect).map_err(refusal)?.into_claims();
        let subject = self.subject_of(&view, &issuer, &claims.sub).await?;
        let signed_in = claims.auth_time.or(claims.iat);
        let signed_in = signed_in.and_then(|at| chrono::DateTime::from_timestamp(at, 0));
        Ok(User {
            subject,
            issuer,
            authenticated_at: signed_in.map_or(now, |at| at.min(now)),
            claims,
        })
    }

    /// A user can never be taken for an application nor for a user of another issuer, whatever its own calls it.
    async fn subject_of(
        &self,
        view: &ZoneView,
        issuer: &SubjectIssuer,
        sub: &str,
    ) -> Result<String, Failure> {
        let subject = format!("{}{sub}", issuer.subject_prefix);
        // Its own part too: behind a prefix a blank one would look like a user whom the prefix alone names.
        let well_named =
            is_subject_name(sub) && is_subject_name(&subject) && subject.len() <= MAX_SUBJECT_BYTES;
        if !well_named || is_anothers(view, issuer, &subject) {
            return Err(Refusal::SubjectNotAllowed.into());
        }
        let Ok(id) = Uuid::try_parse(&subject) else {
            return Ok(subject);
        };
        let taken = self
            .stored(async {
                let mut conn = self.database.acquire().await?;
                caracal_storage::applications::is_known(&mut conn, id.into()).await
            })
            .await?;
        if taken {
            Err(Refusal::SubjectNotAllowed.into())
        } else {
            Ok(subject)
        }
    }
}

/// The one registration the token is for. An issuer may be registered several times, for different audiences; a token
/// that is for several of them would be several users at once.
fn registered(view: &ZoneView, token: &ForeignToken<'_>) -> Result<Arc<SubjectIssuer>, Refusal> {
    let of_issuer: Vec<_> = view
        .zone
        .config
        .subject_issuers
        .iter()
        .filter(|issuer| issuer.issuer == token.issuer_hint())
        .collect();
    if of_issuer.is_empty() {
        return Err(Refusal::SubjectIssuerUnknown);
    }
    let mut addressed = of_issuer
        .into_iter()
        .filter(|issuer| token.audience_hint().contains(&issuer.audience));
    match (addressed.next(), addressed.next()) {
        (Some(one), None) => Ok(Arc::clone(one)),
        _ => Err(Refusal::SubjectTokenWrongAudience),
    }
}

/// Prefixes may nest, and one may be empty: a subject belongs to the longest prefix it begins with, and to no other.
fn is_anothers(view: &ZoneView, issuer: &SubjectIssuer, subject: &str) -> bool {
    let longer = |other: &SubjectIssuer| other.subject_prefix.len() > issuer.subject_prefix.len();
    let mut all = view.zone.config.subject_issuers.iter();
    all.any(|other| longer(other) && subject.starts_with(&other.subject_prefix))
}

const fn refusal(error: ForeignError) -> Refusal {
    match error {
        ForeignError::Expired => Refusal::SubjectTokenExpired,
        ForeignError::WrongAudience => Refusal::SubjectTokenWrongAudience,
        ForeignError::Malformed
        | ForeignError::TooLarge
        | ForeignError::UnknownKey
        | ForeignError::BadSignature
        | ForeignError::WrongType
        | ForeignError::WrongIssuer
        | ForeignError::NotYetValid => Refusal::SubjectTokenInvalid,
    }
}
