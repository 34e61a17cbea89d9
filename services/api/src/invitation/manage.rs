//! What is done with invitations.

use super::{AcceptBody, InvitationView, NewInvitationBody};
use crate::actor::Actor;
use crate::admin_token::{self, sha256};
use crate::app::Api;
use crate::change::{By, Deed, Written};
use crate::error::{Failure, Refusal};
use crate::reply::IfMatch;
use crate::sight::Sight;
use actix_web::http::StatusCode;
use caracal_domain::Epoch;
use caracal_domain::id::{AdminTokenId, InvitationId, ZoneId};
use caracal_jose::random_token;
use caracal_storage::admin_tokens::{self, AdminTokenRow, NewAdminToken};
use caracal_storage::invitations::{self, InvitationRow, NewInvitation};
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};

const PREFIX: &str = "cinv_";
const DEFAULT_SECONDS: i64 = 7 * 24 * 3600;

impl Api {
    /// Invites somebody. Draws no epoch: nothing that a replica holds has changed.
    pub(super) async fn invite(
        &self,
        by: &By,
        zone: ZoneId,
        body: NewInvitationBody,
    ) -> Result<(Written<InvitationRow>, SecretString), Failure> {
        let (now, token) = (self.clock.now(), random_token(PREFIX)?);
        let new = NewInvitation {
            zone_id: zone,
            id: InvitationId::mint(&*self.clock),
            email: body.email,
            role: body.role.name(),
            token_sha256: sha256(token.expose_secret()),
            created_by: by.name(),
            expires_at: now + TimeDelta::seconds(body.expires_in.unwrap_or(DEFAULT_SECONDS)),
        };
        let mut tx = self.database.begin(zone).await?;
        let row = invitations::insert(&mut tx, &new).await?;
        let deed = Deed::new(zone, "invitation.create", row.id).to(&InvitationView::of(&row, now));
        let epoch = self.epoch_of(&mut tx, by, zone).await?;
        self.record(&mut tx, by, deed.version(row.version), Some(epoch))
            .await?;
        tx.commit().await?;
        Ok((Written { value: row, epoch }, token))
    }

    /// Takes an invitation back.
    pub(super) async fn take_back_invitation(
        &self,
        by: &By,
        zone: ZoneId,
        id: InvitationId,
        if_match: &IfMatch,
    ) -> Result<Epoch, Failure> {
        let mut tx = self.database.begin(zone).await?;
        let row = invitations::revoke(&mut tx, zone, id)
            .await?
            .ok_or(Refusal::InvitationNotFound)?;
        // Checked after the row is ours, so that nobody moves the version on meanwhile.
        if_match.check(row.version - 1)?;
        let view = InvitationView::of(&row, self.clock.now());
        let deed = Deed::new(zone, "invitation.revoke", id).from(&view);
        let epoch = self.epoch_of(&mut tx, by, zone).await?;
        self.record(&mut tx, by, deed, Some(epoch)).await?;
        tx.commit().await?;
        Ok(epoch)
    }

    /// Makes a zone's admin token of an invitation, once: the invitation's row is locked from the look to the commit.
    pub(super) async fn accept_invitation(
        &self,
        by: By,
        body: AcceptBody,
    ) -> Result<(AdminTokenRow, SecretString), Failure> {
        let mut tx = self.database.begin(Sight::Everything).await?;
        let invitation = invitations::find_open_by_token(&mut tx, &sha256(&body.token))
            .await?
            .ok_or(Refusal::InvitationNotFound)?;
        let (zone, secret) = (invitation.zone_id, random_token(admin_token::PREFIX)?);
        let new = NewAdminToken {
            id: AdminTokenId::mint(&*self.clock),
            zone_id: Some(zone),
            name: Some(invitation.email.clone()),
            token_sha256: sha256(secret.expose_secret()),
            read_only: invitation.role != "admin",
            created_by: format!("invitation:{}", invitation.id),
            expires_at: None,
        };
        let token = admin_tokens::insert(&mut tx, &new).await?;
        let accepted = invitations::accept(&mut tx, zone, invitation.id, token.id).await?;
        // Who accepts is whoever holds the new token from here on.
        let by = By {
            actor: Some(Actor {
                token_id: token.id,
                zone: token.zone_id,
                read_only: token.read_only,
            }),
            ..by
        };
        let now = self.clock.now();
        let deed = Deed::new(zone, "invitation.accept", invitation.id)
            .from(&InvitationView::of(&invitation, now))
            .to(&InvitationView::of(&accepted, now))
            .answered(StatusCode::CREATED, &admin_token::shown(&token))
            .version(token.version);
        self.record(&mut tx, &by, deed, None).await?;
        // Like every other token, however it came to be.
        let made = Deed::new(zone, "admin_token.create", token.id).to(&admin_token::shown(&token));
        let made = made.about("role", invitation.role.as_str());
        self.record(&mut tx, &by, made, None).await?;
        tx.commit().await?;
        Ok((token, secret))
    }
}
