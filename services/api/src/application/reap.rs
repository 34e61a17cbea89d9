//! The end of self-registered applications: by time, by decision, and what goes with them.

use super::ApplicationView;
use crate::app::Api;
use crate::change::{By, Deed};
use crate::ending::Ending;
use crate::error::Failure;
use crate::sight::Sight;
use crate::upkeep::told;
use caracal_domain::id::ZoneId;
use caracal_domain::zone::RegistrationMethod;
use caracal_domain::{FeedBody, RequestId};
use caracal_storage::applications::{self, ApplicationRow};
use caracal_storage::{Conn, Page, upkeep};

/// How many applications one round serves.
const A_ROUND: i64 = 200;

impl Api {
    /// Archives every self-registered application whose time is over, each in a transaction of its own.
    pub(crate) async fn reap_registrations(&self) -> Result<(), Failure> {
        let mut guard = self.database.begin(Sight::Everything).await?;
        if !upkeep::try_alone(&mut guard, "registrations").await? {
            return Ok(());
        }
        for row in upkeep::expired_registrations(&mut guard, A_ROUND).await? {
            let by = By::system(RequestId::accept_or_mint(None, &*self.clock));
            told("ending a registration", self.reap(&by, &row).await);
        }
        Ok(guard.rollback().await?)
    }

    async fn reap(&self, by: &By, row: &ApplicationRow) -> Result<(), Failure> {
        let mut tx = self.database.begin(row.zone_id).await?;
        // An administrator may have been faster.
        let still = applications::find_for_update(&mut tx, row.zone_id, row.id).await?;
        let Some(row) = still else { return Ok(()) };
        let ending = self.end_application(&mut tx, by, &row).await?;
        self.announce(&mut tx, by, (row.zone_id, "application.expire"), ending)
            .await?;
        let deed = Deed::new(row.zone_id, "application.expire", row.id).from(&ApplicationView::from(&row));
        self.conclude(tx, by, deed, FeedBody::ZoneChanged).await?;
        Ok(())
    }

    /// Archives every self-registered application of the zone and ends what they hold (seed `000`, `revoke_live`); the
    /// caller announces it.
    pub(crate) async fn end_registrations(
        &self,
        tx: &mut Conn,
        by: &By,
        zone: ZoneId,
    ) -> Result<Ending, Failure> {
        let mut ending = Ending::default();
        let mut page = Page::first(500);
        loop {
            let rows = applications::list(tx, zone, None, &page).await?;
            let Some(last) = rows.last() else {
                return Ok(ending);
            };
            page.after = Some((last.created_at, last.id.into()));
            for row in rows
                .iter()
                .filter(|row| row.registration_method == RegistrationMethod::Dcr)
            {
                ending = ending.and(self.end_application(tx, by, row).await?);
                let deed = Deed::new(zone, "application.archive", row.id).from(&ApplicationView::from(row));
                self.record(tx, by, deed, None).await?;
            }
        }
    }

    /// Archives one application and ends its sessions, agents and their edges; the caller announces it.
    pub(super) async fn end_application(
        &self,
        tx: &mut Conn,
        by: &By,
        row: &ApplicationRow,
    ) -> Result<Ending, Failure> {
        applications::archive(tx, row.zone_id, row.id).await?;
        self.end_holder(tx, by, row.zone_id, row.id).await
    }
}
