//! Who administers, and what the token allows. The permission is the type of a handler's argument; the order is the
//! contract's: authentication, zone, read-only, and only then whatever else the handler takes from the request.

use crate::admin_token::sha256;
use crate::app::Api;
use crate::attempt::Attempt;
use crate::change::By;
use crate::error::{Failure, Refusal};
use crate::idempotency::{self, Held, Owner, key_of};
use crate::sight::Sight;
use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest};
use caracal_domain::RequestId;
use caracal_domain::id::{AdminTokenId, ZoneId};
use caracal_storage::zones::ZoneRow;
use caracal_storage::{admin_tokens, zones};
use caracal_web::{ApiError, bearer, query};
use futures::future::LocalBoxFuture;
use futures::try_join;
use serde_json::Value;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// How long it may take to find out who asks.
const PATIENCE: Duration = Duration::from_secs(2);

/// The holder of an admin token.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    /// The token.
    pub(crate) token_id: AdminTokenId,
    /// The zone it is limited to; `None` is global.
    pub(crate) zone: Option<ZoneId>,
    /// Whether it only reads.
    pub(crate) read_only: bool,
}

impl Actor {
    pub(crate) fn name(&self) -> String {
        format!("admin-token:{}", self.token_id)
    }

    pub(crate) const fn is_global(&self) -> bool {
        self.zone.is_none()
    }
}

/// What a handler does with what it is allowed.
pub(crate) trait Access: 'static {
    /// Whether a read-only token is refused.
    const WRITES: bool;
    /// Whether a zone's own token is refused.
    const GLOBAL_ONLY: bool;
    /// Whether a zone that was archived is still there for it. Such a zone has no live token of its own.
    const ARCHIVED: bool = false;
}

/// Looks.
pub(crate) struct Read;
/// Looks at what happened, which outlives its zone.
pub(crate) struct Review;
/// Changes.
pub(crate) struct Write;
/// Changes what only the operator of the installation may.
pub(crate) struct Govern;

impl Access for Read {
    const WRITES: bool = false;
    const GLOBAL_ONLY: bool = false;
}

impl Access for Review {
    const WRITES: bool = false;
    const GLOBAL_ONLY: bool = false;
    const ARCHIVED: bool = true;
}

impl Access for Write {
    const WRITES: bool = true;
    const GLOBAL_ONLY: bool = false;
}

impl Access for Govern {
    const WRITES: bool = true;
    const GLOBAL_ONLY: bool = true;
}

/// Anybody at all; then `R` from the rest of the request.
pub(crate) struct Public<R = ()> {
    /// The idempotency key of a POST that came with one.
    pub(crate) held: Option<Arc<Held>>,
    pub(crate) rest: R,
}

/// Any live token, for what stores nothing; then `R` from the rest of the request.
pub(crate) struct Anyone<R> {
    pub(crate) actor: Actor,
    pub(crate) rest: R,
}

/// A global token that may do `A`; then `R` from the rest of the request.
pub(crate) struct Everywhere<A, R = ()> {
    pub(crate) by: By,
    pub(crate) rest: R,
    access: PhantomData<A>,
}

/// A token that may do `A` in the path's zone, which is live unless `A` does not mind; then `R` from the rest of the request.
pub(crate) struct InZone<A, R = ()> {
    pub(crate) by: By,
    pub(crate) zone: ZoneRow,
    pub(crate) rest: R,
    access: PhantomData<A>,
}

impl<A, R> InZone<A, R> {
    /// Who does it, in which zone, and the rest.
    pub(crate) fn open(self) -> (By, ZoneRow, R) {
        (self.by, self.zone, self.rest)
    }
}

impl<R: FromRequest> FromRequest for Public<R> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let (held, rest) = once(Owner::Bearer, None, &request, &mut payload).await?;
            Ok(Self { held, rest })
        })
    }
}

impl<R: FromRequest> FromRequest for Anyone<R> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let (actor, _) = authenticate(&request, None, false).await?;
            key_of(&request)?;
            let rest = rest(&request, &mut payload).await?;
            Ok(Self { actor, rest })
        })
    }
}

impl<A: Access, R: FromRequest> FromRequest for Everywhere<A, R> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let (actor, _) = authenticate(&request, None, false).await?;
            if !actor.is_global() {
                return Err(refused(Refusal::AdminTokenZoneMismatch));
            }
            check_read_only::<A>(&actor)?;
            let (by, rest) = admit::<A, R>(actor, None, &request, &mut payload).await?;
            Ok(Self {
                by,
                rest,
                access: PhantomData,
            })
        })
    }
}

impl<A: Access, R: FromRequest> FromRequest for InZone<A, R> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let asked: Option<ZoneId> = request
                .match_info()
                .get("zone_id")
                .and_then(|text| text.parse().ok());
            let (actor, zone) = authenticate(&request, asked, A::ARCHIVED).await?;
            if !actor.is_global() && (A::GLOBAL_ONLY || actor.zone != asked) {
                return Err(refused(Refusal::AdminTokenZoneMismatch));
            }
            let zone = zone.ok_or_else(|| refused(Refusal::ZoneNotFound))?;
            attempted(&request, &actor, Some(zone.id));
            check_read_only::<A>(&actor)?;
            if A::WRITES && zone.is_system && !actor.is_global() {
                return Err(refused(Refusal::SystemZoneReadOnly));
            }
            let (by, rest) = admit::<A, R>(actor, Some(zone.id), &request, &mut payload).await?;
            Ok(Self {
                by,
                zone,
                rest,
                access: PhantomData,
            })
        })
    }
}

