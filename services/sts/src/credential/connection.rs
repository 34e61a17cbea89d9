//! A user's connection at a provider: its access token, renewed in time (RFC 6749 §6).
//!
//! What is kept carries the epoch of the view it was read under: ending or replacing a connection draws an epoch, so it
//! is read again. Renewing is done by one replica at a time and never stops half way, and what a renewal brought is
//! stored, sealed, before it is used: a provider that rotates refresh tokens takes the old one for stolen.

use super::asked::{Wish, is_invalid_grant, refusal};
use super::place::is_refused;
use super::{Credential, margin};
use crate::app::Sts;
use crate::error::Failure;
use crate::view::Zone;
use caracal_domain::id::ResourceId;
use caracal_domain::upstream_oauth::{Grant, TokenAnswer};
use caracal_domain::zone::{Provider, Resource, Sealed};
use caracal_domain::{Clock, Refusal, Timestamp};
use caracal_provider::{Asker, OauthProvider, Tokens};
use caracal_storage::connections::{self, ConnectionRow, ConnectionStatus};
use caracal_storage::{Database, Transaction};
use chrono::TimeDelta;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long a token is kept, without looking again, whose server does not say how long it lives.
const UNSAID: TimeDelta = TimeDelta::minutes(5);
/// How long a token is handed out that should be renewed and cannot be now.
const UNRENEWED: TimeDelta = TimeDelta::seconds(5);
/// How long a call waits for the database.
const READING: Duration = Duration::from_millis(1500);
/// How often storing a renewal is tried, a second apart: the provider has forgotten what the row still holds.
const STORING: u32 = 10;

impl Sts {
    /// The token of the user's connection, kept, read or renewed.
    pub(super) async fn connection_token(
        &self,
        wish: &Wish<'_>,
        resource: &Resource,
    ) -> Result<Credential, Failure> {
        let user = wish.holder.user.ok_or(Refusal::ConnectionRequired)?;
        let key = (
            wish.zone.config.id,
            resource.id,
            wish.provider.id,
            user.to_owned(),
        );
        let place = self.credentials.users.get_with(key, Arc::default);
        let reading = Reading {
            database: self.database.clone(),
            asker: self.credentials.asker.clone(),
            clock: Arc::clone(&self.clock),
            turns: self.credentials.turns(wish.zone.config.id),
            zone: Arc::clone(wish.zone),
            provider: Arc::clone(wish.provider),
            resource: resource.id,
            user: user.to_owned(),
            rejected: wish.holder.rejected.map(str::to_owned),
        };
        let fetch = move || async move { reading.fetch().await };
        place.through(wish.need(Some(wish.epoch)), fetch).await
    }
}

/// One look at a connection.
struct Reading {
    database: Database,
    asker: Asker,
    clock: Arc<dyn Clock>,
    turns: [Arc<Semaphore>; 2],
    zone: Arc<Zone>,
    provider: Arc<Provider>,
    resource: ResourceId,
    user: String,
    rejected: Option<String>,
}

impl Reading {
    async fn fetch(self) -> Result<Credential, Failure> {
        let reading = tokio::time::timeout(READING, self.read()).await;
        let row = usable(reading.map_err(|_| Refusal::StoreUnavailable)??)?;
        if self.is_good(&row) {
            return Ok(self.handed(&row, &self.open(&row)?));
        }
        let [of_zone, of_all] = &self.turns;
        let _turns = (of_zone.acquire().await, of_all.acquire().await);
        self.renew(row).await
    }

    async fn read(&self) -> Result<Option<ConnectionRow>, caracal_storage::Error> {
        let (zone, provider) = (self.zone.config.id, self.provider.id);
        let mut conn = self.database.acquire_in(zone).await?;
        connections::active(&mut conn, zone, &self.user, self.resource, provider).await
    }

    async fn renew(&self, row: ConnectionRow) -> Result<Credential, Failure> {
        let mut tx = self.database.begin_in(row.zone_id).await?;
        connections::lock(&mut tx, row.id).await?;
        // Another replica may have renewed it while this one waited.
        let row = usable(connections::find(&mut tx, row.zone_id, row.id).await?)?;
        let tokens = self.open(&row)?;
        if self.is_good(&row) {
            tx.rollback().await?;
            return Ok(self.handed(&row, &tokens));
        }
        let asked_at = self.clock.now();
        let lives_on = row.access_expires_at.is_none_or(|end| asked_at < end);
        let Some(token) = tokens.refresh_token.as_deref() else {
            return if lives_on {
                Ok(self.unrenewed(&row, &tokens))
            } else {
                self.lapse(tx, &row).await
            };
        };
        match self.ask(token).await {
            Ok(answer) => {
                self.store(tx, row, &tokens.renewed(&answer), asked_at, &answer)
                    .await
            }
            Err(why) if is_invalid_grant(&why) => self.lapse(tx, &row).await,
            Err(why) => {
                let refusal = refusal(&self.provider, &why);
                tx.rollback().await?;
                if lives_on {
                    Ok(self.unrenewed(&row, &tokens))
                } else {
                    Err(refusal.into())
                }
            }
        }
    }

    async fn ask(&self, token: &str) -> Result<TokenAnswer, caracal_provider::Unasked> {
        let opened = OauthProvider::open(&self.zone.dek, self.zone.config.id, &self.provider);
        let opened = opened.map_err(|_| caracal_domain::upstream_oauth::NotReady::Unreadable)?;
        let opened = self.asker.discovered(opened).await?;
        self.asker.token(&opened, &Grant::Refresh(token)).await
    }

