//! Delegation edges: what a decision reads of them, and what the coordinator writes.

use crate::Conn;
use crate::agents;
use crate::column::Optional;
use crate::error::{Error, Result};
use crate::schema::{delegation_edges, delegation_graphs};
use caracal_domain::delegation::{Bounds, Constraints, Edge, Lineage};
use caracal_domain::id::{AgentSessionId, ApplicationId, DelegationEdgeId, ResourceId, ZoneId};
use caracal_domain::{Scope, Timestamp};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = delegation_edges)]
struct EdgeRow {
    #[diesel(deserialize_as = Uuid)]
    id: DelegationEdgeId,
    #[diesel(deserialize_as = Uuid)]
    source_session_id: AgentSessionId,
    #[diesel(deserialize_as = Uuid)]
    target_session_id: AgentSessionId,
    #[diesel(deserialize_as = Uuid)]
    issuer_application_id: ApplicationId,
    #[diesel(deserialize_as = Uuid)]
    receiver_application_id: ApplicationId,
    #[diesel(deserialize_as = Optional<ResourceId>)]
    resource_id: Option<ResourceId>,
    #[diesel(deserialize_as = Optional<DelegationEdgeId>)]
    parent_edge_id: Option<DelegationEdgeId>,
    path: Vec<Uuid>,
    scopes: Vec<String>,
    constraints_json: Value,
    max_hops: i32,
    edge_version: i64,
    graph_epoch: i64,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
}

impl TryFrom<EdgeRow> for Edge {
    type Error = Error;

    fn try_from(row: EdgeRow) -> Result<Self> {
        let corrupt = |_| Error::Corrupt("delegation edge");
        let constraints: Constraints = serde_json::from_value(row.constraints_json.clone())
            .map_err(|_| Error::Corrupt("delegation constraint"))?;
        let scopes = row.scopes.iter().map(|scope| scope.parse::<Scope>());
        let bounds = Bounds {
            scopes: scopes
                .collect::<std::result::Result<_, _>>()
                .map_err(|_| Error::Corrupt("delegated scope"))?,
            resource_id: row.resource_id,
            resources: constraints.resources,
            actions: constraints.actions,
            // Both are written; should they ever differ, the earlier one holds.
            expires_at: constraints
                .expires_at
                .map_or(row.expires_at, |end| end.min(row.expires_at)),
            ttl_seconds: constraints.ttl_seconds,
            max_hops: u8::try_from(row.max_hops).map_err(corrupt)?,
            budget: constraints.budget,
        };
        Ok(Self {
            id: row.id,
            source_session_id: row.source_session_id,
            target_session_id: row.target_session_id,
            issuer_application_id: row.issuer_application_id,
            receiver_application_id: row.receiver_application_id,
            parent_edge_id: row.parent_edge_id,
            path: row.path.into_iter().map(DelegationEdgeId::from).collect(),
            bounds,
            constraints_json: row.constraints_json,
            edge_version: row.edge_version,
            graph_epoch: row.graph_epoch,
            revoked: row.revoked_at.is_some(),
        })
    }
}

/// Adds an edge.
///
/// # Errors
/// [`Error::Conflict`] with the constraint that refuses it, [`Error::Corrupt`] when its bounds cannot be written.
pub async fn insert(conn: &mut Conn, zone: ZoneId, edge: &Edge) -> Result<()> {
    let bounds = &edge.bounds;
    let scopes: Vec<&str> = bounds.scopes.iter().map(Scope::as_str).collect();
    let path: Vec<Uuid> = edge.path.iter().copied().map(Uuid::from).collect();
    let constraints = Constraints {
        max_hops: Some(bounds.max_hops),
        ttl_seconds: bounds.ttl_seconds,
        budget: bounds.budget,
        resources: bounds.resources.clone(),
        actions: bounds.actions.clone(),
        expires_at: Some(bounds.expires_at),
    };
    let constraints =
        serde_json::to_value(constraints).map_err(|_| Error::Corrupt("delegation constraint"))?;
    let values = (
        (
            delegation_edges::zone_id.eq(Uuid::from(zone)),
            delegation_edges::id.eq(Uuid::from(edge.id)),
            delegation_edges::source_session_id.eq(Uuid::from(edge.source_session_id)),
            delegation_edges::target_session_id.eq(Uuid::from(edge.target_session_id)),
            delegation_edges::issuer_application_id.eq(Uuid::from(edge.issuer_application_id)),
            delegation_edges::receiver_application_id.eq(Uuid::from(edge.receiver_application_id)),
            delegation_edges::resource_id.eq(bounds.resource_id.map(Uuid::from)),
            delegation_edges::parent_edge_id.eq(edge.parent_edge_id.map(Uuid::from)),
        ),
        (
            delegation_edges::path.eq(path),
            delegation_edges::scopes.eq(scopes),
            delegation_edges::constraints_json.eq(constraints),
            delegation_edges::max_hops.eq(i32::from(bounds.max_hops)),
            delegation_edges::edge_version.eq(edge.edge_version),
            delegation_edges::graph_epoch.eq(edge.graph_epoch),
            delegation_edges::expires_at.eq(bounds.expires_at),
        ),
    );
    diesel::insert_into(delegation_edges::table)
        .values(values)
        .execute(conn)
        .await?;
    Ok(())
}

