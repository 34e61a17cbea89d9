//! How an event is bound to its zone, its place and everything before it.

use crate::tree::Hash;
use caracal_domain::id::ZoneId;
use ring::digest::{Context, SHA256};
use std::fmt;

/// Sets leaves apart from links and from the nodes of the Merkle tree over them (RFC 6962 §2.1).
const LEAF: u8 = 0x00;
/// Sets links of the chain apart from leaves.
const LINK: u8 = 0x01;

/// One place in a zone's chain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its number in the zone, from 1; 0 is the place before the first.
    pub seq: i64,
    /// The hash of the link before it.
    pub previous_hash: [u8; 32],
    /// Its own hash: SHA-256(0x01 ‖ zone ‖ seq ‖ previous hash ‖ leaf hash), the sequence as 8 bytes big-endian.
    pub hash: [u8; 32],
}

impl Link {
    /// The place before the first event of any zone.
    #[must_use]
    pub const fn genesis() -> Self {
        Self {
            seq: 0,
            previous_hash: [0; 32],
            hash: [0; 32],
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({} {})", self.seq, hex::encode(self.hash))
    }
}

/// The link that follows `previous` in the zone's chain and holds the bytes with this [`leaf_hash`].
#[must_use]
pub fn link(zone_id: ZoneId, previous: &Link, leaf: &Hash) -> Link {
    let seq = previous.seq.saturating_add(1);
    let mut context = Context::new(&SHA256);
    context.update(&[LINK]);
    context.update(zone_id.as_uuid().as_bytes());
    context.update(&seq.to_be_bytes());
    context.update(&previous.hash);
    context.update(leaf);
    Link {
        seq,
        previous_hash: previous.hash,
        hash: finish(context),
    }
}

/// SHA-256(0x00 ‖ canonical bytes), the leaf of the zone's Merkle tree (contract §6).
#[must_use]
pub fn leaf_hash(canonical: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[LEAF]);
    context.update(canonical);
    finish(context)
}

fn finish(context: Context) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
