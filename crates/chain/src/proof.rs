//! Proofs over the tree: that an event is in it, and that a later tree only added to an earlier one (RFC 6962 §2.1.1 and
//! §2.1.2; checked as RFC 9162 §2.1.3.2 and §2.1.4.2 say).

use crate::tree::{Hash, Place, STRIDE, join, level_of, node_hash};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A proof before its hashes are read: the stretches of leaves whose roots it consists of, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan(Vec<Range<u64>>);

impl Plan {
    /// That the leaf with this number, from 0, is in the tree of the first `size`. `None`: it is not.
    #[must_use]
    pub fn inclusion(leaf: u64, size: u64) -> Option<Self> {
        let (mut from, mut to, mut path) = (0, size, Vec::new());
        if leaf >= size {
            return None;
        }
        while to - from > 1 {
            let middle = split(from, to);
            if leaf < middle {
                path.push(middle..to);
                to = middle;
            } else {
                path.push(from..middle);
                from = middle;
            }
        }
        path.reverse();
        Some(Self(path))
    }

    /// That the tree of the first `old` leaves is the beginning of the tree of the first `new`. `None`: it is longer.
    #[must_use]
    pub fn consistency(old: u64, new: u64) -> Option<Self> {
        let (mut from, mut to, mut path) = (0, new, Vec::new());
        if old > new {
            return None;
        }
        if old == 0 {
            return Some(Self(path));
        }
        while old < to {
            let middle = split(from, to);
            if old <= middle {
                path.push(middle..to);
                to = middle;
            } else {
                path.push(from..middle);
                from = middle;
            }
        }
        if from > 0 {
            path.push(from..to);
        }
        path.reverse();
        Some(Self(path))
    }

    /// The kept nodes that its hashes are made of.
    #[must_use]
    pub fn places(&self) -> BTreeSet<Place> {
        self.0.iter().cloned().flat_map(perfect).flat_map(kept).collect()
    }

    /// The hashes, once the nodes are read. `None`: one of them is missing.
    #[must_use]
    pub fn hashes(&self, nodes: &BTreeMap<Place, Hash>) -> Option<Vec<Hash>> {
        let perfect_root = |height_and_index| {
            let mut row: Vec<Hash> = kept(height_and_index)
                .map(|place| nodes.get(&place).copied())
                .collect::<Option<_>>()?;
            while row.len() > 1 {
                row = row.chunks(2).map(join).collect::<Option<_>>()?;
            }
            row.pop()
        };
        let root = |stretch: &Range<u64>| {
            let roots: Option<Vec<Hash>> = perfect(stretch.clone()).map(perfect_root).collect();
            join(&roots?)
        };
        self.0.iter().map(root).collect()
    }
}

/// Where the left tree of `from..to` ends: after the largest power of two less than their number.
fn split(from: u64, to: u64) -> u64 {
    from + (1 << (to - from - 1).ilog2())
}

/// The perfect trees, as (height, number), that a stretch a tree is split into is made of, the largest first.
fn perfect(stretch: Range<u64>) -> impl Iterator<Item = (u32, u64)> {
    let mut from = stretch.start;
    std::iter::from_fn(move || {
        let height = (stretch.end - from).checked_ilog2()?;
        let index = from >> height;
        from += 1 << height;
        Some((height, index))
    })
}

/// The kept nodes side by side that make up a perfect tree: itself, or up to 128 of the level below.
fn kept((height, index): (u32, u64)) -> impl Iterator<Item = Place> {
    let (level, spread) = (level_of(height), height % STRIDE);
    (index << spread..(index + 1) << spread).map(move |index| Place { level, index })
}

/// Whether the path proves that the leaf is number `leaf`, from 0, of the tree with this size and root.
#[must_use]
pub fn includes(root: &Hash, size: u64, leaf: u64, leaf_hash: &Hash, path: &[Hash]) -> bool {
    if leaf >= size {
        return false;
    }
    let mut climb = Climb::new(leaf, size - 1);
    let mut hash = *leaf_hash;
    for sibling in path {
        match climb.step() {
            Some(Side::Left) => hash = node_hash(sibling, &hash),
            Some(Side::Right) => hash = node_hash(&hash, sibling),
            None => return false,
        }
    }
    climb.is_at_root() && hash == *root
}

/// Whether the path proves that the tree of size `new` begins with the tree of size `old`.
#[must_use]
pub fn extends((old, old_root): (u64, &Hash), (new, new_root): (u64, &Hash), path: &[Hash]) -> bool {
    if old == 0 || old >= new {
        return path.is_empty() && (old == 0 || (old == new && old_root == new_root));
    }
    // A perfect old tree is itself the first hash, and left out.
    let itself = old.is_power_of_two().then_some(old_root);
    let mut hashes = itself.into_iter().chain(path);
    let Some(first) = hashes.next() else { return false };
    let mut climb = Climb::new(old - 1, new - 1);
    climb.skip(old.trailing_zeros());
    let (mut was, mut is) = (*first, *first);
    for sibling in hashes {
        match climb.step() {
            Some(Side::Left) => {
                was = node_hash(sibling, &was);
                is = node_hash(sibling, &is);
            }
            Some(Side::Right) => is = node_hash(&is, sibling),
            None => return false,
        }
    }
    climb.is_at_root() && was == *old_root && is == *new_root
}

enum Side {
    Left,
    Right,
}

/// The way up from a node to the root, beside the way up from the last one.
struct Climb {
    node: u64,
    last: u64,
}

impl Climb {
    const fn new(node: u64, last: u64) -> Self {
        Self { node, last }
    }

    const fn skip(&mut self, levels: u32) {
        self.node >>= levels;
        self.last >>= levels;
    }

