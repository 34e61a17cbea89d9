//! What each replica of the STS has loaded: the answer to "has my activation arrived everywhere?".

use crate::Conn;
use crate::error::Result;
use crate::schema::activation_loads;
use caracal_domain::id::{PolicySetVersionId, ZoneId};
use caracal_domain::{Epoch, Timestamp};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// One replica's last load of a zone's active version.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = activation_loads)]
pub struct LoadRow {
    /// The replica.
    pub instance: String,
    /// The version it loaded, or could not.
    #[diesel(deserialize_as = Uuid)]
    pub version_id: PolicySetVersionId,
    /// The zone's epoch it stood at.
    #[diesel(deserialize_as = i64)]
    pub epoch: Epoch,
    /// Why it could not; `None` when it did.
    pub detail: Option<String>,
    /// When.
    pub loaded_at: Timestamp,
}

/// What a replica reports.
#[derive(Debug, Clone)]
pub struct Load {
    /// The zone.
    pub zone_id: ZoneId,
    /// The replica.
    pub instance: String,
    /// The version it loaded, or could not.
    pub version_id: PolicySetVersionId,
    /// The zone's epoch it stands at.
    pub epoch: Epoch,
    /// Why it could not; `None` when it did.
    pub failure: Option<String>,
}

/// Replaces what the replica last reported for the zone, unless that is newer.
///
/// # Errors
/// When the database cannot be written.
pub async fn record(conn: &mut Conn, load: &Load) -> Result<()> {
    let values = (
        activation_loads::version_id.eq(Uuid::from(load.version_id)),
        activation_loads::epoch.eq(load.epoch.get()),
        activation_loads::status.eq(if load.failure.is_some() {
            "failed"
        } else {
            "loaded"
        }),
        activation_loads::detail.eq(&load.failure),
        activation_loads::loaded_at.eq(diesel::dsl::now),
    );
    let replica = (
        activation_loads::zone_id.eq(Uuid::from(load.zone_id)),
        activation_loads::instance.eq(&load.instance),
    );
    let put = diesel::insert_into(activation_loads::table)
        .values((replica, values))
        .on_conflict((activation_loads::zone_id, activation_loads::instance))
        .do_update()
        .set(values);
    let older = activation_loads::epoch.le(load.epoch.get());
    diesel::query_dsl::methods::FilterDsl::filter(put, older)
        .execute(conn)
        .await?;
    Ok(())
}

/// What every replica last reported for the zone, latest first.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(conn: &mut Conn, zone: ZoneId) -> Result<Vec<LoadRow>> {
    let of_zone = activation_loads::table.filter(activation_loads::zone_id.eq(Uuid::from(zone)));
    Ok(of_zone
        .order(activation_loads::loaded_at.desc())
        .select(LoadRow::as_select())
        .load(conn)
        .await?)
}
