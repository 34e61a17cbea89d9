//! A wait with an end.

use std::time::Duration;

/// The time allowed ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer in time")]
pub(crate) struct TimedOut;

/// Waits for `future` no longer than `limit`; any error, or the lack of an answer, is an error.
pub(crate) async fn within<T, E>(
    limit: Duration,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, crate::BoxError>
where
    E: Into<crate::BoxError>,
{
    match tokio::time::timeout(limit, future).await {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(_) => Err(TimedOut.into()),
    }
}
