//! What is done with grants.

use super::{GrantView, NewGrantBody};
use crate::app::Api;
use crate::change::{By, Deed, Written};
use crate::error::{Failure, Refusal};
use crate::reply::IfMatch;
use crate::text::once_each;
use caracal_domain::id::{GrantId, ZoneId};
use caracal_domain::{Epoch, FeedBody, Scope};
use caracal_storage::grants::{self, GrantRow, NewGrant};
use caracal_storage::{applications, resources};

const MOST_SCOPES: usize = 64;

impl Api {
    /// Makes a grant within what the resource has.
    pub(super) async fn create_grant(
        &self,
        by: &By,
        zone: ZoneId,
        body: NewGrantBody,
    ) -> Result<Written<GrantRow>, Failure> {
        let scopes = once_each(&body.scopes);
        if !(1..=MOST_SCOPES).contains(&scopes.len()) {
            return Err(Failure::field("scopes", "must hold 1 to 64 scopes"));
        }
        let mut tx = self.database.begin(zone).await?;
        let application = applications::find(&mut tx, zone, body.application_id).await?;
        application.ok_or(Refusal::ApplicationNotFound)?;
        // Locked, so that its scopes cannot shrink between this look and the commit.
        let resource = resources::find_for_update(&mut tx, zone, body.resource_id)
            .await?
            .ok_or(Refusal::ResourceNotFound)?;
        let has = |scope: &Scope| resource.scopes.iter().any(|held| held == scope.as_str());
        if !body.scopes.iter().all(has) {
            return Err(Refusal::GrantScopesExceedResource.into());
        }
        let new = NewGrant {
            zone_id: zone,
            id: GrantId::mint(&*self.clock),
            application_id: body.application_id,
            user_id: body.user_id.into_string(),
            resource_id: body.resource_id,
            scopes,
            created_by: by.name(),
        };
        let row = grants::insert(&mut tx, &new).await?;
        let deed = Deed::new(zone, "grant.create", row.id)
            .to(&GrantView::from(&row))
            .about("resource", resource.identifier.clone())
            .version(row.version);
        let epoch = self.conclude(tx, by, deed, FeedBody::ZoneChanged).await?;
        Ok(Written { value: row, epoch })
    }

    /// Revokes a grant and every session of its user in the zone (seed `004`, "Grants").
    pub(super) async fn revoke_grant(
        &self,
        by: &By,
        zone: ZoneId,
        id: GrantId,
        if_match: &IfMatch,
    ) -> Result<Epoch, Failure> {
        let mut tx = self.database.begin(zone).await?;
        let before = grants::find(&mut tx, zone, id)
            .await?
            .ok_or(Refusal::GrantNotFound)?;
        let after = grants::revoke(&mut tx, zone, id)
            .await?
            .ok_or(Refusal::GrantNotFound)?;
        // Checked after the row is ours, so that nobody moves the version on meanwhile.
        if_match.check(after.version - 1)?;
        let ending = self.end_sessions_of(&mut tx, by, zone, &after.user_id).await?;
        self.announce(&mut tx, by, (zone, "grant.revoke"), ending).await?;
        let deed = Deed::new(zone, "grant.revoke", id)
            .from(&GrantView::from(&before))
            .to(&GrantView::from(&after));
        self.conclude(tx, by, deed, FeedBody::ZoneChanged).await
    }
}
