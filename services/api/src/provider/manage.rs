//! What is done with providers. Secrets are sealed under the zone's DEK for the provider's own row.

use super::configuration::{self, Configuration};
use super::{NewProviderBody, ProviderPatch, ProviderView};
use crate::app::Api;
use crate::change::{By, Change, Deed, Written};
use crate::error::{Failure, Refusal};
use crate::reply::IfMatch;
use crate::text::{Name, check_namespace};
use caracal_domain::id::{ProviderId, ZoneId};
use caracal_domain::{Epoch, FeedBody};
use caracal_jose::{Dek, Purpose};
use caracal_storage::connections::{self, Of};
use caracal_storage::providers::{self, NewProvider, ProviderChanges, ProviderRow, ProviderSecrets};
use caracal_storage::zones::ZoneRow;
use caracal_storage::{Conn, keys};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

impl Api {
    /// Registers a provider.
    pub(super) async fn create_provider(
        &self,
        by: &By,
        zone: &ZoneRow,
        body: NewProviderBody,
    ) -> Result<Written<ProviderRow>, Failure> {
        let name = body.name.unwrap_or_else(|| body.identifier.clone());
        check_namespace(zone, &[body.identifier.as_str(), name.as_str()])?;
        configuration::agree(&body.config_json, &body.secret_config)?;
        let Configuration { shown, secrets } =
            configuration::read(body.kind, body.config_json, body.secret_config, &self.egress)?;
        let secrets = merge(Map::new(), secrets);
        let id = ProviderId::mint(&*self.clock);
        let mut tx = self.database.begin(zone).await?;
        let dek = self.dek(&mut tx, zone.id).await?;
        let new = NewProvider {
            zone_id: zone.id,
            id,
            name: name.into_string(),
            identifier: body.identifier.into_string(),
            kind: body.kind,
            owner_type: body
                .owner_type
                .map_or_else(|| "customer".to_owned(), Name::into_string),
            config_json: Value::Object(shown),
            secrets: seal(&dek, zone.id, id, &secrets)?,
        };
        let row = providers::insert(&mut tx, &new).await?;
        let deed = Deed::new(zone.id, "provider.create", id)
            .to(&ProviderView::from(&row))
            .version(row.version);
        let deed = changed_secrets(deed, &Map::new(), &secrets);
        let epoch = self.conclude(tx, by, deed, FeedBody::ZoneChanged).await?;
        Ok(Written { value: row, epoch })
    }

    /// Changes a provider; its configuration is read anew with the kind it then has.
    pub(super) async fn change_provider(
        &self,
        by: &By,
        zone: &ZoneRow,
        id: ProviderId,
        if_match: &IfMatch,
        patch: ProviderPatch,
    ) -> Result<Written<ProviderRow>, Failure> {
        if patch == ProviderPatch::default() {
            return Err(Refusal::NoFields.into());
        }
        let names = [&patch.identifier, &patch.name].map(|name| name.as_ref().map(Name::as_str));
        check_namespace(zone, &names.into_iter().flatten().collect::<Vec<_>>())?;
        let mut tx = self.database.begin(zone).await?;
        providers::lock(&mut tx, zone.id).await?;
        let before = providers::find_for_update(&mut tx, zone.id, id)
            .await?
            .ok_or(Refusal::ProviderNotFound)?;
        if_match.check(before.version)?;
        let stored = || before.config_json.as_object().cloned().unwrap_or_default();
        // What the kind it had left behind may be taken away, whatever the kind it gets.
        let known = &before.secret_config_keys;
        let given = patch.secret_config.unwrap_or_default();
        let config = match patch.config_json {
            Some(config) => {
                configuration::agree(&config, &given)?;
                as_a_whole(config, stored)
            }
            None => stored(),
        };
        let (mut gone, config) = without(config, known);
        let (also_gone, given) = without(given, known);
        gone.extend(also_gone);
        let kind = patch.kind.unwrap_or(before.kind);
        let Configuration { shown, secrets } = configuration::read(kind, config, given, &self.egress)?;
        let dek = self.dek(&mut tx, zone.id).await?;
        let held = open(&dek, &before)?;
        let merged = merge(merge(held.clone(), gone), secrets);
        // A kind that changes may leave secrets behind that it has no use for.
        configuration::read(kind, shown.clone(), merged.clone(), &self.egress)?;
        let changes = ProviderChanges {
            name: patch.name.map(Name::into_string),
            identifier: patch.identifier.map(Name::into_string),
            kind: patch.kind,
            owner_type: patch.owner_type.map(Name::into_string),
            config_json: Some(Value::Object(shown)),
            secrets: Some(seal(&dek, zone.id, id, &merged)?),
        };
        let row = providers::update(&mut tx, zone.id, id, &changes).await?;
        self.follow_provider(&mut tx, by, &row).await?;
        let deed = Deed::new(zone.id, "provider.update", id);
        let deed = deed
            .from(&ProviderView::from(&before))
            .to(&ProviderView::from(&row));
        let deed = changed_secrets(deed, &held, &merged);
        if deed.changes_nothing() {
            return self.leave(tx, by, zone.id, before).await;
        }
        let was = before.kind.flow(&before.config_json);
        let change = Change::draw(&tx, &*self.clock, zone.id, by).await?;
        let deed = if was.is_consented() && row.kind.flow(&row.config_json) != was {
            // What its users consented to is of no use any more.
            let ended = connections::revoke_all(&mut tx, zone.id, Of::Provider(id))
                .await?
                .len();
            deed.about("revoked_connections", ended)
        } else {
            deed
        };
        let epoch = self
            .conclude_at(tx, by, deed, change, FeedBody::ZoneChanged)
            .await?;
        Ok(Written { value: row, epoch })
    }

