//! Signing a checkpoint: only of a ledger that follows from what was signed before. Whoever rewrites the database finds
//! nobody to vouch for it.

use super::Signer;
use crate::app::Api;
use crate::error::{Failure, Refusal};
use caracal_chain::{Checkpoint, Plan, extends};
use caracal_domain::id::ZoneId;
use caracal_storage::{audit, checkpoints};

/// A checkpoint and the note that says so.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) note: String,
}

impl Api {
    /// The zone's ledger as it is now, signed.
    pub(super) async fn checkpoint(&self, zone: ZoneId) -> Result<Signed, Failure> {
        let signer = self.ledger_signer().await?;
        let (kept, frontier) = self
            .read(zone, async |conn| {
                // In this order: what is kept is never beyond the ledger as it is read after it.
                Ok((
                    checkpoints::find(conn, zone).await?,
                    audit::frontier(conn, zone).await?,
                ))
            })
            .await?;
        let frontier = frontier.ok_or(Failure::Busy("The tree over this ledger is being grown."))?;
        let now = Checkpoint {
            origin: signer.origin(zone),
            size: frontier.size(),
            root: frontier.root(),
        };
        if let Some(note) = kept {
            let before = Checkpoint::open(&note, signer.known())
                .map_err(|_| inconsistent(zone, "the last checkpoint was not signed by us"))?;
            if before == now {
                return Ok(Signed {
                    checkpoint: now,
                    note,
                });
            }
            self.check_follows(zone, &before, &now).await?;
        }
        let note = signer.note(&now)?;
        let mut tx = self.database.begin(zone).await?;
        let size = i64::try_from(now.size).map_err(|_| Failure::Fault("the size of a ledger"))?;
        checkpoints::keep(&mut tx, zone, size, &note).await?;
        tx.commit().await?;
        Ok(Signed {
            checkpoint: now,
            note,
        })
    }

    async fn check_follows(
        &self,
        zone: ZoneId,
        before: &Checkpoint,
        now: &Checkpoint,
    ) -> Result<(), Failure> {
        let plan = Plan::consistency(before.size, now.size)
            .ok_or_else(|| inconsistent(zone, "it is shorter than its last checkpoint"))?;
        let path = self.hashes_of(zone, &plan).await?;
        let follows = extends((before.size, &before.root), (now.size, &now.root), &path);
        follows
            .then_some(())
            .ok_or_else(|| inconsistent(zone, "it is not the continuation of its last checkpoint"))
    }
}

impl Signer {
    /// Which ledger a checkpoint is of.
    fn origin(&self, zone: ZoneId) -> String {
        let name = self.known().first().map_or("", |key| key.name());
        format!("{name}/zones/{zone}")
    }

    fn note(&self, checkpoint: &Checkpoint) -> Result<String, Failure> {
        let key = self
            .known()
            .first()
            .ok_or(Failure::Fault("no key signs ledgers"))?;
        Ok(checkpoint.note(key, &self.sign(&checkpoint.text())?))
    }
}

/// Somebody wrote to the ledger who should not have.
fn inconsistent(zone: ZoneId, why: &'static str) -> Failure {
    tracing::error!(%zone, why, "the ledger was tampered with; no checkpoint is signed");
    Refusal::LedgerInconsistent.into()
}
