//! `/v1/zones/{zone}/ledger`: the ledger for those who trust nobody: its signed checkpoints, its entries as they were
//! hashed, and the proofs that an event is among them and that nothing before was changed (contract §6).

mod checkpoint;
mod key;

use crate::actor::{InZone, Public, Review};
use crate::app::Api;
use crate::error::{Failure, Refusal};
use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::web::{Data, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use caracal_chain::{Hash, Plan};
use caracal_domain::id::{EventId, ZoneId};
use caracal_storage::audit::{self, LedgerEntry};
use caracal_web::{ApiError, QueryParams};
pub(crate) use checkpoint::Signed;
pub(crate) use key::Signer;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// How many entries are shown at once, and how many are read at once.
const MOST_ENTRIES: usize = 1000;
const CHUNK: i64 = 100;
/// No more entries are added to an answer that has so many bytes.
const ENOUGH_BYTES: usize = 4 << 20;

/// The keys that sign checkpoints.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LedgerKeys {
    /// Verifier keys (C2SP signed-note): the one that signs, then those that did.
    keys: Vec<String>,
}

/// Lists the keys that sign ledgers.
///
/// What the checkpoints of every zone are verified with, as verifier keys of signed notes.
#[utoipa::path(
    get, path = "/.well-known/caracal-ledger-keys",
    security(()),
    responses((status = 200, body = LedgerKeys))
)]
pub(crate) async fn keys(api: Data<Api>, _: Public) -> Result<HttpResponse, ApiError> {
    let keys = api.ledger_signer().await?.published();
    let known = (CACHE_CONTROL, "public, max-age=300");
    Ok(HttpResponse::Ok().insert_header(known).json(LedgerKeys { keys }))
}

/// Shows the signed checkpoint.
///
/// How far the ledger has come and the root of its tree, as a note signed now or before (C2SP tlog-checkpoint). It is
/// signed only when it follows from the last one that was.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/ledger/checkpoint",
    params(("zone_id" = Uuid, Path)),
    responses((status = 200, body = String, content_type = "text/plain"))
)]
pub(crate) async fn checkpoint(api: Data<Api>, request: InZone<Review>) -> Result<HttpResponse, ApiError> {
    let Signed { note, .. } = api.checkpoint(request.zone.id).await?;
    let now = (CACHE_CONTROL, "no-store");
    Ok(HttpResponse::Ok()
        .content_type(ContentType::plaintext())
        .insert_header(now)
        .body(note))
}

/// The parameters of `GET …/ledger/entries`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntriesQuery {
    /// The first; the ledger's first is 1.
    #[param(minimum = 1, default = 1)]
    from: Option<i64>,
    /// The last; without it the ledger's last.
    #[param(minimum = 1)]
    to: Option<i64>,
}

/// Entries in order of the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Entries {
    entries: Vec<Entry>,
    /// Where to go on; null when nothing is left of what was asked for.
    next: Option<i64>,
}

/// An entry: what was hashed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Entry {
    /// Its place, from 1.
    seq: i64,
    id: Uuid,
    /// The event's canonical bytes (JSON), in base64.
    bytes: String,
}

/// Lists entries as they were hashed.
///
/// The events from one place to another, up to a thousand at once.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/ledger/entries",
    params(("zone_id" = Uuid, Path), EntriesQuery),
    responses((status = 200, body = Entries))
)]
pub(crate) async fn entries(
    api: Data<Api>,
    request: InZone<Review, QueryParams<EntriesQuery>>,
) -> Result<Json<Entries>, ApiError> {
    let QueryParams(query) = request.rest;
    let from = query.from.unwrap_or(1);
    if from < 1 || query.to.is_some_and(|to| to < from) {
        return Err(ApiError::invalid_query(
            "from is at least 1, and to at least from",
        ));
    }
    Ok(Json(api.entries(request.zone.id, from, query.to).await?))
}

/// The parameters of `GET …/ledger/proof/inclusion`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct InclusionQuery {
    /// The event.
    #[param(value_type = Uuid)]
    id: EventId,
}

/// That an event is in the ledger (RFC 6962 §2.1.1); hashes in base64.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InclusionProof {
    id: Uuid,
    /// Its place, from 1.
    seq: i64,
    /// The same as the tree counts, from 0.
    leaf_index: u64,
    /// SHA-256(0x00 ‖ canonical bytes).
    leaf_hash: String,
    tree_size: u64,
    root_hash: String,
    /// From the leaf to the root.
    audit_path: Vec<String>,
    /// The signed note of that size and root.
    checkpoint: String,
}

