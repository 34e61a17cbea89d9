//! The negative list of every zone.

use crate::Conn;
use crate::column::Named;
use crate::error::{Error, Result};
use crate::schema::{anchors, zones};
use crate::snapshot::{Horizon, horizon};
use caracal_domain::anchor::{Anchor, AnchorKind, AnchorSet};
use caracal_domain::id::ZoneId;
use caracal_domain::{Epoch, Timestamp};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// What was added to any zone's list since a [`Horizon`].
#[derive(Debug, Clone)]
pub struct AnchorChanges {
    /// Where to go on from.
    pub horizon: Horizon,
    /// What was added, in no particular order; some may have been seen before.
    pub anchors: Vec<(ZoneId, Anchor)>,
}

#[derive(Queryable, Selectable, QueryableByName)]
#[diesel(table_name = anchors)]
struct AnchorRow {
    zone_id: Uuid,
    kind: String,
    value: String,
    epoch: i64,
    expires_at: Timestamp,
}

impl TryFrom<AnchorRow> for Anchor {
    type Error = Error;

    fn try_from(row: AnchorRow) -> Result<Self> {
        let kind = AnchorKind::parse(&row.kind).ok_or(Error::Corrupt("anchor kind"))?;
        Ok(Self {
            kind,
            value: row.value,
            epoch: row.epoch.into(),
            expires_at: row.expires_at,
        })
    }
}

/// Adds an anchor; of two with the same name the later epoch and the later expiry hold.
///
/// # Errors
/// When the database cannot be written.
pub async fn insert(conn: &mut Conn, zone: ZoneId, anchor: &Anchor) -> Result<()> {
    diesel::sql_query(include_str!("anchors/insert.sql"))
        .bind::<SqlUuid, _>(Uuid::from(zone))
        .bind::<Text, _>(anchor.kind.name())
        .bind::<Text, _>(&anchor.value)
        .bind::<BigInt, _>(anchor.epoch.get())
        .bind::<Timestamptz, _>(anchor.expires_at)
        .execute(conn)
        .await?;
    Ok(())
}

/// Whether the zone's list names this already.
///
/// # Errors
/// When the database cannot be read.
pub async fn holds(conn: &mut Conn, zone: ZoneId, kind: AnchorKind, value: &str) -> Result<bool> {
    let named = anchors::table
        .filter(anchors::zone_id.eq(Uuid::from(zone)))
        .filter(anchors::kind.eq(kind.name()))
        .filter(anchors::value.eq(value));
    Ok(diesel::select(diesel::dsl::exists(named))
        .get_result(conn)
        .await?)
}

/// The zone's list now.
///
/// # Errors
/// When the database cannot be read.
pub async fn live(conn: &mut Conn, zone: ZoneId) -> Result<Vec<Anchor>> {
    load(zone, conn)
        .await?
        .into_iter()
        .map(Anchor::try_from)
        .collect()
}

pub(crate) async fn live_set(zone: ZoneId, conn: &Conn) -> Result<AnchorSet> {
    let mut set = AnchorSet::default();
    for row in load(zone, conn).await? {
        set.insert(row.try_into()?);
    }
    Ok(set)
}

async fn load(zone: ZoneId, mut conn: &Conn) -> Result<Vec<AnchorRow>> {
    let of_zone = anchors::table.filter(anchors::zone_id.eq(Uuid::from(zone)));
    let live = of_zone
        .filter(anchors::expires_at.gt(diesel::dsl::now))
        .select(AnchorRow::as_select());
    Ok(live.load(&mut conn).await?)
}

/// Every zone's list now, each anchor with its zone and that zone's epoch; archived zones too, since their tokens
/// must still be refused.
///
/// # Errors
/// When the database cannot be read.
pub async fn live_all(conn: &mut Conn) -> Result<Vec<(ZoneId, Epoch, Anchor)>> {
    let live = anchors::table
        .inner_join(zones::table.on(zones::id.eq(anchors::zone_id)))
        .filter(anchors::expires_at.gt(diesel::dsl::now))
        .select((zones::epoch, AnchorRow::as_select()));
    let rows: Vec<(i64, AnchorRow)> = live.load(conn).await?;
    rows.into_iter()
        .map(|(epoch, row)| Ok((row.zone_id.into(), epoch.into(), row.try_into()?)))
        .collect()
}

/// What was added since the horizon; nothing that commits late is ever missed.
///
/// # Errors
/// When the database cannot be read.
pub async fn changed_since(conn: &mut Conn, since: &Horizon) -> Result<AnchorChanges> {
    let horizon = horizon(conn).await?;
    let query = diesel::sql_query(include_str!("anchors/changed_since.sql")).bind::<Text, _>(since.as_str());
    let rows: Vec<AnchorRow> = query.load(conn).await?;
    let anchors = rows
        .into_iter()
        .map(|row| Ok((row.zone_id.into(), row.try_into()?)))
        .collect::<Result<_>>()?;
    Ok(AnchorChanges { horizon, anchors })
}
