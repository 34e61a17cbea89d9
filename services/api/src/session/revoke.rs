//! Ending a session: the row, the anchors that every replica refuses by, and the message that carries them, together.

use super::SessionView;
use crate::app::Api;
use crate::change::{By, Change, Deed, Written};
use crate::error::{Failure, Refusal};
use caracal_domain::FeedBody;
use caracal_domain::id::{SessionId, ZoneId};
use caracal_storage::sessions::{self, SessionRow, SessionState, Whose};
use caracal_storage::{anchors, zones};

impl Api {
    /// Revokes a session, every session below it, and the agents that hang on any of them. One that has ended already stays
    /// as it is and takes no epoch.
    pub(super) async fn revoke_session(
        &self,
        by: &By,
        zone: ZoneId,
        id: SessionId,
    ) -> Result<Written<SessionRow>, Failure> {
        let mut tx = self.database.begin(zone).await?;
        let now = self.clock.now();
        let before = sessions::find_for_update(&mut tx, zone, id)
            .await?
            .ok_or(Refusal::SessionNotFound)?;
        if before.state(now) != SessionState::Active {
            let epoch = zones::epoch(&mut tx, zone).await?.ok_or(Refusal::ZoneNotFound)?;
            let nothing = Deed::new(zone, "session.revoke", id).to(&SessionView::of(&before, now));
            by.complete(&mut tx, &nothing, Some(epoch)).await?;
            tx.commit().await?;
            return Ok(Written { value: before, epoch });
        }
        let ended = sessions::end(&mut tx, zone, Whose::Session(id), &by.name()).await?;
        let ids: Vec<SessionId> = ended.iter().map(|session| session.id).collect();
        let agents = self.end_agents_on(&mut tx, by, zone, &ids).await?;
        let revoked = sessions::find(&mut tx, zone, id)
            .await?
            .ok_or(Refusal::SessionNotFound)?;
        let (from, to) = (SessionView::of(&before, now), SessionView::of(&revoked, now));
        let deed = Deed::new(zone, "session.revoke", id)
            .from(&from)
            .to(&to)
            .about("terminated_agents", agents.agents())
            .about("revoked_edges", agents.edges());
        let change = Change::draw(&tx, &*self.clock, zone, by).await?;
        let anchors = revoked.anchors(&ended, change.epoch);
        for anchor in &anchors {
            anchors::insert(&mut tx, zone, anchor).await?;
        }
        let epoch = change
            .announce(&tx, FeedBody::SessionsRevoked { anchors })
            .await?;
        let epoch = self
            .announce(&mut tx, by, (zone, "session.revoke"), agents)
            .await?
            .unwrap_or(epoch);
        let below: Vec<_> = ended.into_iter().filter(|session| session.id != id).collect();
        self.note_ended(&tx, by, (zone, "session.revoke"), &below).await?;
        self.record(&mut tx, by, deed, Some(epoch)).await?;
        tx.commit().await?;
        Ok(Written {
            value: revoked,
            epoch,
        })
    }
}
