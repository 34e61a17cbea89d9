//! Why a request did not come back.

use crate::body::BoxError;
use crate::policy::Forbidden;

/// Why a request did not come back.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The destination is not allowed.
    #[error("the destination is not allowed")]
    Forbidden(#[source] Forbidden),
    /// No connection, or it broke.
    #[error("the destination could not be reached")]
    Unreachable(#[source] BoxError),
    /// Nothing came back in time.
    #[error("the destination did not answer in time")]
    Timeout,
}

impl EgressError {
    /// What a connector's or a client's error means: the refusal or the timeout that caused it, if one did.
    pub(crate) fn from_chain(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::from_cause(Box::new(error))
    }

    /// The same of an error of any kind.
    pub(crate) fn from_cause(error: BoxError) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&*error);
        while let Some(current) = cause {
            if let Some(forbidden) = current.downcast_ref::<Forbidden>() {
                return Self::Forbidden(forbidden.clone());
            }
            if current.downcast_ref::<ConnectTimeout>().is_some() {
                return Self::Timeout;
            }
            cause = current.source();
        }
        Self::Unreachable(error)
    }
}

/// The connection was not made in time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no connection within the time allowed")]
pub struct ConnectTimeout;
