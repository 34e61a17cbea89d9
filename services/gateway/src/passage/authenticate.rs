//! Who calls: signature, issuer, class and expiry of the bearer (contract §5, "Order").

use crate::app::Gateway;
use crate::passage::Passage;
use crate::passage::admit::Admitted;
use caracal_domain::{Claims, Refusal, TokenUse};
use caracal_jose::{Expect, TokenError, Unverified, Verified};
use secrecy::{ExposeSecret, SecretString};

/// A bearer that ends so soon could expire on its way to the upstream.
const LEAST_SECONDS_LEFT: i64 = 5;

/// # Errors
/// [`Refusal::BearerInvalid`] or [`Refusal::BearerExpired`], or that the zone's keys cannot be had.
pub(super) async fn authenticate(
    gateway: &Gateway,
    passage: &mut Passage,
    admitted: &Admitted,
) -> Result<Verified, Refusal> {
    let token = verify(gateway, &admitted.bearer).await?;
    let claims = token.claims();
    if !is_of_a_known_class(claims) {
        return Err(Refusal::BearerInvalid);
    }
    if claims.exp.saturating_sub(LEAST_SECONDS_LEFT) <= gateway.clock.now().timestamp() {
        return Err(Refusal::BearerExpired);
    }
    passage.token = Some(token.clone());
    if claims.token_use == TokenUse::Resource {
        passage.jti = Some(claims.jti);
        passage.decision = claims.event_id;
    }
    Ok(token)
}

/// Checks a token of ours against the keys of the zone it names.
pub(super) async fn verify(gateway: &Gateway, token: &SecretString) -> Result<Verified, Refusal> {
    let unverified = Unverified::parse(token.expose_secret()).map_err(refusal)?;
    let zone = unverified.zone_hint();
    let keys = gateway.keys.get(zone, unverified.kid()).await?;
    let expect = Expect {
        issuer: &gateway.issuer(zone),
        now: gateway.clock.now().timestamp(),
    };
    keys.verify(unverified, &expect).map_err(refusal)
}

/// A session token speaks to its issuer alone, a mandate to resources.
fn is_of_a_known_class(claims: &Claims) -> bool {
    match claims.token_use {
        TokenUse::Session => claims.aud == [claims.iss.as_str()],
        TokenUse::Resource => !claims.aud.is_empty() && !claims.aud.contains(&claims.iss),
    }
}

const fn refusal(error: TokenError) -> Refusal {
    match error {
        TokenError::Expired => Refusal::BearerExpired,
        TokenError::Malformed
        | TokenError::UnknownKey
        | TokenError::BadSignature
        | TokenError::WrongIssuer
        | TokenError::WrongZone
        | TokenError::NotYetValid
        | TokenError::TooLarge => Refusal::BearerInvalid,
    }
}
