//! What can be refused without knowing who calls: bearer, headers, resource, path (contract §5, "Order").

use crate::passage::Passage;
use crate::path::SafePath;
use crate::target::Target;
use crate::upload::MAX_BODY_BYTES;
use caracal_domain::{Refusal, ScopeSet};
use caracal_jose::MAX_TOKEN_BYTES;
use http::Method;
use http::header::{AUTHORIZATION, HeaderMap};
use secrecy::SecretString;

const X_CARACAL_CLIENT_ID: &str = "x-caracal-client-id";
const X_CARACAL_SCOPE: &str = "x-caracal-scope";

/// A call that is well formed.
pub(super) struct Admitted {
    pub(super) bearer: SecretString,
    pub(super) target: Target,
    pub(super) path: SafePath,
    /// The scopes asked for with `X-Caracal-Scope`, for a session token.
    pub(super) scopes: Option<ScopeSet>,
}

/// # Errors
/// The first rule that the call breaks.
pub(super) fn admit(passage: &mut Passage) -> Result<Admitted, Refusal> {
    let call = &passage.call;
    let named = Target::read(&call.headers, &call.raw_path);
    // Even a call without bearer is told where to learn more of the resource it names.
    passage.target = named.as_ref().ok().map(|(target, _)| target.clone());
    let bearer = bearer(&call.headers)?;
    if call.headers.contains_key(X_CARACAL_CLIENT_ID) {
        return Err(Refusal::ClientIdHeader);
    }
    let (target, raw_path) = named?;
    passage.resource = target.identifier.as_ref().map(ToString::to_string);
    let path = SafePath::parse(raw_path)?;
    passage.path = Some(path.to_string());
    let call = &passage.call;
    // An upstream answers TRACE with the request as it came, the credential included (RFC 9110 §9.3.8).
    if matches!(call.method, Method::TRACE | Method::CONNECT) {
        return Err(Refusal::MalformedRequest);
    }
    call.min_epoch.map_err(|_| Refusal::MalformedEpoch)?;
    if call
        .content_length()
        .is_some_and(|length| length > MAX_BODY_BYTES)
    {
        return Err(Refusal::BodyTooLarge);
    }
    let scopes = scopes(&call.headers)?;
    Ok(Admitted {
        bearer,
        target,
        path,
        scopes,
    })
}

/// `Authorization: Bearer …`, once (RFC 6750 §2.1). The two other ways of that RFC are not ours.
fn bearer(headers: &HeaderMap) -> Result<SecretString, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let only = match (values.next(), values.next()) {
        (None, _) => return Err(Refusal::MissingBearer),
        (Some(_), Some(_)) => return Err(Refusal::BearerInvalid),
        (Some(only), None) => only.to_str().map_err(|_| Refusal::BearerInvalid)?,
    };
    let (scheme, token) = only.split_once(' ').ok_or(Refusal::MissingBearer)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(Refusal::MissingBearer);
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refusal::BearerInvalid);
    }
    Ok(SecretString::from(token))
}

fn scopes(headers: &HeaderMap) -> Result<Option<ScopeSet>, Refusal> {
    let mut values = headers.get_all(X_CARACAL_SCOPE).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(Refusal::MalformedScope),
        (Some(only), None) => {
            let text = only.to_str().map_err(|_| Refusal::MalformedScope)?.trim();
            let scopes: ScopeSet = text.parse().map_err(|_| Refusal::MalformedScope)?;
            Ok(Some(scopes).filter(|scopes| !scopes.is_empty()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Call;
    use caracal_domain::RequestId;
    use caracal_domain::clock::FixedClock;

    fn outcome(headers: &[(&str, &str)], path: &str) -> Result<(), Refusal> {
        let headers = headers.iter().map(|(name, value)| {
            (
                name.parse::<http::HeaderName>().expect("a name"),
                value.parse::<http::HeaderValue>().expect("a value"),
            )
        });
        let call = Call {
            request_id: RequestId::accept("r-1").expect("well formed"),
            source: [127, 0, 0, 1].into(),
            method: Method::POST,
            raw_path: path.to_owned(),
            query: None,
            headers: headers.collect(),
            min_epoch: Ok(None),
            wants_websocket: false,
        };
        let clock = FixedClock(caracal_domain::Timestamp::UNIX_EPOCH);
        admit(&mut Passage::begin(call, &clock)).map(drop)
    }

    const BEARER: (&str, &str) = ("authorization", "Bearer x");
    const RESOURCE: (&str, &str) = ("x-caracal-resource", "resource://a");

    #[test]
    fn the_first_broken_rule_answers() {
        let client = ("x-caracal-client-id", "me");
        assert_eq!(outcome(&[client], "/.."), Err(Refusal::MissingBearer));
        assert_eq!(outcome(&[BEARER, client], "/.."), Err(Refusal::ClientIdHeader));
        assert_eq!(outcome(&[BEARER], "/.."), Err(Refusal::NoResourceNamed));
        assert_eq!(outcome(&[BEARER, RESOURCE], "/.."), Err(Refusal::UnsafePath));
        assert_eq!(outcome(&[BEARER, RESOURCE], "/"), Ok(()));
    }

    #[test]
    fn a_bearer_is_one_small_token() {
        let large = format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES + 1));
        for (value, refusal) in [
            ("Basic x", Refusal::MissingBearer),
            ("Bearer ", Refusal::MissingBearer),
            ("x", Refusal::MissingBearer),
            (large.as_str(), Refusal::BearerInvalid),
        ] {
            assert_eq!(
                outcome(&[("authorization", value), RESOURCE], "/"),
                Err(refusal),
                "{value}"
            );
        }
        assert_eq!(
            outcome(&[BEARER, BEARER, RESOURCE], "/"),
            Err(Refusal::BearerInvalid)
        );
        assert_eq!(outcome(&[("authorization", "bearer x"), RESOURCE], "/"), Ok(()));
    }

    #[test]
    fn announced_bodies_and_scopes_have_limits() {
        assert_eq!(
            outcome(&[BEARER, RESOURCE, ("content-length", "10485760")], "/"),
            Ok(())
        );
        assert_eq!(
            outcome(&[BEARER, RESOURCE, ("content-length", "10485761")], "/"),
            Err(Refusal::BodyTooLarge)
        );
        assert_eq!(
            outcome(&[BEARER, RESOURCE, ("x-caracal-scope", "A")], "/"),
            Err(Refusal::MalformedScope)
        );
    }
}
