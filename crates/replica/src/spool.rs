//! The recorder's second store.

use caracal_bus::{AUDIT_SUBJECT, BoxError, Spool};
use caracal_domain::AuditEvent;
use caracal_storage::{Database, spool};
use futures::future::BoxFuture;

#[derive(Debug)]
pub(crate) struct DatabaseSpool(pub(crate) Database);

impl Spool for DatabaseSpool {
    fn append<'a>(
        &'a self,
        event: &'a AuditEvent,
        payload: Vec<u8>,
        traceparent: Option<String>,
    ) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            let conn = self.0.acquire().await?;
            let (zone, id, trace) = (event.zone_id, event.id, traceparent.as_deref());
            spool::append(&conn, zone, id, AUDIT_SUBJECT, &payload, trace).await?;
            Ok(())
        })
    }
}
