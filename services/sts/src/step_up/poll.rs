//! `GET /step-up/{id}`: has the challenge been met? Answers nothing that its id's holder does not know already.

use crate::app::Sts;
use crate::error::{Failure, OAuthError};
use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use caracal_domain::Refusal;
use caracal_domain::id::ChallengeId;
use caracal_storage::step_up::ChallengeRow;
use caracal_web::{ApiError, CurrentRequestId, NO_STORE, QueryParams};
use serde::Deserialize;
use serde_json::json;
use std::time::{Duration, Instant};

/// How long a poll may wait for a change.
const LONGEST_WAIT: Duration = Duration::from_secs(25);
const NO_SUCH_CHALLENGE: Failure = Failure::NotFound("challenge_not_found_or_expired");
const LOOK_EVERY: Duration = Duration::from_millis(400);

/// The query of a poll.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PollQuery {
    /// Seconds to wait for the challenge to be met; more than 25 count as 25.
    #[serde(default)]
    wait: u32,
}

/// Answers at once when the challenge has been met, used or has expired, else when that happens or the wait is over.
///
/// # Errors
/// `404 challenge_not_found_or_expired`; 503 when the database cannot be asked.
pub async fn poll(
    sts: Data<Sts>,
    request_id: CurrentRequestId,
    id: Path<String>,
    query: Result<QueryParams<PollQuery>, ApiError>,
) -> Result<HttpResponse, OAuthError> {
    let row = settled(&sts, &id, query).await;
    let row = row.map_err(|failure| failure.answering(request_id.0))?;
    let mut answer = HttpResponse::Ok();
    for header in NO_STORE {
        answer.insert_header(header);
    }
    Ok(answer.json(json!({
        "id": row.id,
        "challenge_type": row.challenge_type,
        "satisfied": row.satisfied_at.is_some(),
        "consumed": row.consumed_at.is_some(),
        "expires_at": row.expires_at,
    })))
}

/// The challenge once there is something to say of it, or the wait is over.
async fn settled(
    sts: &Sts,
    id: &str,
    query: Result<QueryParams<PollQuery>, ApiError>,
) -> Result<ChallengeRow, Failure> {
    let id = id.parse().map_err(|_| NO_SUCH_CHALLENGE)?;
    let query = query.map_err(|_| Refusal::MalformedRequest)?;
    let wait = Duration::from_secs(query.0.wait.into()).min(LONGEST_WAIT);
    let started = Instant::now();
    loop {
        let row = find(sts, id).await?;
        let left = wait.saturating_sub(started.elapsed());
        let settled = row.satisfied_at.is_some() || row.expires_at <= sts.clock.now();
        if settled || left.is_zero() {
            return Ok(row);
        }
        tokio::time::sleep(LOOK_EVERY.min(left)).await;
    }
}

async fn find(sts: &Sts, id: ChallengeId) -> Result<ChallengeRow, Failure> {
    let found = sts
        .stored(async {
            let mut conn = sts.database.acquire().await?;
            caracal_storage::step_up::find_anywhere(&mut conn, id).await
        })
        .await?;
    found.ok_or(NO_SUCH_CHALLENGE)
}
