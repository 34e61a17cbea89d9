//! What has outrun the view that a request is decided on: a token from a replica that knows more, a key made a moment ago,
//! a cut-off this one has not heard of. Then the request is decided on a newer view, so that no token leaves older than
//! what ends its like.

use crate::actor::Acts;
use crate::app::Sts;
use crate::authenticate::Caller;
use crate::error::Failure;
use crate::exchange::Exchange;
use crate::form::TokenRequest;
use crate::subject::{Provenance, names_unknown_key};
use crate::view::ZoneView;
use caracal_domain::{Epoch, Refusal};
use secrecy::ExposeSecret;
use std::sync::Arc;

/// What was presented, and the view that shows at least as much.
pub struct Established {
    /// The view.
    pub view: Arc<ZoneView>,
    /// What was presented.
    pub provenance: Provenance,
    /// Who acts.
    pub acts: Acts,
}

impl Sts {
    /// Establishes what the caller presented, on `view` or on a newer one.
    ///
    /// # Errors
    /// As [`Sts::provenance`].
    pub async fn established(
        &self,
        view: Arc<ZoneView>,
        caller: &Caller,
        exchange: &Exchange,
    ) -> Result<Established, Failure> {
        let presented = self.provenance(&view, caller.clone(), exchange).await;
        let is_outrun = match &presented {
            Ok((provenance, acts)) => newest(provenance, acts) > view.epoch,
            Err(_) => is_signed_by_unknown_key(&view, &exchange.request),
        };
        if is_outrun {
            let newer = self.zones.confirmed(&view).await;
            // No newer one when the database cannot be asked, or was put back to an older state: what is known must do.
            if newer.epoch > view.epoch {
                let (provenance, acts) = self.provenance(&newer, caller.clone(), exchange).await?;
                return Ok(Established {
                    view: newer,
                    provenance,
                    acts,
                });
            }
        }
        let (provenance, acts) = presented?;
        Ok(Established {
            view,
            provenance,
            acts,
        })
    }

    /// A view that knows the cut-off by which a session on `view` was refused, and the same caller there. Whoever was cut
    /// off may sign in again, unless it is for good.
    ///
    /// # Errors
    /// [`Refusal::SubjectRevoked`] when there is no newer view, [`Refusal::InvalidClient`] when it shows another credential
    /// than the one that proved the caller.
    pub async fn past_cut_off(
        &self,
        view: &Arc<ZoneView>,
        caller: &mut Caller,
    ) -> Result<Arc<ZoneView>, Failure> {
        let newer = self.zones.confirmed(view).await;
        if newer.epoch <= view.epoch {
            return Err(Refusal::SubjectRevoked.into());
        }
        if let Caller::Application(before) = caller {
            let current = self.live(&newer, before.id);
            let current = current.filter(|current| current.has_credential_of(before));
            *before = current.ok_or(Refusal::InvalidClient)?;
        }
        Ok(newer)
    }
}

/// The epoch of the newest view that any of the tokens presented was decided on.
fn newest(provenance: &Provenance, acts: &Acts) -> Epoch {
    let session = match provenance {
        Provenance::Application(_) | Provenance::User(..) => None,
        Provenance::Session(_, session) | Provenance::GatewayCall(_, session) => Some(session.claims()),
    };
    let tokens = session.into_iter().chain(acts.claims());
    tokens.map(|claims| claims.epoch).max().unwrap_or_default()
}

/// Whether a token that came with it may be good by a key that was made a moment ago (docs/decisions, 0007).
fn is_signed_by_unknown_key(view: &ZoneView, request: &TokenRequest) -> bool {
    let tokens = [&request.subject_token, &request.actor_token];
    let mut tokens = tokens.into_iter().flatten();
    tokens.any(|token| names_unknown_key(view, token.expose_secret()))
}
