//! Whether the call may pass: resource, audience, revocation, operation, scope, upstream rules (contract §5, "Order").
//! A mandate is decided here; for a session token the STS decides, for this one call.

use crate::app::Gateway;
use crate::credentials;
use crate::directives::Wanted;
use crate::error::{Refused, cause};
use crate::memory::Age;
use crate::operations::{find, same_method};
use crate::passage::Passage;
use crate::passage::admit::Admitted;
use crate::passage::authenticate::verify;
use crate::sts_client::{Asking, Credential, Directive, ExchangeRequest};
use caracal_domain::id::ZoneId;
use caracal_domain::zone::{AuthMode, Operation};
use caracal_domain::{Claims, Epoch, OAuthCode, Refusal, ResourceIdentifier, ScopeSet, TokenUse};
use caracal_egress::{EgressError, Judged, check_url};
use caracal_jose::Verified;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Instant;

/// A call that may pass.
pub(super) struct Decided {
    /// Where it goes.
    pub(super) directive: Arc<Directive>,
    /// With what, in the modes that have a credential.
    pub(super) credential: Option<Arc<Credential>>,
    /// Whose that is.
    pub(super) wanted: credentials::Wanted,
    /// The bearer.
    pub(super) token: Verified,
    /// For a session token: the mandate of this one call, which never leaves the gateway but in mode `caracal_jwt`.
    pub(super) mandate: Option<(Verified, SecretString)>,
    /// Where the upstream was found to be.
    pub(super) judged: Judged,
    /// When the STS was last asked about the bearer, if it was.
    confirmed: Option<Instant>,
}

impl Decided {
    /// What the call stands on: the bearer, and the mandate of this one call.
    pub(super) fn tokens(&self) -> impl Iterator<Item = &Verified> {
        let mandate = self.mandate.as_ref().map(|(mandate, _)| mandate);
        std::iter::once(&self.token).chain(mandate)
    }
}

/// What the bearer allows, before anything is known of the upstream.
struct Allowed {
    directive: Arc<Directive>,
    mandate: Option<(Verified, SecretString)>,
    confirmed: Option<Instant>,
}

/// # Errors
/// The first rule that refuses.
pub(super) async fn decide(
    gateway: &Gateway,
    passage: &mut Passage,
    admitted: &Admitted,
    token: Verified,
) -> Result<Decided, Refused> {
    let asked = name_of(gateway, admitted, token.claims())?;
    passage.resource = Some(asked.to_string());
    let current = gateway
        .confirm
        .is_current(token.claims().zone_id, passage.asking().at_least);
    let directive = directive_of(gateway, passage, token.claims(), &asked, current).await?;
    refuse_conflict(admitted, &directive)?;
    let wanted = credentials::Wanted::by(token.claims(), &asked);
    let allowed = match token.claims().token_use {
        TokenUse::Resource => by_mandate(gateway, passage, admitted, &token, directive, current).await?,
        TokenUse::Session => {
            by_exchange(gateway, passage, admitted, &token, directive, &asked, &wanted).await?
        }
    };
    let upstream = &allowed.directive.url;
    passage.upstream_host = upstream.host_str().map(str::to_owned);
    check_url(&gateway.egress, upstream.as_str()).map_err(|_| Refusal::UpstreamNotAllowed)?;
    let judged = gateway.upstreams.judge(upstream.as_str()).await;
    let judged = judged.map_err(|error| of_upstream(&error))?;
    let credential = match &allowed.directive.credential {
        None if with_provider(&allowed.directive) => {
            Some(credential_of(gateway, passage, &wanted, current).await?)
        }
        held => held.clone(),
    };
    let decided = Decided {
        directive: allowed.directive,
        credential,
        wanted,
        token,
        mandate: allowed.mandate,
        judged,
        confirmed: allowed.confirmed,
    };
    refuse_overtaken(gateway, passage, admitted, &decided).await?;
    Ok(decided)
}

/// Much may have changed while others were waited for: what the call stands on must still stand, as far as somebody
/// knows who is current.
pub(super) async fn refuse_overtaken(
    gateway: &Gateway,
    passage: &Passage,
    admitted: &Admitted,
    decided: &Decided,
) -> Result<(), Refused> {
    let (zone, asking) = (decided.token.claims().zone_id, passage.asking());
    let lately = |at: Instant| at.elapsed() < gateway.confirm.max_lag;
    if !gateway.confirm.is_current(zone, asking.at_least) && !decided.confirmed.is_some_and(lately) {
        gateway.confirm.bearer(&admitted.bearer, asking).await?;
    }
    decided
        .tokens()
        .try_for_each(|token| refuse_revoked(gateway, token))
}

