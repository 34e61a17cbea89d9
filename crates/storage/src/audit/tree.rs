//! The Merkle tree over a zone's ledger as it is kept: the leaves beside the events' ids, the nodes of every eighth level
//! above, the right edge with the head.

use crate::Conn;
use crate::error::{Error, Result};
use crate::kept::Kept;
use crate::schema::{audit_event_ids, audit_heads, audit_tree_nodes};
use caracal_chain::{Frontier, Hash, Node, Place};
use caracal_domain::id::{EventId, ZoneId};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, SmallInt, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What appending made of a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Growth {
    /// Its right edge.
    pub frontier: Frontier,
    /// The nodes that came about.
    pub nodes: Vec<Node>,
}

/// The right edge of the zone's tree; of a ledger without events an empty one. `None`: it is not grown yet.
///
/// # Errors
/// When the database cannot be read, or what it holds is no such edge.
pub async fn frontier(conn: &mut Conn, zone: ZoneId) -> Result<Option<Frontier>> {
    let head = audit_heads::table.find(Uuid::from(zone));
    let row: Option<(i64, Option<Vec<u8>>)> = head
        .select((audit_heads::seq, audit_heads::frontier))
        .first(conn)
        .await
        .optional()?;
    match row {
        None => Ok(Some(Frontier::default())),
        Some((_, None)) => Ok(None),
        Some((seq, Some(bytes))) => read(seq, &bytes).map(Some),
    }
}

pub(super) fn read(seq: i64, bytes: &[u8]) -> Result<Frontier> {
    let size = u64::try_from(seq).ok();
    size.and_then(|size| Frontier::from_bytes(size, bytes))
        .ok_or(Error::Corrupt("right edge of a ledger's tree"))
}

/// The hashes of the nodes at these places; what is not there is missing in the answer.
///
/// # Errors
/// When the database cannot be read.
pub async fn nodes(conn: &mut Conn, zone: ZoneId, places: &BTreeSet<Place>) -> Result<BTreeMap<Place, Hash>> {
    let (mut leaves, mut levels, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    for place in places {
        let position = i64::try_from(place.index).map_err(|_| Error::NotFound("node of a ledger's tree"))?;
        if place.level == 0 {
            leaves.push(position);
        } else {
            levels.push(i16::from(place.level));
            positions.push(position);
        }
    }
    let mut found = Vec::with_capacity(places.len());
    if !leaves.is_empty() {
        let query = diesel::sql_query(include_str!("leaves.sql"))
            .bind::<SqlUuid, _>(Uuid::from(zone))
            .bind::<Array<BigInt>, _>(leaves);
        found.extend(Kept(query).load::<FoundNode>(conn).await?);
    }
    if !levels.is_empty() {
        let query = diesel::sql_query(include_str!("nodes.sql"))
            .bind::<SqlUuid, _>(Uuid::from(zone))
            .bind::<Array<SmallInt>, _>(levels)
            .bind::<Array<BigInt>, _>(positions);
        found.extend(Kept(query).load::<FoundNode>(conn).await?);
    }
    found.into_iter().map(<(Place, Hash)>::try_from).collect()
}

#[derive(QueryableByName)]
struct FoundNode {
    #[diesel(sql_type = SmallInt)]
    level: i16,
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Binary)]
    hash: Vec<u8>,
}

impl TryFrom<FoundNode> for (Place, Hash) {
    type Error = Error;

    fn try_from(
        FoundNode {
            level,
            position,
            hash,
        }: FoundNode,
    ) -> Result<Self> {
        let corrupt = |_| Error::Corrupt("node of a ledger's tree");
        let place = Place {
            level: u8::try_from(level).map_err(corrupt)?,
            index: u64::try_from(position).map_err(corrupt)?,
        };
        Ok((place, to_hash(hash)?))
    }
}

/// Where an event stands, from 1, and its leaf.
///
/// # Errors
/// When the database cannot be read.
pub async fn place(conn: &mut Conn, zone: ZoneId, event: EventId) -> Result<Option<(i64, Hash)>> {
    let row = audit_event_ids::table.find((Uuid::from(zone), Uuid::from(event)));
    let found: Option<(i64, Vec<u8>)> = row
        .select((audit_event_ids::seq, audit_event_ids::leaf_hash))
        .first(conn)
        .await
        .optional()?;
    found.map(|(seq, hash)| Ok((seq, to_hash(hash)?))).transpose()
}

/// The first `limit` leaves beyond the event `seq`, in order.
///
/// # Errors
/// When the database cannot be read.
pub async fn leaf_hashes(conn: &mut Conn, zone: ZoneId, seq: i64, limit: i64) -> Result<Vec<Hash>> {
    let of_zone = audit_event_ids::table.filter(audit_event_ids::zone_id.eq(Uuid::from(zone)));
    let beyond = of_zone
        .filter(audit_event_ids::seq.gt(seq))
        .order(audit_event_ids::seq);
    let rows: Vec<Vec<u8>> = beyond
        .limit(limit)
        .select(audit_event_ids::leaf_hash)
        .load(conn)
        .await?;
    rows.into_iter().map(to_hash).collect()
}

/// The zones whose chain is older than trees.
///
/// # Errors
/// When the database cannot be read.
pub async fn without_tree(conn: &mut Conn) -> Result<Vec<ZoneId>> {
    let bare = audit_heads::table.filter(audit_heads::frontier.is_null());
    let zones: Vec<Uuid> = bare.select(audit_heads::zone_id).load(conn).await?;
    Ok(zones.into_iter().map(ZoneId::from).collect())
}

/// Keeps the tree of a chain that had none. The caller holds the head's lock and has grown it from all of its leaves.
///
/// # Errors
/// When the database cannot be written.
pub async fn graft(conn: &mut Conn, zone: ZoneId, growth: &Growth) -> Result<()> {
    insert_nodes(conn, zone, &growth.nodes).await?;
    let head = audit_heads::table.find(Uuid::from(zone));
    let grown = audit_heads::frontier.eq(growth.frontier.to_bytes());
    Kept(diesel::update(head).set(grown)).execute(conn).await?;
    Ok(())
}

pub(super) async fn insert_nodes(conn: &mut Conn, zone: ZoneId, nodes: &[Node]) -> Result<()> {
    // PostgreSQL takes 65,535 parameters a statement.
    for some in nodes.chunks(10_000) {
        let row = |node: &Node| {
            let position = i64::try_from(node.place.index).map_err(|_| Error::Corrupt("ledger's tree"))?;
            Ok((
                audit_tree_nodes::zone_id.eq(Uuid::from(zone)),
                audit_tree_nodes::level.eq(i16::from(node.place.level)),
                audit_tree_nodes::position.eq(position),
                audit_tree_nodes::hash.eq(node.hash.to_vec()),
            ))
        };
        let rows = some.iter().map(row).collect::<Result<Vec<_>>>()?;
        diesel::insert_into(audit_tree_nodes::table)
            .values(rows)
            .execute(conn)
            .await?;
    }
    Ok(())
}

fn to_hash(bytes: Vec<u8>) -> Result<Hash> {
    bytes
        .try_into()
        .map_err(|_| Error::Corrupt("hash in a ledger's tree"))
}
