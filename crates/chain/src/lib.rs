//! The tamper-evident ledger as pure functions: an event's canonical bytes, its link to the one before, the Merkle tree
//! over all of them, its proofs and signed checkpoints, the verifier.
//!
//! This crate must never do I/O or ask the time. The bytes that are hashed are stored as they were hashed, so a later
//! version that would write an event differently never invalidates an old ledger.
//!
//! Start with [`link()`], then [`verify()`]; for the tree with [`Frontier::push`], then [`Plan`] and [`Checkpoint`].

mod canonical;
mod checkpoint;
mod link;
mod proof;
mod tree;
mod verify;

pub use canonical::{canonical_bytes, canonical_json};
pub use checkpoint::{Checkpoint, NoteError, VerifierKey};
pub use link::{Link, leaf_hash, link};
pub use proof::{Plan, extends, includes};
pub use tree::{Frontier, Hash, Node, Place, node_hash};
pub use verify::{Broken, BrokenKind, StoredEntry, verify, verify_to_head};