/// What an upstream that cannot be reached, or may not be, means to the caller.
pub(super) fn of_upstream(error: &EgressError) -> Refusal {
    tracing::info!(error = cause(error), "the upstream did not answer");
    match error {
        EgressError::Forbidden(_) => Refusal::UpstreamNotAllowed,
        EgressError::Unreachable(_) => Refusal::UpstreamUnreachable,
        EgressError::Timeout => Refusal::UpstreamTimeout,
    }
}

/// Whether calls of the resource carry a provider's credential.
pub(super) const fn with_provider(directive: &Directive) -> bool {
    match directive.auth_mode {
        AuthMode::ProviderApikey | AuthMode::ProviderOauth => true,
        AuthMode::CaracalJwt | AuthMode::None => false,
    }
}

/// How the STS knows what the call names; an address in another zone than the token's is unknown in the token's.
fn name_of(gateway: &Gateway, admitted: &Admitted, claims: &Claims) -> Result<ResourceIdentifier, Refusal> {
    let place = admitted.target.place;
    if place.is_some_and(|place| place.zone != claims.zone_id) {
        return Err(Refusal::ResourceUnknownHere);
    }
    let alias = || place.and_then(|place| place.alias(&gateway.public_url));
    admitted
        .target
        .identifier
        .clone()
        .or_else(alias)
        .ok_or(Refusal::ResourceUnknownHere)
}

async fn directive_of(
    gateway: &Gateway,
    passage: &Passage,
    claims: &Claims,
    asked: &ResourceIdentifier,
    current: bool,
) -> Result<Arc<Directive>, Refused> {
    let wanted = Wanted {
        zone: claims.zone_id,
        application: claims.client_id,
        resource: asked.clone(),
    };
    let (age, asking) = currency(gateway, passage, claims.zone_id, current);
    let now = gateway.clock.now();
    let directive = gateway.directives.get(&wanted, age, now, asking).await?;
    current_enough(passage, directive.epoch)?;
    Ok(directive)
}

/// The credential for calls under a mandate.
async fn credential_of(
    gateway: &Gateway,
    passage: &Passage,
    wanted: &credentials::Wanted,
    current: bool,
) -> Result<Arc<Credential>, Refused> {
    let (age, asking) = currency(gateway, passage, wanted.zone, current);
    let now = gateway.clock.now();
    let answer = gateway.credentials.get(wanted, age, now, asking).await?;
    current_enough(passage, answer.epoch)?;
    let credential = answer.credential.clone();
    Ok(credential.ok_or(Refusal::ProviderNotReady)?)
}

/// How old what the STS has told us may be, and how current its next answer must be.
fn currency<'a>(gateway: &Gateway, passage: &'a Passage, zone: ZoneId, current: bool) -> (Age, Asking<'a>) {
    let mut asking = passage.asking();
    let heard = gateway.views.configured_at(zone);
    let floor = asking.at_least.map_or(heard, |epoch| epoch.max(heard));
    asking.at_least = Some(floor).filter(|epoch| epoch.get() > 0);
    let age = if current { Age::SinceEpoch(floor) } else { Age::Now };
    (age, asking)
}

fn current_enough(passage: &Passage, epoch: Epoch) -> Result<(), Refusal> {
    match passage.asking().at_least {
        Some(at_least) if epoch < at_least => Err(Refusal::StaleState),
        _ => Ok(()),
    }
}

/// Header and path may both name the resource, if they name the same.
fn refuse_conflict(admitted: &Admitted, directive: &Directive) -> Result<(), Refusal> {
    match (&admitted.target.identifier, admitted.target.place) {
        (Some(_), Some(place)) if directive.resource_id != place.resource => Err(Refusal::ResourceConflict),
        _ => Ok(()),
    }
}

