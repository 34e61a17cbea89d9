//! After an upgrade of OPA: what zones decide by is compiled again, beside the old modules, which stay as they are.

use crate::app::Api;
use crate::change::announce_compiled;
use crate::error::Failure;
use crate::sight::Sight;
use crate::upkeep::told;
use caracal_storage::modules::{self, NewModule, Outdated};
use caracal_storage::upkeep::try_alone;
use std::time::{Duration, Instant};

/// Each takes a third of a second of a processor.
const A_ROUND: i64 = 4;
/// Between two looks at everything: what was activated since may have been compiled long ago.
const LOOK_EVERY: Duration = Duration::from_mins(10);

/// How far the look at everything has come.
#[derive(Debug, Default)]
pub(crate) struct Recompiling {
    after: String,
    done_at: Option<Instant>,
}

impl Api {
    /// Compiles the next few modules that an older compiler made. One that no longer compiles stays as it is.
    pub(crate) async fn recompile_policies(&self, progress: &mut Recompiling) -> Result<(), Failure> {
        if progress.done_at.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        // Without a compiler there is no newer one.
        let Ok(version) = self.compiler.version().await else {
            return Ok(());
        };
        let mut guard = self.database.begin(Sight::Everything).await?;
        if !try_alone(&mut guard, "recompiling").await? {
            return Ok(());
        }
        let outdated = modules::outdated(&mut guard, &version, &progress.after, A_ROUND).await?;
        for one in &outdated {
            told("compiling a policy again", self.recompile(one).await);
        }
        match outdated.last() {
            Some(last) => progress.after.clone_from(&last.module),
            None => {
                *progress = Recompiling {
                    after: String::new(),
                    done_at: Some(Instant::now()),
                };
            }
        }
        Ok(guard.rollback().await?)
    }

    async fn recompile(&self, outdated: &Outdated) -> Result<(), Failure> {
        let made = self.compiler.compile(&outdated.content).await?;
        let mut tx = self.database.begin(outdated.zone_id).await?;
        let name = made.name.clone();
        let new = NewModule {
            name: made.name,
            wasm: made.wasm,
            wasm_sha256: made.wasm_sha256,
            opa_version: made.opa_version,
        };
        modules::insert_if_absent(&mut tx, &new).await?;
        modules::succeed(&mut tx, &outdated.module, &name).await?;
        announce_compiled(&tx, &*self.clock, outdated.zone_id, vec![name]).await?;
        Ok(tx.commit().await?)
    }
}