    /// Stores what a renewal brought, by all means: in the transaction that holds the turn, else by itself.
    async fn store(
        &self,
        mut tx: Transaction,
        row: ConnectionRow,
        tokens: &Tokens,
        asked_at: Timestamp,
        answer: &TokenAnswer,
    ) -> Result<Credential, Failure> {
        let sealed = tokens.seal(&self.zone.dek, row.zone_id, row.id)?;
        let ends = answer
            .expires_in
            .map(|seconds| asked_at + TimeDelta::seconds(seconds));
        let renewed = Renewed { sealed, ends };
        let mut stored = match renewed.write(&mut tx, &row).await {
            Ok(stored) => tx.commit().await.map(|()| stored),
            Err(error) => Err(error),
        };
        for _ in 0..STORING {
            let Err(error) = &stored else { break };
            tracing::warn!(connection = %row.id, %error, "a renewed connection is not stored yet");
            tokio::time::sleep(Duration::from_secs(1)).await;
            stored = self.write_again(&row, &renewed).await;
        }
        if !stored? {
            // It was revoked or replaced meanwhile, so nobody may have what it brought.
            self.give_back(tokens).await;
            return Err(Refusal::ConnectionRequired.into());
        }
        let row = ConnectionRow {
            version: row.version + 1,
            access_expires_at: ends,
            updated_at: asked_at,
            ..row
        };
        Ok(self.handed(&row, tokens))
    }

    /// A commit whose outcome was unknown may have gone through: the row then holds what is written.
    async fn write_again(
        &self,
        row: &ConnectionRow,
        renewed: &Renewed,
    ) -> Result<bool, caracal_storage::Error> {
        let mut conn = self.database.acquire().await?;
        if renewed.write(&mut conn, row).await? {
            return Ok(true);
        }
        let found = connections::find(&mut conn, row.zone_id, row.id).await?;
        Ok(found.is_some_and(|found| {
            found.status() == ConnectionStatus::Active && found.tokens_sealed == renewed.sealed.bytes
        }))
    }

    async fn give_back(&self, tokens: &Tokens) {
        let (token, hint) = match &tokens.refresh_token {
            Some(token) => (token, "refresh_token"),
            None => (&tokens.access_token, "access_token"),
        };
        let Ok(opened) = OauthProvider::open(&self.zone.dek, self.zone.config.id, &self.provider) else {
            return;
        };
        let given_back = async {
            let opened = self.asker.discovered(opened).await?;
            self.asker.revoke(&opened, token, hint).await
        };
        if let Err(why) = given_back.await {
            let cause: &(dyn std::error::Error + 'static) = &why;
            tracing::warn!(provider = %self.provider.id, error = cause, "a provider did not take a token back");
        }
    }

    /// The provider no longer renews it: until the user connects again nobody needs to ask.
    async fn lapse(&self, mut tx: Transaction, row: &ConnectionRow) -> Result<Credential, Failure> {
        connections::lapse(&mut tx, row.zone_id, row.id, row.version).await?;
        tx.commit().await?;
        tracing::warn!(connection = %row.id, "a provider no longer renews a connection");
        Err(Refusal::ConnectionRequired.into())
    }

    fn open(&self, row: &ConnectionRow) -> Result<Tokens, Failure> {
        Ok(Tokens::open(&self.zone.dek, row.zone_id, row.id, &row.tokens())?)
    }

    /// Whether the stored access token can be handed out.
    fn is_good(&self, row: &ConnectionRow) -> bool {
        let now = self.clock.now();
        let id = id_of(row);
        left_at(row).is_none_or(|end| now < end)
            && !is_refused(Some(&id), row.updated_at, self.rejected.as_deref(), now)
    }

    fn handed(&self, row: &ConnectionRow, tokens: &Tokens) -> Credential {
        let until = left_at(row).unwrap_or_else(|| self.clock.now() + UNSAID);
        Credential::bearer(&tokens.access_token, Some(id_of(row)), Some(until))
    }

    fn unrenewed(&self, row: &ConnectionRow, tokens: &Tokens) -> Credential {
        let soon = self.clock.now() + UNRENEWED;
        let until = row.access_expires_at.map_or(soon, |end| end.min(soon));
        Credential::bearer(&tokens.access_token, Some(id_of(row)), Some(until))
    }
}

/// What a renewal brought, ready to be stored.
struct Renewed {
    sealed: Sealed,
    ends: Option<Timestamp>,
}

impl Renewed {
    async fn write(
        &self,
        conn: &mut caracal_storage::Conn,
        row: &ConnectionRow,
    ) -> Result<bool, caracal_storage::Error> {
        connections::refresh(conn, row.zone_id, row.id, row.version, &self.sealed, self.ends).await
    }
}

fn usable(row: Option<ConnectionRow>) -> Result<ConnectionRow, Refusal> {
    row.filter(|row| row.status() == ConnectionStatus::Active)
        .ok_or(Refusal::ConnectionRequired)
}

/// Each renewal makes another one of it.
fn id_of(row: &ConnectionRow) -> String {
    format!("{}.{}", row.id, row.version)
}

/// When the access token is to be renewed, if it ends.
fn left_at(row: &ConnectionRow) -> Option<Timestamp> {
    row.access_expires_at
        .map(|end| end - margin(end - row.updated_at))
}
