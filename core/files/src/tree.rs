//! BLAKE3 in groups of 16 KiB: each group has a chaining value that can be checked by itself, and all of them together
//! make the file's ordinary hash.

use alloc::boxed::Box;
use alloc::vec::Vec;

use blake3::Hasher;
use blake3::hazmat::{HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// Bytes of a group. All groups of a file but its last are so long.
pub const GROUP: usize = 16_384;
/// Bytes of a chaining value, and of a hash.
pub const HASH: usize = 32;

/// A BLAKE3 hash, or a chaining value.
pub type Hash = [u8; HASH];

/// The hash of bytes that are there all at once.
#[must_use]
pub fn hash(content: &[u8]) -> Hash {
    *blake3::hash(content).as_bytes()
}

/// The chaining values of content, as groups of it come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    /// Chaining values of complete subtrees, the largest first: one for each bit of `below`.
    stack: Vec<Hash>,
    /// Groups in `stack`.
    below: u64,
    /// The group after these, which may be the last.
    last: Option<Hash>,
    /// The hash of the first group, which counts if there is no second.
    first: Option<Hash>,
    bytes: u64,
}

impl Tree {
    /// How many bytes there are so far.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether all groups so far are whole, so that another can follow.
    pub(crate) const fn is_aligned(&self) -> bool {
        self.bytes.is_multiple_of(GROUP as u64)
    }

    /// Adds the next group: at most [`GROUP`] bytes and at least one, and only the last of a file may have fewer. Gives its
    /// chaining value.
    pub(crate) fn add(&mut self, group: &[u8]) -> Hash {
        let value = Hasher::new().set_input_offset(self.bytes).update(group).finalize_non_root();
        if self.bytes == 0 {
            self.first = Some(hash(group));
        }
        if let Some(last) = self.last.replace(value) {
            self.settle(last);
        }
        self.bytes = self.bytes.saturating_add(group.len() as u64);
        value
    }

    /// A group that is not the last: joins all subtrees that it completes.
    fn settle(&mut self, mut value: Hash) {
        self.below += 1;
        for _ in 0..self.below.trailing_zeros() {
            let Some(left) = self.stack.pop() else { break };
            value = merge_subtrees_non_root(&left, &value, Mode::Hash);
        }
        self.stack.push(value);
    }

    /// The hash of all content.
    pub(crate) fn root(&self) -> Hash {
        let Some(mut value) = self.last else { return hash(&[]) };
        let Some((top, rest)) = self.stack.split_first() else { return self.first.unwrap_or_default() };
        for left in rest.iter().rev() {
            value = merge_subtrees_non_root(left, &value, Mode::Hash);
        }
        *merge_subtrees_root(top, &value, Mode::Hash).as_bytes()
    }
}

/// A hash over chaining values, by which two ends find out that they have the same beginning of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digest(Box<Hasher>);

impl Digest {
    pub(crate) fn add(&mut self, value: &Hash) {
        self.0.update(value);
    }

    pub(crate) fn value(&self) -> Hash {
        *self.0.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_together_make_the_ordinary_hash() {
        let content: Vec<u8> = (0..40 * GROUP).map(|at| (at / 7 + at % 251) as u8).collect();
        let mut lengths: Vec<usize> = (0..=40).flat_map(|groups| [groups * GROUP, groups * GROUP + 1]).collect();
        lengths.extend([1, 1_024, 1_025, GROUP - 1, 17 * GROUP - 1]);
        for length in lengths {
            let Some(content) = content.get(..length) else { continue };
            let mut tree = Tree::default();
            content.chunks(GROUP).for_each(|group| {
                tree.add(group);
            });
            assert_eq!((tree.root(), tree.bytes()), (hash(content), length as u64), "{length} bytes");
            assert_eq!(tree.is_aligned(), length % GROUP == 0);
        }
    }

    #[test]
    fn a_group_has_another_value_elsewhere() {
        let mut tree = Tree::default();
        let group = [7; GROUP];
        assert_ne!(tree.add(&group), tree.add(&group));
    }
}