    /// Archives a provider.
    pub(super) async fn archive_provider(
        &self,
        by: &By,
        zone: ZoneId,
        id: ProviderId,
        if_match: &IfMatch,
    ) -> Result<Epoch, Failure> {
        let mut tx = self.database.begin(zone).await?;
        providers::lock(&mut tx, zone).await?;
        let before = providers::find_for_update(&mut tx, zone, id)
            .await?
            .ok_or(Refusal::ProviderNotFound)?;
        if_match.check(before.version)?;
        providers::archive(&mut tx, zone, id).await?;
        let deed = Deed::new(zone, "provider.archive", id).from(&ProviderView::from(&before));
        let change = Change::draw(&tx, &*self.clock, zone, by).await?;
        let ended = connections::revoke_all(&mut tx, zone, Of::Provider(id))
            .await?
            .len();
        let deed = deed.about("revoked_connections", ended);
        self.conclude_at(tx, by, deed, change, FeedBody::ZoneChanged)
            .await
    }

    /// The zone's data-encryption key.
    pub(crate) async fn dek(&self, conn: &mut Conn, zone: ZoneId) -> Result<Dek, Failure> {
        let sealed = keys::dek(conn, zone)
            .await?
            .ok_or(Failure::Fault("finding the zone's key"))?;
        Ok(self.kek.open_dek(zone, &sealed)?)
    }
}

/// A configuration with which to replace the stored one. What names secrets alone changes them alone.
fn as_a_whole(config: Map<String, Value>, stored: impl FnOnce() -> Map<String, Value>) -> Map<String, Value> {
    if config.is_empty() || !config.keys().all(|key| configuration::is_secret(key)) {
        return config;
    }
    let mut whole = stored();
    whole.extend(config);
    whole
}

/// What of a patch takes one of these secrets away, and the rest of it.
fn without(patch: Map<String, Value>, known: &[String]) -> (Map<String, Value>, Map<String, Value>) {
    let taken_away = |(key, value): &(String, Value)| value.is_null() && known.contains(key);
    patch.into_iter().partition(taken_away)
}

/// The secrets with those of `new` put in place; `null` removes.
fn merge(mut secrets: Map<String, Value>, new: Map<String, Value>) -> Map<String, Value> {
    for (key, value) in new {
        if value.is_null() {
            secrets.remove(&key)
        } else {
            secrets.insert(key, value)
        };
    }
    secrets
}

/// Notes which secrets differ; which, not what.
fn changed_secrets(deed: Deed, before: &Map<String, Value>, after: &Map<String, Value>) -> Deed {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name));
    changed.fold(deed, |deed, name| {
        let (was, is) = (before.contains_key(name), after.contains_key(name));
        deed.secret(format!("secret_config.{name}"), was, is)
    })
}

fn seal(
    dek: &Dek,
    zone: ZoneId,
    id: ProviderId,
    secrets: &Map<String, Value>,
) -> Result<ProviderSecrets, Failure> {
    if secrets.is_empty() {
        return Ok(ProviderSecrets::default());
    }
    let keys = secrets.keys().cloned().collect();
    let text = serde_json::to_string(secrets).map_err(|_| Failure::Fault("writing a provider's secrets"))?;
    let text = Zeroizing::new(text);
    let sealed = dek.seal(zone, Purpose::ProviderSecret, id.into(), text.as_bytes())?;
    Ok(ProviderSecrets {
        sealed: Some(sealed),
        keys,
    })
}

/// The secrets of a provider.
fn open(dek: &Dek, row: &ProviderRow) -> Result<Map<String, Value>, Failure> {
    let Some(sealed) = row.sealed_secrets() else {
        return Ok(Map::new());
    };
    let text = dek.open(row.zone_id, Purpose::ProviderSecret, row.id.into(), &sealed)?;
    serde_json::from_slice(&text).map_err(|_| Failure::Fault("reading a provider's secrets"))
}
