//! One consistent picture of a zone, and the slow poll that says which pictures are old.

use crate::Conn;
use crate::anchors;
use crate::database::limit_to;
use crate::error::{Error, Result};
use crate::schema::{
    policy_module_successors, policy_set_manifest, policy_set_versions, policy_versions, zone_activations,
};
use crate::{applications, keys, providers, resources, subject_issuers, zones};
use caracal_domain::Epoch;
use caracal_domain::id::{PolicySetVersionId, ZoneId};
use caracal_domain::zone::{Manifest, ManifestEntry, ZoneSnapshot};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text, Uuid as SqlUuid};
use diesel_async::{AnsiTransactionManager, RunQueryDsl, TransactionManager};
use futures::try_join;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// Reads the zone in one READ ONLY transaction under REPEATABLE READ that sees this zone alone: every part shows the same
/// moment. `None` when
/// there is no such zone or it is archived. Not to be called inside a transaction.
///
/// # Errors
/// [`Error::Unavailable`] when the database cannot be read, [`Error::Corrupt`] when a row makes no sense.
pub async fn load(conn: &mut Conn, zone: ZoneId) -> Result<Option<ZoneSnapshot>> {
    let opening = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {}",
        limit_to(zone)
    );
    AnsiTransactionManager::begin_transaction_sql(conn, &opening).await?;
    let read = read(zone, conn).await;
    // Nothing was written: ending the transaction either way only gives the picture up.
    let ended = AnsiTransactionManager::rollback_transaction(conn).await;
    let snapshot = read?;
    ended?;
    Ok(snapshot)
}

/// All queries at once: they are pipelined on the one connection, so the zone costs about one round trip.
async fn read(zone: ZoneId, conn: &Conn) -> Result<Option<ZoneSnapshot>> {
    let (row, dek, keys, applications, resources, providers, subject_issuers, manifests, anchors) = try_join!(
        zones::find(conn, zone),
        keys::latest_dek(zone, conn),
        keys::published(zone, conn),
        applications::live(zone, conn),
        resources::live(zone, conn),
        providers::live(zone, conn),
        subject_issuers::live(zone, conn),
        find_manifests(zone, conn),
        anchors::live_set(zone, conn),
    )?;
    let Some(row) = row else { return Ok(None) };
    let (active, shadow) = manifests;
    let (keys, retiring) = keys;
    Ok(Some(ZoneSnapshot {
        id: row.id,
        slug: row.slug,
        epoch: row.epoch,
        mint_rate_per_minute: row
            .mint_rate_per_minute
            .try_into()
            .map_err(|_| Error::Corrupt("mint rate"))?,
        sealed_dek: dek.ok_or(Error::NotFound("zone key"))?,
        keys,
        retiring,
        applications,
        resources,
        providers,
        subject_issuers,
        active,
        shadow,
        anchors,
    }))
}

/// The active and the shadow manifest.
type Manifests = (Option<Arc<Manifest>>, Option<Arc<Manifest>>);

async fn find_manifests(zone: ZoneId, mut conn: &Conn) -> Result<Manifests> {
    let version = policy_set_versions::zone_id.eq(zone_activations::zone_id).and(
        policy_set_versions::id
            .eq(zone_activations::active_version_id)
            .or(policy_set_versions::id
                .nullable()
                .eq(zone_activations::shadow_version_id)),
    );
    let line = policy_set_manifest::zone_id
        .eq(policy_set_versions::zone_id)
        .and(policy_set_manifest::policy_set_version_id.eq(policy_set_versions::id));
    let policy = policy_versions::zone_id
        .eq(policy_set_manifest::zone_id)
        .and(policy_versions::id.eq(policy_set_manifest::policy_version_id));
    let newer = policy_module_successors::module.eq(policy_versions::module);
    let lines = zone_activations::table
        .inner_join(policy_set_versions::table.on(version))
        .inner_join(policy_set_manifest::table.on(line))
        .inner_join(policy_versions::table.on(policy))
        .left_join(policy_module_successors::table.on(newer))
        .filter(zone_activations::zone_id.eq(Uuid::from(zone)))
        .order(policy_set_manifest::position)
        .select((
            (
                zone_activations::active_version_id,
                zone_activations::shadow_version_id,
            ),
            (
                policy_set_versions::policy_set_id,
                policy_set_versions::id,
                policy_set_versions::manifest_sha256,
            ),
            (
                policy_versions::id,
                policy_versions::module,
                policy_module_successors::successor.nullable(),
            ),
        ));
    let lines: Vec<ManifestLine> = lines.load(&mut conn).await?;
    Ok(assemble(lines))
}

/// (active, shadow), (set, version, hash), (policy version, module, the module a newer compiler made of it).
type ManifestLine = (
    (Uuid, Option<Uuid>),
    (Uuid, Uuid, String),
    (Uuid, String, Option<String>),
);

fn assemble(lines: Vec<ManifestLine>) -> Manifests {
    let Some(&((active, shadow), _, _)) = lines.as_slice().first() else {
        return (None, None);
    };
    let mut manifests: HashMap<PolicySetVersionId, Manifest> = HashMap::new();
    for (_, (set, version, sha256), (policy_version, module, newer)) in lines {
        let manifest = manifests.entry(version.into()).or_insert_with(|| Manifest {
            policy_set_id: set.into(),
            version_id: version.into(),
            sha256,
            policies: Vec::new(),
        });
        manifest.policies.push(ManifestEntry {
            policy_version_id: policy_version.into(),
            module: newer.unwrap_or(module),
        });
    }
    let manifests: HashMap<_, _> = manifests
        .into_iter()
        .map(|(id, manifest)| (id, Arc::new(manifest)))
        .collect();
    let named = |id: Uuid| manifests.get(&PolicySetVersionId::from(id)).cloned();
    (named(active), shadow.and_then(named))
}

/// A moment in the database's history, below which every transaction has ended. Whoever read at a horizon and asks for
/// what changed since misses nothing, however late a transaction commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Horizon(String);

impl Horizon {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The horizon now.
///
/// # Errors
/// When the database cannot be read.
pub async fn horizon(conn: &mut Conn) -> Result<Horizon> {
    let xmin = diesel::dsl::sql::<Text>("pg_snapshot_xmin(pg_current_snapshot())::text");
    Ok(Horizon(diesel::select(xmin).get_result(conn).await?))
}

/// Zones whose epoch moved since a [`Horizon`].
#[derive(Debug, Clone)]
pub struct EpochChanges {
    /// Where to go on from.
    pub horizon: Horizon,
    /// Each zone, its epoch now, and whether it is archived; some may have been seen before.
    pub zones: Vec<(ZoneId, Epoch, bool)>,
}

/// Which zones changed since the horizon; every zone there is without one. The slow poll that heals what the feed lost.
///
/// # Errors
/// When the database cannot be read.
pub async fn epochs_since(conn: &mut Conn, since: Option<&Horizon>) -> Result<EpochChanges> {
    #[derive(QueryableByName)]
    struct Changed {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = BigInt)]
        epoch: i64,
        #[diesel(sql_type = Bool)]
        archived: bool,
    }
    // Taken first: what commits between the two statements is seen twice rather than never.
    let horizon = horizon(conn).await?;
    let query = diesel::sql_query(include_str!("snapshot/epochs_since.sql"));
    let rows: Vec<Changed> = query
        .bind::<Text, _>(since.map_or("0", Horizon::as_str))
        .load(conn)
        .await?;
    let zones = rows
        .into_iter()
        .map(|row| (row.id.into(), row.epoch.into(), row.archived))
        .collect();
    Ok(EpochChanges { horizon, zones })
}
