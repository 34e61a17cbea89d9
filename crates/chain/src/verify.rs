//! Reads a zone's chain from its first entry and names the first place where it is not whole.

use crate::link::{Link, leaf_hash, link};
use caracal_domain::id::ZoneId;
use std::fmt;

/// An entry as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its number in the zone, from 1.
    pub seq: i64,
    /// The bytes that were hashed.
    pub canonical: Vec<u8>,
    /// The hash of the entry before it, as stored.
    pub previous_hash: [u8; 32],
    /// Its own hash, as stored.
    pub hash: [u8; 32],
}

/// What is wrong at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenKind {
    /// The bytes, or the stored hash, are not those that were chained.
    Edit,
    /// Entries are missing before this one.
    Gap,
    /// An entry stands after one with a later number.
    Reorder,
    /// The number was already taken by an equal entry.
    Duplicate,
    /// The entry follows another past than the one before it here, or two differ about one number.
    Fork,
    /// The chain ends before its known head.
    Truncation,
}

impl fmt::Display for BrokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Edit => "edit",
            Self::Gap => "gap",
            Self::Reorder => "reorder",
            Self::Duplicate => "duplicate",
            Self::Fork => "fork",
            Self::Truncation => "truncation",
        })
    }
}

/// The first bad place (contract §6: `<kind> at seq <n>`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at seq {seq}")]
pub struct Broken {
    /// Where.
    pub seq: i64,
    /// What.
    pub kind: BrokenKind,
}

/// Walks the entries in the order given and returns the last link when the chain is whole.
///
/// # Errors
/// With the first bad place.
pub fn verify(zone_id: ZoneId, entries: impl Iterator<Item = StoredEntry>) -> Result<Link, Broken> {
    entries.into_iter().try_fold(Link::genesis(), |previous, entry| {
        check(zone_id, &previous, &entry)
    })
}

/// Like [`verify`], and the chain must end exactly at this head: without one, a cut-off tail cannot be seen.
///
/// # Errors
/// With the first bad place.
pub fn verify_to_head(
    zone_id: ZoneId,
    entries: impl Iterator<Item = StoredEntry>,
    head: &Link,
) -> Result<Link, Broken> {
    let last = verify(zone_id, entries)?;
    match last.seq {
        seq if seq < head.seq => Err(Broken {
            seq: seq.saturating_add(1),
            kind: BrokenKind::Truncation,
        }),
        seq if seq > head.seq || last.hash != head.hash => Err(Broken {
            seq,
            kind: BrokenKind::Fork,
        }),
        _ => Ok(last),
    }
}

fn check(zone_id: ZoneId, previous: &Link, entry: &StoredEntry) -> Result<Link, Broken> {
    let expected = link(zone_id, previous, &leaf_hash(&entry.canonical));
    let broken = |kind| Err(Broken { seq: entry.seq, kind });
    if entry.seq == previous.seq {
        return broken(if entry.hash == previous.hash {
            BrokenKind::Duplicate
        } else {
            BrokenKind::Fork
        });
    }
    if entry.seq < previous.seq {
        return broken(BrokenKind::Reorder);
    }
    if entry.seq > expected.seq {
        return Err(Broken {
            seq: expected.seq,
            kind: BrokenKind::Gap,
        });
    }
    if entry.previous_hash != expected.previous_hash {
        return broken(BrokenKind::Fork);
    }
    if entry.hash != expected.hash {
        return broken(BrokenKind::Edit);
    }
    Ok(expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn zone() -> ZoneId {
        Uuid::from_u128(7).into()
    }

    fn chain_from(previous: Link, texts: &[&str]) -> Vec<StoredEntry> {
        let mut last = previous;
        let mut entry = |text: &&str| {
            last = link(zone(), &last, &leaf_hash(text.as_bytes()));
            StoredEntry {
                seq: last.seq,
                canonical: (*text).into(),
                previous_hash: last.previous_hash,
                hash: last.hash,
            }
        };
        texts.iter().map(&mut entry).collect()
    }

    fn whole() -> Vec<StoredEntry> {
        chain_from(Link::genesis(), &["a", "b", "c", "d"])
    }

    fn broken(change: impl FnOnce(&mut Vec<StoredEntry>)) -> Option<String> {
        let mut entries = whole();
        change(&mut entries);
        verify(zone(), entries.into_iter())
            .err()
            .map(|broken| broken.to_string())
    }

    #[test]
    fn a_whole_chain_is_whole_in_its_own_zone_only() {
        assert_eq!(verify(zone(), whole().into_iter()).map(|link| link.seq), Ok(4));
        let stranger = verify(Uuid::from_u128(8).into(), whole().into_iter());
        assert_eq!(
            stranger,
            Err(Broken {
                seq: 1,
                kind: BrokenKind::Edit
            })
        );
    }

    #[test]
    fn each_kind_of_damage_is_told_apart() {
        assert_eq!(
            broken(|e| e[2].canonical = b"x".to_vec()).as_deref(),
            Some("edit at seq 3")
        );
        assert_eq!(broken(|e| e[2].hash = [9; 32]).as_deref(), Some("edit at seq 3"));
        assert_eq!(broken(|e| drop(e.remove(1))).as_deref(), Some("gap at seq 2"));
        assert_eq!(
            broken(|e| e.insert(2, e[1].clone())).as_deref(),
            Some("duplicate at seq 2")
        );
        assert_eq!(
            broken(|e| e.push(e[1].clone())).as_deref(),
            Some("reorder at seq 2")
        );
        let other = chain_from(Link::genesis(), &["a", "x", "y"]);
        assert_eq!(
            broken(|e| e[2] = other[2].clone()).as_deref(),
            Some("fork at seq 3")
        );
        assert_eq!(
            broken(|e| e.insert(2, other[1].clone())).as_deref(),
            Some("fork at seq 2")
        );
    }

    #[test]
    fn a_missing_tail_shows_against_the_head() {
        let head = verify(zone(), whole().into_iter()).unwrap_or(Link::genesis());
        let short = whole().into_iter().take(2);
        assert_eq!(
            verify_to_head(zone(), short, &head),
            Err(Broken {
                seq: 3,
                kind: BrokenKind::Truncation
            })
        );
        assert_eq!(verify_to_head(zone(), whole().into_iter(), &head), Ok(head));
    }

    proptest! {
        #[test]
        fn no_single_changed_byte_goes_unnoticed(index in 0_usize..4, bit in 0_u32..8) {
            let mut entries = whole();
            for byte in &mut entries[index].canonical {
                *byte ^= 1 << bit;
            }
            prop_assert!(verify(zone(), entries.into_iter()).is_err());
        }
    }
}
