//! The tamper-evident ledger as pure functions: an event's canonical bytes, its link to the one before, the verifier.
//!
//! This crate must never do I/O or ask the time. The bytes that are hashed are stored as they were hashed, so a later
//! version that would write an event differently never invalidates an old ledger.
//!
//! Start with [`link()`], then [`verify()`].

mod canonical;
mod link;
mod verify;

pub use canonical::{canonical_bytes, canonical_json};
pub use link::{Link, leaf_hash, link};
pub use verify::{Broken, BrokenKind, StoredEntry, verify, verify_to_head};