/// Notes who asks where nothing answers, so that the record of the refusal is in the ledger it belongs to.
pub(crate) async fn identify(request: &HttpRequest) {
    let below = request.path().strip_prefix("/v1/zones/");
    let asked = below.and_then(|below| below.split('/').next()?.parse().ok());
    if let Ok((actor, Some(zone))) = authenticate(request, asked, false).await
        && (actor.is_global() || actor.zone == Some(zone.id))
    {
        attempted(request, &actor, Some(zone.id));
    }
}

/// Who asks, and the zone asked for if it is live (or `archived` does), in one round trip.
async fn authenticate(
    request: &HttpRequest,
    asked: Option<ZoneId>,
    archived: bool,
) -> Result<(Actor, Option<ZoneRow>), ApiError> {
    let api = api(request)?;
    let hash = sha256(bearer(request).ok_or_else(unauthenticated)?);
    let asking = api.read(Sight::Everything, async |conn| {
        let zone = async {
            match asked {
                Some(asked) if archived => zones::find_even_archived(conn, asked).await,
                Some(asked) => zones::find(conn, asked).await,
                None => Ok(None),
            }
        };
        try_join!(admin_tokens::find_by_hash(conn, &hash), zone)
    });
    // Two looks by key: a database that takes this long has stopped.
    let asking = tokio::time::timeout(PATIENCE, asking).await;
    let (found, zone) =
        asking.map_err(|elapsed| Failure::from(caracal_storage::Error::Unavailable(elapsed.into())))??;
    let found = found.ok_or_else(unauthenticated)?;
    let actor = Actor {
        token_id: found.id,
        zone: found.zone_id,
        read_only: found.read_only,
    };
    attempted(request, &actor, actor.zone);
    Ok((actor, zone))
}

/// Notes who tries, for the record of a refusal.
fn attempted(request: &HttpRequest, actor: &Actor, zone: Option<ZoneId>) {
    let actor = Some(actor.clone());
    let about = Value::Null;
    request.extensions_mut().insert(Attempt { actor, zone, about });
}

/// Who does it, and the rest of the request; a POST with an idempotency key goes on only if it is the first.
async fn admit<A: Access, R: FromRequest>(
    actor: Actor,
    zone: Option<ZoneId>,
    request: &HttpRequest,
    payload: &mut Payload,
) -> Result<(By, R), Error> {
    if A::WRITES && !api(request)?.ready.is_seeded() {
        // With a key of its own it would seal what nobody else can open.
        return Err(ApiError::unavailable("This replica is not ready.").into());
    }
    let by = by(actor, request)?;
    if !A::WRITES {
        key_of(request)?;
        return Ok((by, rest(request, payload).await?));
    }
    let (held, rest) = once(Owner::Actor(by.name()), zone, request, payload).await?;
    Ok((By { held, ..by }, rest))
}

/// The rest of the request, and the lease of its idempotency key if it is a POST that came with one.
async fn once<R: FromRequest>(
    owner: Owner,
    zone: Option<ZoneId>,
    request: &HttpRequest,
    payload: &mut Payload,
) -> Result<(Option<Arc<Held>>, R), Error> {
    let Some(key) = key_of(request)? else {
        return Ok((None, rest(request, payload).await?));
    };
    let (held, rest) = idempotency::admit(api(request)?, (owner, zone, key), request, payload).await?;
    Ok((Some(held), rest))
}

fn api(request: &HttpRequest) -> Result<&Data<Api>, ApiError> {
    let api = request.app_data::<Data<Api>>();
    api.ok_or_else(|| Failure::Fault("finding the API").into())
}

fn check_read_only<A: Access>(actor: &Actor) -> Result<(), Error> {
    if A::WRITES && actor.read_only {
        return Err(refused(Refusal::AdminTokenReadOnly));
    }
    Ok(())
}

/// What else the handler takes; a query that it does not look at is refused.
pub(crate) async fn rest<R: FromRequest>(request: &HttpRequest, payload: &mut Payload) -> Result<R, Error> {
    let rest = R::from_request(request, payload).await.map_err(Into::into)?;
    query::refuse_unread(request)?;
    Ok(rest)
}

fn by(actor: Actor, request: &HttpRequest) -> Result<By, Error> {
    let request_id = request.extensions().get::<RequestId>().cloned();
    let request_id = request_id.ok_or_else(|| ApiError::from(Failure::Fault("finding the request id")))?;
    Ok(By {
        actor: Some(actor),
        request_id,
        held: None,
    })
}

fn refused(refusal: Refusal) -> Error {
    ApiError::from(refusal).into()
}

fn unauthenticated() -> ApiError {
    Refusal::InvalidAdminToken.into()
}
