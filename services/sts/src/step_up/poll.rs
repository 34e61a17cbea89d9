//! `GET /step-up/{id}`: has the challenge been met? Answers nothing that its id's holder does not know already.

use crate::app::Sts;
use crate::error::Failure;
use actix_web::HttpResponse;
use actix_web::web::Data;
use caracal_domain::id::ChallengeId;
use caracal_storage::step_up::ChallengeRow;
use caracal_web::{ApiError, NO_STORE, PathId, QueryParams};
use serde::Deserialize;
use serde_json::json;
use std::time::{Duration, Instant};

/// How long a poll may wait for a change.
const LONGEST_WAIT: Duration = Duration::from_secs(25);
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
    id: PathId<ChallengeId>,
    query: QueryParams<PollQuery>,
) -> Result<HttpResponse, ApiError> {
    let wait = Duration::from_secs(query.0.wait.into()).min(LONGEST_WAIT);
    let started = Instant::now();
    let row = loop {
        let row = find(&sts, id.0).await?;
        let left = wait.saturating_sub(started.elapsed());
        let settled = row.satisfied_at.is_some() || row.expires_at <= sts.clock.now();
        if settled || left.is_zero() {
            break row;
        }
        tokio::time::sleep(LOOK_EVERY.min(left)).await;
    };
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

async fn find(sts: &Sts, id: ChallengeId) -> Result<ChallengeRow, ApiError> {
    let found = sts
        .stored(async {
            let mut conn = sts.database.acquire().await?;
            caracal_storage::step_up::find_anywhere(&mut conn, id).await
        })
        .await;
    match found {
        Ok(row) => row.ok_or_else(|| ApiError::not_found("challenge_not_found_or_expired")),
        Err(Failure::Fault(fault)) => Err(ApiError::fault(&fault)),
        Err(failure) => Err(ApiError::unavailable(failure.reason())),
    }
}
