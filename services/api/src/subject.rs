//! `POST /v1/zones/{zone}/subjects/revoke`: the kill switch.

use crate::actor::{InZone, Write};
use crate::app::Api;
use crate::change::{By, Deed, Written};
use crate::connection::tell_providers;
use crate::error::Failure;
use crate::reply;
use crate::text::{Moment, SubjectText};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use caracal_domain::id::ZoneId;
use caracal_domain::{FeedBody, Timestamp};
use caracal_storage::connections::{self, ConnectionRow, Of};
use caracal_storage::subject_blocks;
use caracal_web::{ApiError, JsonBody, to_completion};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use validator::Validate;

/// The body of `POST …/subjects/revoke`.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SubjectRevocationRequest)]
pub(crate) struct SubjectRevocationBody {
    #[schema(value_type = String, min_length = 1, max_length = 512)]
    subject_id: SubjectText,
    /// Until then the subject cannot sign in either. Without it the subject may sign in again, also one that an
    /// earlier call blocked.
    #[schema(value_type = Option<String>, format = DateTime)]
    block_until: Option<Moment>,
}

/// What ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubjectRevocation {
    subject_id: String,
    revoked_sessions: usize,
    terminated_agents: usize,
    revoked_edges: usize,
    revoked_connections: usize,
    #[schema(value_type = Option<String>, format = DateTime)]
    blocked_until: Option<Timestamp>,
}

/// Revokes everything that a subject holds.
///
/// Its sessions, agents, edges and connections; the providers of those are told (RFC 7009) when it is done. A subject nobody has heard of is no mistake: what it holds ends, which
/// is nothing.
#[utoipa::path(
    post, path = "/v1/zones/{zone_id}/subjects/revoke",
    params(("zone_id" = Uuid, Path)),
    request_body = SubjectRevocationBody,
    responses((status = 200, body = SubjectRevocation))
)]
pub(crate) async fn revoke(
    api: Data<Api>,
    request: InZone<Write, JsonBody<SubjectRevocationBody>>,
) -> Result<HttpResponse, ApiError> {
    let (by, zone, JsonBody(body)) = request.open();
    let revocation = async move {
        let (written, ended) = api.revoke_subject(&by, zone.id, body).await?;
        tell_providers(&api, ended);
        Ok::<_, Failure>(written)
    };
    let written = to_completion(revocation).await?;
    Ok(reply::written(StatusCode::OK, written.epoch).json(written.value))
}

impl Api {
    /// What ended, and the connections among it.
    async fn revoke_subject(
        &self,
        by: &By,
        zone: ZoneId,
        body: SubjectRevocationBody,
    ) -> Result<(Written<SubjectRevocation>, Vec<ConnectionRow>), Failure> {
        let block_until = body.block_until.map(|Moment(until)| until);
        if block_until.is_some_and(|until| until <= self.clock.now()) {
            return Err(Failure::field("block_until", "must be in the future"));
        }
        let subject = body.subject_id.into_string();
        let mut tx = self.database.begin(zone).await?;
        let blocked_before = subject_blocks::blocked_until(&mut tx, zone, &subject).await?;
        match block_until {
            Some(until) => subject_blocks::block(&mut tx, zone, &subject, until, &by.name()).await?,
            None => subject_blocks::lift(&mut tx, zone, &subject).await?,
        }
        let ending = self.end_subject(&mut tx, by, zone, &subject).await?;
        let mut revocation = SubjectRevocation {
            subject_id: subject,
            revoked_sessions: ending.sessions(),
            terminated_agents: ending.agents(),
            revoked_edges: ending.edges(),
            revoked_connections: 0,
            blocked_until: block_until,
        };
        self.announce(&mut tx, by, (zone, "subject.revoke"), ending)
            .await?;
        // The zone's row is ours, so no consent becomes a connection that this does not find.
        let subject = &revocation.subject_id;
        connections::withdraw_states_of(&mut tx, zone, subject).await?;
        let connections = connections::revoke_all(&mut tx, zone, Of::User(subject)).await?;
        revocation.revoked_connections = connections.len();
        let deed = Deed::new(zone, "subject.revoke", &revocation.subject_id)
            .from(&json!({"blocked_until": blocked_before}))
            .to(&revocation);
        // Directives that hold a credential of the subject's must be asked for again.
        let epoch = self.conclude(tx, by, deed, FeedBody::ZoneChanged).await?;
        let value = revocation;
        Ok((Written { value, epoch }, connections))
    }
}
