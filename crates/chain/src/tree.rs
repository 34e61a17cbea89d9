//! The Merkle tree over a zone's leaves (RFC 6962 §2.1): what an append needs, and the nodes that proofs are made of.

use ring::digest::{Context, SHA256, digest};
use std::fmt;

/// SHA-256, of a leaf, a node or a whole tree.
pub type Hash = [u8; 32];

/// Sets nodes apart from leaves (RFC 6962 §2.1).
const NODE: u8 = 0x01;
/// Of the levels of the tree the leaves and every eighth above them are kept, as in C2SP tlog-tiles: one node for 256
/// leaves, and whatever lies between is at most 255 hashes away.
pub(crate) const STRIDE: u32 = 8;

/// Where a kept node stands: it is the root of the 256^level leaves from number `index` · 256^level on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// 0 are the leaves themselves.
    pub level: u8,
    /// Its number among those of its level, from 0.
    pub index: u64,
}

/// A node at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Where.
    pub place: Place,
    /// The root of the leaves below it.
    pub hash: Hash,
}

/// SHA-256(0x01 ‖ left ‖ right), an inner node.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[NODE]);
    context.update(left);
    context.update(right);
    to_hash(context.finish().as_ref())
}

/// The right edge of a tree: the roots of the perfect trees it is made of, the largest first. It is all that is needed to
/// append and to tell the root, and as long as the size has ones in binary.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// Reads what [`Frontier::to_bytes`] wrote of a tree with so many leaves.
    #[must_use]
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Option<Self> {
        let (roots, rest) = bytes.as_chunks::<32>();
        let whole = rest.is_empty() && u32::try_from(roots.len()) == Ok(size.count_ones());
        whole.then(|| Self {
            size,
            roots: roots.to_vec(),
        })
    }

    /// The roots, one after the other.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.roots.concat()
    }

    /// How many leaves the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree; of one without leaves SHA-256 of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        join(&self.roots).unwrap_or_else(|| to_hash(digest(&SHA256, b"").as_ref()))
    }

    /// Appends a leaf, and adds to `grown` the nodes above the leaves that are to be kept and came about by it.
    pub fn push(&mut self, leaf: Hash, grown: &mut Vec<Node>) {
        let (number, mut hash, mut height) = (self.size, leaf, 0);
        while let Some(left) = self.roots.pop_if(|_| (number >> height) & 1 == 1) {
            hash = node_hash(&left, &hash);
            height += 1;
            if height % STRIDE == 0 {
                let place = Place {
                    level: level_of(height),
                    index: number >> height,
                };
                grown.push(Node { place, hash });
            }
        }
        self.roots.push(hash);
        self.size = self.size.saturating_add(1);
    }
}

impl fmt::Debug for Frontier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frontier({} {})", self.size, hex::encode(self.root()))
    }
}

/// The root over perfect trees that stand side by side, the largest first.
pub(crate) fn join(roots: &[Hash]) -> Option<Hash> {
    let right_to_left = roots.iter().rev().copied();
    right_to_left.reduce(|right, left| node_hash(&left, &right))
}

/// The kept level at or below a height; a tree of 2^64 leaves has eight.
pub(crate) fn level_of(height: u32) -> u8 {
    u8::try_from(height / STRIDE).unwrap_or(u8::MAX)
}

fn to_hash(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(bytes);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9162 §2.1.1's roots over the eight inputs that the certificate transparency projects test with.
    #[test]
    fn the_roots_are_those_of_certificate_transparency() {
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut frontier = Frontier::default();
        assert_eq!(
            hex::encode(frontier.root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for (input, root) in inputs.into_iter().zip(roots) {
            frontier.push(crate::leaf_hash(input), &mut Vec::new());
            assert_eq!(hex::encode(frontier.root()), root);
            let read = Frontier::from_bytes(frontier.size(), &frontier.to_bytes());
            assert_eq!(read, Some(frontier.clone()));
        }
    }

    #[test]
    fn a_frontier_of_another_length_is_none() {
        assert_eq!(Frontier::from_bytes(3, &[0; 32]), None);
        assert_eq!(Frontier::from_bytes(1, &[0; 33]), None);
        assert_eq!(Frontier::from_bytes(0, &[]), Some(Frontier::default()));
    }

    #[test]
    fn one_node_is_kept_for_every_256_and_one_for_every_65536() {
        let (mut frontier, mut grown) = (Frontier::default(), Vec::new());
        for _ in 0..65_536 {
            frontier.push([7; 32], &mut grown);
        }
        let (first, second): (Vec<Node>, Vec<Node>) =
            grown.into_iter().partition(|node| node.place.level == 1);
        assert!(first.iter().map(|node| node.place.index).eq(0..256));
        assert_eq!(
            second.iter().map(|node| node.place).collect::<Vec<_>>(),
            [Place { level: 2, index: 0 }]
        );
        assert_eq!(second.first().map(|node| node.hash), Some(frontier.root()));
    }
}