/// The edge, whatever its state.
///
/// # Errors
/// When the database cannot be read, [`Error::Corrupt`] when the row makes no sense.
pub async fn find(conn: &mut Conn, zone: ZoneId, id: DelegationEdgeId) -> Result<Option<Edge>> {
    let row = delegation_edges::table.find((Uuid::from(zone), Uuid::from(id)));
    let row: Option<EdgeRow> = row.select(EdgeRow::as_select()).first(conn).await.optional()?;
    row.map(Edge::try_from).transpose()
}

/// The edge with everything above it and every agent on the way, as one moment shows them as far as refusing goes:
/// what ends after its row was read draws an epoch, and whoever keeps this compares epochs. `None`: no such edge.
///
/// # Errors
/// When the database cannot be read, [`Error::Corrupt`] when a row makes no sense.
pub async fn lineage(conn: &mut Conn, zone: ZoneId, id: DelegationEdgeId) -> Result<Option<Lineage>> {
    let Some(leaf) = find(conn, zone, id).await? else {
        return Ok(None);
    };
    let path: Vec<Uuid> = leaf.path.iter().copied().map(Uuid::from).collect();
    let rows: Vec<EdgeRow> = delegation_edges::table
        .filter(delegation_edges::zone_id.eq(Uuid::from(zone)))
        .filter(delegation_edges::id.eq_any(path))
        .select(EdgeRow::as_select())
        .load(conn)
        .await?;
    let mut edges = rows.into_iter().map(Edge::try_from).collect::<Result<Vec<_>>>()?;
    edges.sort_by_key(|edge| edge.path.len());
    let ends: Vec<AgentSessionId> = edges
        .iter()
        .flat_map(|edge| [edge.source_session_id, edge.target_session_id])
        .collect();
    let agents = agents::find_all(conn, zone, &ends).await?;
    Ok(Some(Lineage {
        graph_epoch: graph_epoch(conn, zone).await?,
        agents: agents.into_iter().map(|agent| (agent.id, agent)).collect(),
        edges,
    }))
}

/// The epoch of the zone's delegation graph; zero before its first change.
///
/// # Errors
/// When the database cannot be read.
pub async fn graph_epoch(conn: &mut Conn, zone: ZoneId) -> Result<i64> {
    let graph = delegation_graphs::table.find(Uuid::from(zone));
    let epoch: Option<i64> = graph
        .select(delegation_graphs::epoch)
        .first(conn)
        .await
        .optional()?;
    Ok(epoch.unwrap_or_default())
}

/// Moves the graph's epoch on by one and answers it; the row is locked until the transaction ends, so that two changes
/// of one zone's graph follow each other.
///
/// # Errors
/// When the database cannot be written.
pub async fn bump_graph_epoch(conn: &mut Conn, zone: ZoneId) -> Result<i64> {
    #[derive(QueryableByName)]
    struct Drawn {
        #[diesel(sql_type = BigInt)]
        epoch: i64,
    }
    let bump = diesel::sql_query(include_str!("delegations/bump_graph_epoch.sql"));
    let drawn: Drawn = bump.bind::<SqlUuid, _>(Uuid::from(zone)).get_result(conn).await?;
    Ok(drawn.epoch)
}

/// Revokes those of these edges that live; how many there were.
///
/// # Errors
/// When the database cannot be written.
pub async fn revoke(conn: &mut Conn, zone: ZoneId, ids: &[DelegationEdgeId], reason: &str) -> Result<usize> {
    let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from).collect();
    let live = delegation_edges::table
        .filter(delegation_edges::zone_id.eq(Uuid::from(zone)))
        .filter(delegation_edges::id.eq_any(ids))
        .filter(delegation_edges::revoked_at.is_null());
    let revoked = (
        delegation_edges::revoked_at.eq(diesel::dsl::now),
        delegation_edges::revoked_reason.eq(reason),
        delegation_edges::edge_version.eq(delegation_edges::edge_version + 1),
    );
    Ok(diesel::update(live).set(revoked).execute(conn).await?)
}