    /// On which side the next sibling stands; `None` at the root.
    fn step(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        let side = if self.node % 2 == 1 || self.node == self.last {
            // A last node without a sibling on its level goes up alone until it has one.
            self.skip(self.node.trailing_zeros());
            Side::Left
        } else {
            Side::Right
        };
        self.skip(1);
        Some(side)
    }

    const fn is_at_root(&self) -> bool {
        self.last == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf_hash;
    use crate::tree::Frontier;
    use proptest::prelude::*;

    /// A tree as it is kept, and its root at every size.
    struct Kept {
        nodes: BTreeMap<Place, Hash>,
        roots: Vec<Hash>,
    }

    fn grow(leaves: u64) -> Kept {
        let (mut frontier, mut grown) = (Frontier::default(), Vec::new());
        let (mut nodes, mut roots) = (BTreeMap::new(), vec![frontier.root()]);
        for index in 0..leaves {
            let hash = leaf_hash(&index.to_be_bytes());
            nodes.insert(Place { level: 0, index }, hash);
            frontier.push(hash, &mut grown);
            roots.push(frontier.root());
        }
        nodes.extend(grown.into_iter().map(|node| (node.place, node.hash)));
        Kept { nodes, roots }
    }

    impl Kept {
        fn root(&self, size: u64) -> Hash {
            self.roots[usize::try_from(size).unwrap_or_default()]
        }

        fn includes(&self, leaf: u64, size: u64, path: &[Hash]) -> bool {
            includes(
                &self.root(size),
                size,
                leaf,
                &leaf_hash(&leaf.to_be_bytes()),
                path,
            )
        }

        fn extends(&self, old: u64, new: u64, path: &[Hash]) -> bool {
            extends((old, &self.root(old)), (new, &self.root(new)), path)
        }
    }

    fn read(kept: &Kept, plan: Option<Plan>) -> Vec<Hash> {
        plan.and_then(|plan| plan.hashes(&kept.nodes))
            .unwrap_or_else(|| vec![[0; 32]; 99])
    }

    #[test]
    fn every_proof_of_small_trees_holds_and_for_nothing_else() {
        let kept = grow(40);
        for size in 1..=40 {
            for leaf in 0..size {
                let path = read(&kept, Plan::inclusion(leaf, size));
                assert!(kept.includes(leaf, size, &path), "{leaf} of {size}");
                assert!(!kept.includes((leaf + 1) % size, size, &path) || size == 1);
                assert!(!kept.includes(leaf, size, &[path.as_slice(), &[[0; 32]]].concat()));
                if let Some((_, shorter)) = path.split_last() {
                    assert!(!kept.includes(leaf, size, shorter));
                }
            }
            assert_eq!(Plan::inclusion(size, size), None);
            for old in 0..=size {
                let path = read(&kept, Plan::consistency(old, size));
                assert!(kept.extends(old, size, &path), "{old} to {size}");
                assert!(!kept.extends(old, size, &[path.as_slice(), &[[0; 32]]].concat()));
                if let Some((_, shorter)) = path.split_last() {
                    assert!(!kept.extends(old, size, shorter));
                }
                if old > 0 && old < size {
                    let other = (old, &[9; 32]);
                    assert!(!extends(other, (size, &kept.root(size)), &path));
                    assert!(!extends((old, &kept.root(old)), (size, &[9; 32]), &path));
                }
            }
            assert_eq!(Plan::consistency(size + 1, size), None);
        }
    }

    #[test]
    fn proofs_of_large_trees_read_few_nodes() {
        let kept = grow(66_000);
        for (leaf, size) in [
            (0, 66_000),
            (65_999, 66_000),
            (255, 65_792),
            (256, 66_000),
            (40_000, 65_537),
        ] {
            let plan = Plan::inclusion(leaf, size);
            let places = plan.as_ref().map_or(usize::MAX, |plan| plan.places().len());
            assert!(places <= 3 * 510, "{places}");
            assert!(kept.includes(leaf, size, &read(&kept, plan)));
        }
        for (old, new) in [
            (1, 66_000),
            (255, 257),
            (65_536, 66_000),
            (65_535, 65_536),
            (40_000, 66_000),
        ] {
            assert!(kept.extends(old, new, &read(&kept, Plan::consistency(old, new))));
        }
    }

    #[test]
    fn a_missing_node_makes_no_proof() {
        let plan = Plan::inclusion(3, 9);
        assert_eq!(plan.and_then(|plan| plan.hashes(&BTreeMap::new())), None);
    }

    proptest! {
        #[test]
        fn no_changed_hash_is_believed(size in 2_u64..300, leaf in any::<u64>(), at in any::<usize>(), bit in 0_u8..8) {
            let (kept, leaf) = (grow(size), leaf % size);
            let mut path = read(&kept, Plan::inclusion(leaf, size));
            let at = at % path.len();
            path[at][0] ^= 1 << bit;
            prop_assert!(!kept.includes(leaf, size, &path));
            let old = 1 + leaf % (size - 1);
            let mut path = read(&kept, Plan::consistency(old, size));
            let at = at % path.len();
            path[at][31] ^= 1 << bit;
            prop_assert!(!kept.extends(old, size, &path));
        }

        #[test]
        fn a_stranger_s_proof_is_no_panic(root in any::<[u8; 32]>(), size in any::<u64>(), leaf in any::<u64>(),
            path in proptest::collection::vec(any::<[u8; 32]>(), 0..80)) {
            prop_assert!(!includes(&root, size, leaf, &root, &path) || size == 1);
            prop_assert!(!extends((leaf, &root), (size, &[1; 32]), &path) || leaf == 0);
        }
    }
}