/// Whether the mandate's audience holds what the call names. A mandate for the resource's own name covers its address
/// at this gateway too, which is the name of a client that cannot set headers.
async fn refuse_ungranted(
    gateway: &Gateway,
    passage: &Passage,
    admitted: &Admitted,
    claims: &Claims,
    addressed: &Directive,
    current: bool,
) -> Result<(), Refused> {
    if claims.is_for(
        admitted
            .target
            .identifier
            .as_ref()
            .unwrap_or(&addressed.identifier),
    ) {
        return Ok(());
    }
    if admitted.target.identifier.is_some() {
        return Err(Refusal::ResourceNotGranted.into());
    }
    for name in claims
        .aud
        .iter()
        .filter_map(|aud| aud.parse::<ResourceIdentifier>().ok())
    {
        match directive_of(gateway, passage, claims, &name, current).await {
            Ok(named) if named.resource_id == addressed.resource_id && !named.prefix => return Ok(()),
            Err(refused) if refused.code() == OAuthCode::TemporarilyUnavailable => return Err(refused),
            Ok(_) | Err(_) => {}
        }
    }
    Err(Refusal::ResourceNotGranted.into())
}

async fn by_mandate(
    gateway: &Gateway,
    passage: &Passage,
    admitted: &Admitted,
    token: &Verified,
    directive: Arc<Directive>,
    current: bool,
) -> Result<Allowed, Refused> {
    let claims = token.claims();
    refuse_ungranted(gateway, passage, admitted, claims, &directive, current).await?;
    refuse_revoked(gateway, token)?;
    let asked_at = Instant::now();
    if !current {
        gateway.confirm.bearer(&admitted.bearer, passage.asking()).await?;
    }
    let operation = operation_of(&directive, passage, admitted)?;
    refuse_action(claims, passage)?;
    if let Some(operation) = operation
        && !claims.scope.contains(&operation.scope)
    {
        return Err(Refused::MissingScope(operation.scope.clone()));
    }
    Ok(Allowed {
        directive,
        mandate: None,
        confirmed: (!current).then_some(asked_at),
    })
}

async fn by_exchange(
    gateway: &Gateway,
    passage: &mut Passage,
    admitted: &Admitted,
    token: &Verified,
    directive: Arc<Directive>,
    asked: &ResourceIdentifier,
    wanted: &credentials::Wanted,
) -> Result<Allowed, Refused> {
    refuse_revoked(gateway, token)?;
    let operation = operation_of(&directive, passage, admitted)?;
    let of_operation: Option<ScopeSet> =
        operation.map(|operation| [operation.scope.clone()].into_iter().collect());
    let rejected = gateway.credentials.rejected(wanted);
    let request = ExchangeRequest {
        subject_token: &admitted.bearer,
        resource: asked,
        scopes: of_operation.as_ref().or(admitted.scopes.as_ref()),
        method: passage.call.method.as_str(),
        path: admitted.path.as_str(),
        rejected_credential: rejected.as_deref(),
    };
    let asked_at = Instant::now();
    let mut exchanged = gateway.sts.exchange(&request, passage.asking()).await?;
    let mandate = verify(gateway, &exchanged.access_token)
        .await
        .map_err(|_| Refusal::DecisionPointUnavailable)?;
    passage.jti = Some(mandate.claims().jti);
    passage.decision = mandate.claims().event_id;
    refuse_action(mandate.claims(), passage)?;
    let fresh = exchanged.upstreams.remove(asked.as_str()).map(Arc::new);
    let directive = fresh.unwrap_or(directive);
    if operation_of(&directive, passage, admitted)?
        .is_some_and(|now| !mandate.claims().scope.contains(&now.scope))
    {
        return Err(Refusal::ScopeMissing.into());
    }
    Ok(Allowed {
        directive,
        mandate: Some((mandate, exchanged.access_token)),
        confirmed: Some(asked_at),
    })
}

fn refuse_revoked(gateway: &Gateway, token: &Verified) -> Result<(), Refused> {
    gateway
        .views
        .refuses(token)
        .map_or(Ok(()), |anchor| Err(Refused::Revoked(anchor)))
}

/// The operation that the call is, when the resource lists any.
fn operation_of<'a>(
    directive: &'a Directive,
    passage: &Passage,
    admitted: &Admitted,
) -> Result<Option<&'a Operation>, Refusal> {
    if directive.operations.is_empty() {
        return Ok(None);
    }
    let found = find(
        &directive.operations,
        passage.call.method.as_str(),
        &admitted.path,
    );
    found.map(Some).ok_or(Refusal::OperationNotAllowed)
}

/// A delegated mandate may be limited to some methods.
fn refuse_action(claims: &Claims, passage: &Passage) -> Result<(), Refusal> {
    let method = passage.call.method.as_str();
    let covered =
        claims.actions.is_empty() || claims.actions.iter().any(|action| same_method(action, method));
    if covered {
        Ok(())
    } else {
        Err(Refusal::ActionNotAllowed)
    }
}
