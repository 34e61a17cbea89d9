//! What all credentials that are asked for have in common.

use super::Holder;
use super::place::{Basis, Need};
use crate::error::{Failure, Fault};
use crate::view::Zone;
use caracal_domain::upstream_oauth::NotReady;
use caracal_domain::zone::Provider;
use caracal_domain::{Epoch, Refusal};
use caracal_egress::{EgressError, TokenError};
use caracal_provider::{Unasked, Unopened};
use std::sync::Arc;

/// For what a credential is wanted.
pub(super) struct Wish<'a> {
    pub(super) zone: &'a Arc<Zone>,
    pub(super) epoch: Epoch,
    pub(super) provider: &'a Arc<Provider>,
    pub(super) holder: Holder<'a>,
}

impl Wish<'_> {
    /// As the need of a place; `epoch` where each change of the zone may take the credential away.
    pub(super) fn need(&self, epoch: Option<Epoch>) -> Need {
        Need {
            basis: Basis {
                provider: Arc::clone(self.provider),
                epoch,
            },
            rejected: self.holder.rejected.map(str::to_owned),
            now: self.holder.now,
        }
    }
}

impl From<Unopened> for Failure {
    fn from(why: Unopened) -> Self {
        match why {
            Unopened::Sealed(error) => error.into(),
            Unopened::Secrets(error) => Fault::ProviderSecrets(error).into(),
            Unopened::Configuration(_) => Refusal::ProviderNotReady.into(),
        }
    }
}

/// What a provider's answer means to the call. What it said goes to the log, as far as it is an OAuth error code.
pub(super) fn refusal(provider: &Provider, why: &Unasked) -> Refusal {
    let cause: &(dyn std::error::Error + 'static) = why;
    tracing::warn!(provider = %provider.id, error = cause, "a provider gave no token");
    match why {
        Unasked::NotReady(NotReady::TokenHostNotAllowed)
        | Unasked::Asked(TokenError::Egress(EgressError::Forbidden(_))) => Refusal::ProviderNotAllowed,
        Unasked::NotReady(_) | Unasked::PrivateKey => Refusal::ProviderNotReady,
        Unasked::Asked(TokenError::Egress(_)) => Refusal::ProviderUnavailable,
        Unasked::Asked(TokenError::Unusable(_)) => Refusal::ProviderAnswerUnusable,
        Unasked::Asked(TokenError::Refused { status, .. }) => match status {
            408 | 429 => Refusal::ProviderUnavailable,
            400..=499 => Refusal::ProviderRefused,
            _ => Refusal::ProviderUnavailable,
        },
    }
}

/// Whether the provider says that what we hold is worth nothing any more (RFC 6749 §5.2).
pub(super) fn is_invalid_grant(why: &Unasked) -> bool {
    matches!(
        why,
        Unasked::Asked(TokenError::Refused { error: Some(error), .. }) if error == "invalid_grant"
    )
}
