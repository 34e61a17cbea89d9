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
use std::sync::Arc;

/// Tells the providers of connections that have ended, one after the other, while the caller has its answer.
pub(crate) fn tell_providers(api: &Arc<Api>, ended: Vec<ConnectionRow>) {
    if ended.is_empty() {
        return;
    }
    let teller = Arc::clone(api);
    api.tasks.spawn("provider-revocations", async move {
        for connection in &ended {
            teller.tell_provider(connection).await;
        }
    });
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
            tracing::warn!(connection = %row.id, why, "a provider was not told that a connection has ended");
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