/// Proves that an event is in the ledger.
///
/// Against a checkpoint that comes with the proof.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/ledger/proof/inclusion",
    params(("zone_id" = Uuid, Path), InclusionQuery),
    responses((status = 200, body = InclusionProof))
)]
pub(crate) async fn inclusion(
    api: Data<Api>,
    request: InZone<Review, QueryParams<InclusionQuery>>,
) -> Result<Json<InclusionProof>, ApiError> {
    let QueryParams(InclusionQuery { id }) = request.rest;
    Ok(Json(api.prove_inclusion(request.zone.id, id).await?))
}

/// The parameters of `GET …/ledger/proof/consistency`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsistencyQuery {
    /// The size of the earlier tree.
    from: u64,
    /// The size of the later tree; without it that of the checkpoint which then comes with the proof.
    to: Option<u64>,
}

/// That a later ledger only added to an earlier one (RFC 6962 §2.1.2); hashes in base64.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConsistencyProof {
    from: u64,
    to: u64,
    consistency: Vec<String>,
    /// The last signed note, where the proof leads to it.
    checkpoint: Option<String>,
}

/// Proves that the ledger only grew.
///
/// Between two sizes nothing was changed and nothing taken away.
#[utoipa::path(
    get, path = "/v1/zones/{zone_id}/ledger/proof/consistency",
    params(("zone_id" = Uuid, Path), ConsistencyQuery),
    responses((status = 200, body = ConsistencyProof))
)]
pub(crate) async fn consistency(
    api: Data<Api>,
    request: InZone<Review, QueryParams<ConsistencyQuery>>,
) -> Result<Json<ConsistencyProof>, ApiError> {
    let (QueryParams(ConsistencyQuery { from, to }), zone) = (request.rest, request.zone.id);
    let Signed { checkpoint, note } = api.checkpoint(zone).await?;
    let to = to.unwrap_or(checkpoint.size);
    let plan = Plan::consistency(from, to).filter(|_| to <= checkpoint.size);
    let Some(plan) = plan else {
        return Err(ApiError::invalid_query(
            "from is at most to, and to at most the ledger's size",
        ));
    };
    let consistency = encoded(&api.hashes_of(zone, &plan).await?);
    let checkpoint = (to == checkpoint.size).then_some(note);
    Ok(Json(ConsistencyProof {
        from,
        to,
        consistency,
        checkpoint,
    }))
}

impl Api {
    async fn entries(&self, zone: ZoneId, from: i64, to: Option<i64>) -> Result<Entries, Failure> {
        let mut conn = self.database.acquire(zone).await?;
        let head = audit::head(&mut conn, zone).await?;
        let last = to.map_or(head, |to| to.min(head));
        let (mut entries, mut bytes, mut next) = (Vec::new(), 0, from);
        while next <= last && entries.len() < MOST_ENTRIES && bytes < ENOUGH_BYTES {
            let until = last.min(next.saturating_add(CHUNK - 1));
            let rows = audit::entries(&mut conn, zone, next, until).await?;
            bytes += rows.iter().map(|row| row.canonical.len()).sum::<usize>();
            entries.extend(rows.iter().map(Entry::from));
            next = until.saturating_add(1);
        }
        let next = (next <= last).then_some(next);
        Ok(Entries { entries, next })
    }

    async fn prove_inclusion(&self, zone: ZoneId, event: EventId) -> Result<InclusionProof, Failure> {
        let place = self.read(zone, async |conn| audit::place(conn, zone, event).await);
        let (seq, leaf_hash) = place.await?.ok_or(Refusal::EventNotFound)?;
        // After the event was seen in the ledger, so it is in this one.
        let Signed { checkpoint, note } = self.checkpoint(zone).await?;
        let leaf_index = u64::try_from(seq - 1).map_err(|_| Failure::Fault("a place in the ledger"))?;
        let plan = Plan::inclusion(leaf_index, checkpoint.size);
        let plan = plan.ok_or(Failure::Fault("an event beyond the ledger's end"))?;
        Ok(InclusionProof {
            id: event.into(),
            seq,
            leaf_index,
            leaf_hash: STANDARD.encode(leaf_hash),
            tree_size: checkpoint.size,
            root_hash: STANDARD.encode(checkpoint.root),
            audit_path: encoded(&self.hashes_of(zone, &plan).await?),
            checkpoint: note,
        })
    }

    /// The hashes a proof consists of.
    async fn hashes_of(&self, zone: ZoneId, plan: &Plan) -> Result<Vec<Hash>, Failure> {
        let places = plan.places();
        let nodes = self.read(zone, async |conn| audit::nodes(conn, zone, &places).await);
        let hashes = plan.hashes(&nodes.await?);
        hashes.ok_or(Failure::Fault("a node of a ledger's tree is missing"))
    }
}

impl From<&LedgerEntry> for Entry {
    fn from(row: &LedgerEntry) -> Self {
        Self {
            seq: row.seq,
            id: row.id.into(),
            bytes: STANDARD.encode(&row.canonical),
        }
    }
}

fn encoded(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| STANDARD.encode(hash)).collect()
}
