//! What came from a stream, sorted: events for the ledger, letters for a human.

use caracal_bus::Delivery;
use caracal_domain::AuditEvent;
use caracal_wire::decode_audit;

/// One delivery, read.
#[derive(Debug, Clone)]
pub enum Entry {
    /// An event to be chained.
    Event(Box<AuditEvent>),
    /// Something that is none, and why.
    Letter {
        /// What is wrong with it.
        reason: String,
        /// Its bytes.
        payload: Vec<u8>,
    },
}

/// Reads a delivery. Nothing is an event unless its signature holds and every field is what the domain allows.
#[must_use]
pub fn sift(delivery: &Delivery) -> Entry {
    match &delivery.payload {
        Err(untrusted) => Entry::Letter {
            reason: format!("untrusted: {}", untrusted.reason),
            payload: untrusted.payload.clone(),
        },
        Ok(payload) => match decode_audit(payload) {
            Ok(event) => Entry::Event(Box::new(event)),
            Err(error) => Entry::Letter {
                reason: format!("undecodable: {error}"),
                payload: payload.clone(),
            },
        },
    }
}
