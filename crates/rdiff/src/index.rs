//! Blocks of the old file by their rolling digests.

/// The end of a chain, and an empty slot.
const NONE: u32 = u32::MAX;

/// The maximum number of blocks of one slot that a search compares.
const MAX_STEPS: usize = 32;

/// Some blocks of the old file, in ascending order, by their rolling digests.
///
/// Positions only grow, so that a search drops the blocks before its first permitted one.
#[derive(Default)]
pub(crate) struct Index {
    /// The rolling digest and the number of each block.
    blocks: Vec<(u32, u64)>,
    /// The first block of each slot.
    heads: Vec<u32>,
    /// The next block of the same slot.
    following: Vec<u32>,
    shift: u32,
}

impl Index {
    /// Replaces the contents. The blocks are in ascending order.
    pub(crate) fn fill(&mut self, blocks: impl Iterator<Item = (u32, u64)>) {
        self.blocks.clear();
        self.blocks.extend(blocks);
        // Few blocks share a slot, and most searches end at an empty one.
        let slots = (2 * self.blocks.len()).next_power_of_two().clamp(64, 1 << 18);
        self.shift = u32::BITS - slots.trailing_zeros();
        self.heads.clear();
        self.heads.resize(slots, NONE);
        self.following.clear();
        self.following.resize(self.blocks.len(), NONE);
        // From the last block to the first, so that the chains ascend.
        for (position, (rolling, _)) in self.blocks.iter().enumerate().rev() {
            let head = &mut self.heads[(rolling >> self.shift) as usize];
            self.following[position] = std::mem::replace(head, position as u32);
        }
    }

    /// Returns true if the index has no blocks.
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Returns true if no block can have the digest.
    #[inline]
    pub(crate) fn excludes(&self, rolling: u32) -> bool {
        self.heads.get((rolling >> self.shift) as usize).is_none_or(|head| *head == NONE)
    }

    /// Returns the first block from `from` on that has the digest and that `accept` accepts.
    pub(crate) fn find(&mut self, rolling: u32, from: u64, mut accept: impl FnMut(u64) -> bool) -> Option<u64> {
        let head = self.heads.get_mut((rolling >> self.shift) as usize)?;
        while let Some((_, number)) = self.blocks.get(*head as usize)
            && *number < from
        {
            *head = self.following[*head as usize];
        }
        let mut position = *head;
        for _ in 0..MAX_STEPS {
            let (found, number) = *self.blocks.get(position as usize)?;
            if found == rolling && accept(number) {
                return Some(number);
            }
            position = self.following[position as usize];
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_returns_the_first_permitted_block() {
        let mut index = Index::default();
        assert!(index.excludes(7) && index.find(7, 0, |_| true).is_none());
        index.fill([(7, 3), (9, 4), (7, 5), (7, 8)].into_iter());
        assert_eq!(index.find(7, 0, |_| true), Some(3));
        assert_eq!(index.find(7, 0, |number| number > 3), Some(5));
        assert_eq!(index.find(7, 4, |_| true), Some(5));
        assert_eq!(index.find(7, 9, |_| true), None);
        assert_eq!(index.find(1 << 31, 0, |_| true), None);
        index.fill(std::iter::empty());
        assert!(index.excludes(7));
    }
}
