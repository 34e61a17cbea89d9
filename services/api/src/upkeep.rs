//! Work that time brings about: self-registered applications end, scheduled key rotations happen, old keys leave, and
//! policies are compiled again by a newer OPA. Every replica looks; an advisory lock of the database lets one at a time do
//! it.

use crate::app::Api;
use crate::error::Failure;
use crate::policy::Recompiling;
use std::sync::Arc;
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks for ever. What fails is tried again next time.
pub(crate) async fn keep_up(api: Arc<Api>) {
    let mut recompiling = Recompiling::default();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        told("ending registrations", api.reap_registrations().await);
        told("keeping signing keys", api.keep_keys().await);
        told(
            "compiling policies again",
            api.recompile_policies(&mut recompiling).await,
        );
    }
}

/// Logs what failed; one zone's trouble keeps no other from its turn.
pub(crate) fn told(what: &str, done: Result<(), Failure>) {
    if let Err(failure) = done {
        let cause: &(dyn std::error::Error + 'static) = &failure;
        tracing::warn!(error = cause, what, "upkeep failed, and will be tried again");
    }
}
