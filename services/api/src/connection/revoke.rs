//! Ending a connection: first here, where it counts, then at the provider, as far as it listens.

use super::ConnectionView;
use crate::app::Api;
use crate::change::{By, Change, Deed, Written};
use crate::error::{Failure, Refusal};
use caracal_domain::FeedBody;
use caracal_domain::id::{ConnectionId, ZoneId};
use caracal_provider::{OauthProvider, Tokens, Unasked};
use caracal_storage::connections::{self, ConnectionRow};
use caracal_storage::{providers, zones};
use futures::{StreamExt, stream};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// So many providers are asked at once, so that one that hangs holds up nobody's.
const TOLD_AT_ONCE: usize = 16;
/// How much longer providers are told once the service stops.
const LAST_CALL: Duration = Duration::from_secs(5);

/// Tells the providers of connections that have ended, while the caller has its answer. Whoever is not told is in the log,
/// also when the service stops before.
pub(crate) fn tell_providers(api: &Arc<Api>, ended: Vec<ConnectionRow>) {
    if ended.is_empty() {
        return;
    }
    let (teller, late) = (Arc::clone(api), CancellationToken::new());
    let (stopping, too_late) = (api.tasks.stopping(), late.clone());
    api.tasks.spawn_to_end("provider-revocations", async move {
        let telling = stream::iter(&ended).for_each_concurrent(TOLD_AT_ONCE, |connection| {
            let (teller, late) = (&teller, &late);
            async move {
                tokio::select! {
                    biased;
                    () = late.cancelled() => not_told(connection, "the service stops"),
                    () = teller.tell_provider(connection) => {}
                }
            }
        });
        let countdown = async {
            stopping.cancelled().await;
            tokio::time::sleep(LAST_CALL).await;
            too_late.cancel();
            pending::<()>().await;
        };
        tokio::select! {
            () = telling => {}
            () = countdown => {}
        }
    });
}

fn not_told(connection: &ConnectionRow, why: &str) {
    tracing::warn!(connection = %connection.id, why, "a provider was not told that a connection has ended");
}

impl Api {
    /// Ends a connection. One that has ended stays as it is and takes no epoch.
    pub(super) async fn revoke_connection(
        &self,
        by: &By,
        zone: ZoneId,
        id: ConnectionId,
    ) -> Result<Written<ConnectionRow>, Failure> {
        if let Some(ended) = self.end_connection(by, zone, id).await? {
            self.tell_provider(&ended.value).await;
            return Ok(ended);
        }
        let mut tx = self.database.begin(zone).await?;
        let row = connections::find(&mut tx, zone, id)
            .await?
            .ok_or(Refusal::ConnectionNotFound)?;
        let epoch = zones::epoch(&mut tx, zone).await?.ok_or(Refusal::ZoneNotFound)?;
        let nothing = Deed::new(zone, "connection.revoke", id).to(&ConnectionView::from(&row));
        by.complete(&mut tx, &nothing.version(row.version), Some(epoch))
            .await?;
        tx.commit().await?;
        Ok(Written { value: row, epoch })
    }

    /// The same for one that is active; `None` when it is not, or somebody else was faster.
    async fn end_connection(
        &self,
        by: &By,
        zone: ZoneId,
        id: ConnectionId,
    ) -> Result<Option<Written<ConnectionRow>>, Failure> {
        let mut tx = self.database.begin(zone).await?;
        let before = connections::find(&mut tx, zone, id)
            .await?
            .ok_or(Refusal::ConnectionNotFound)?;
        if before.revoked_at.is_some() {
            return Ok(None);
        }
        // The zone first, as whoever makes a connection has it.
        let change = Change::draw(&tx, &*self.clock, zone, by).await?;
        let Some(row) = connections::revoke(&mut tx, zone, id).await? else {
            return Ok(None);
        };
        let deed = Deed::new(zone, "connection.revoke", id)
            .from(&ConnectionView::from(&before))
            .to(&ConnectionView::from(&row))
            .version(row.version);
        let epoch = self
            .conclude_at(tx, by, deed, change, FeedBody::ZoneChanged)
            .await?;
        Ok(Some(Written { value: row, epoch }))
    }

    /// Tells the provider (RFC 7009), as far as it listens.
    async fn tell_provider(&self, row: &ConnectionRow) {
        if let Err(why) = self.give_back_what_it_holds(row).await {
            not_told(row, &why);
        }
    }

    async fn give_back_what_it_holds(&self, row: &ConnectionRow) -> Result<(), String> {
        let told = |why: Failure| why.to_string();
        let mut conn = self
            .database
            .acquire(row.zone_id)
            .await
            .map_err(|error| told(error.into()))?;
        let provider = providers::find(&mut conn, row.zone_id, row.provider_id)
            .await
            .map_err(|error| told(error.into()))?;
        let provider = provider.ok_or("the provider has been archived")?;
        let provider = self.oauth_provider(&mut conn, &provider).await.map_err(told)?;
        let dek = self.dek(&mut conn, row.zone_id).await.map_err(told)?;
        drop(conn);
        let tokens = Tokens::open(&dek, row.zone_id, row.id, &row.tokens());
        let tokens = tokens.map_err(|why| told(why.into()))?;
        let provider = self
            .asker
            .discovered(provider)
            .await
            .map_err(|why| why.to_string())?;
        self.give_back(&provider, &tokens)
            .await
            .map_err(|why| why.to_string())
    }

    /// Gives tokens back: the refresh token, with which both end, else the access token.
    pub(super) async fn give_back(&self, provider: &OauthProvider, tokens: &Tokens) -> Result<(), Unasked> {
        let (token, hint) = match &tokens.refresh_token {
            Some(token) => (token, "refresh_token"),
            None => (&tokens.access_token, "access_token"),
        };
        self.asker.revoke(provider, token, hint).await
    }
}
