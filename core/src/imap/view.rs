//! A session's view of a mailbox: which UID has which sequence number.
//!
//! Sessions that opened the mailbox at the same time share the chunks; a change copies one chunk, not the map.
//!
//! ```
//! use postier_core::imap::view::UidMap;
//! let mut view: UidMap = [3, 5, 9].into_iter().collect();
//! assert_eq!((view.uid_at(2), view.sequence_of(9)), (Some(5), Some(3)));
//! assert_eq!(view.remove(5), Some(2));
//! assert_eq!(view.sequence_of(9), Some(2));
//! ```

use alloc::sync::Arc;
use alloc::vec::Vec;

const CHUNK_UIDS: usize = 1024;

/// UIDs in ascending order, by sequence number (from 1).
#[derive(Clone, Debug, Default)]
pub struct UidMap {
    chunks: Vec<Arc<Vec<u32>>>,
    /// How many UIDs lie before each chunk.
    before: Vec<u32>,
    len: u32,
}

impl UidMap {
    /// How many messages: EXISTS.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// No message at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The UID at a sequence number.
    pub fn uid_at(&self, sequence: u32) -> Option<u32> {
        let index = sequence.checked_sub(1)?;
        let chunk = self.before.partition_point(|&before| before <= index).checked_sub(1)?;
        let offset = index - self.before.get(chunk)?;
        self.chunks.get(chunk)?.get(offset as usize).copied()
    }

    /// The sequence number of a UID.
    pub fn sequence_of(&self, uid: u32) -> Option<u32> {
        let (chunk, index) = self.locate(uid)?;
        Some(self.before.get(chunk)? + index as u32 + 1)
    }

    /// The highest UID.
    pub fn last(&self) -> Option<u32> {
        self.chunks.last()?.last().copied()
    }

    /// All UIDs, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().copied())
    }

    /// UIDs with sequence numbers `first..=last`, ascending.
    pub fn range(&self, first: u32, last: u32) -> impl Iterator<Item = u32> {
        let index = first.saturating_sub(1);
        let chunk = self.before.partition_point(|&before| before <= index).saturating_sub(1);
        let skip = index - self.before.get(chunk).copied().unwrap_or_default();
        let count = (u64::from(last) + 1).saturating_sub(u64::from(first.max(1)));
        let tail = self.chunks.get(chunk..).unwrap_or_default();
        let uids = tail.iter().flat_map(|chunk| chunk.iter().copied());
        uids.skip(skip as usize).take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// UIDs with `first <= uid <= last`, ascending.
    pub fn uid_range(&self, first: u32, last: u32) -> impl Iterator<Item = u32> {
        let start = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|&uid| uid < first));
        let tail = self.chunks.get(start..).unwrap_or_default();
        let uids = tail.iter().flat_map(|chunk| chunk.iter().copied());
        uids.skip_while(move |&uid| uid < first).take_while(move |&uid| uid <= last)
    }

    /// Adds a UID above all others; false, and nothing done, if it is not.
    pub fn push(&mut self, uid: u32) -> bool {
        if self.last().is_some_and(|last| last >= uid) {
            return false;
        }
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_UIDS => Arc::make_mut(chunk).push(uid),
            Some(_) | None => {
                self.chunks.push(Arc::new(Vec::from([uid])));
                self.before.push(self.len);
            }
        }
        self.len += 1;
        true
    }

    /// Takes a UID out; returns the sequence number it had.
    pub fn remove(&mut self, uid: u32) -> Option<u32> {
        let (at, index) = self.locate(uid)?;
        let sequence = self.before.get(at)? + index as u32 + 1;
        let chunk = Arc::make_mut(self.chunks.get_mut(at)?);
        chunk.remove(index);
        let emptied = chunk.is_empty();
        for before in self.before.iter_mut().skip(at + 1) {
            *before -= 1;
        }
        if emptied {
            self.chunks.remove(at);
            self.before.remove(at);
        }
        self.len -= 1;
        Some(sequence)
    }

    fn locate(&self, uid: u32) -> Option<(usize, usize)> {
        let at = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|&last| last < uid));
        let index = self.chunks.get(at)?.binary_search(&uid).ok()?;
        Some((at, index))
    }
}

impl FromIterator<u32> for UidMap {
    /// From ascending UIDs; one that does not ascend is left out.
    fn from_iter<I: IntoIterator<Item = u32>>(uids: I) -> Self {
        let mut map = UidMap::default();
        for uid in uids {
            map.push(uid);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ascending(gaps: &[u32]) -> Vec<u32> {
        let sum = |uid: &mut u32, gap: &u32| {
            *uid += gap;
            Some(*uid)
        };
        gaps.iter().scan(0, sum).collect()
    }

    proptest! {
        #[test]
        fn behaves_as_a_sorted_vector(
            gaps in proptest::collection::vec(1u32..4, 0..3000),
            removed in proptest::collection::vec(any::<u16>(), 0..50),
        ) {
            let mut model = ascending(&gaps);
            let mut map: UidMap = model.iter().copied().collect();
            for pick in removed {
                let uid = u32::from(pick) % (model.len() as u32 * 2 + 1);
                let index = model.binary_search(&uid).ok();
                prop_assert_eq!(map.remove(uid), index.map(|index| index as u32 + 1));
                index.map(|index| model.remove(index));
            }
            prop_assert_eq!(map.iter().collect::<Vec<_>>(), model.clone());
            prop_assert_eq!(map.len() as usize, model.len());
            for (index, uid) in model.iter().enumerate() {
                prop_assert_eq!(map.uid_at(index as u32 + 1), Some(*uid));
                prop_assert_eq!(map.sequence_of(*uid), Some(index as u32 + 1));
            }
            prop_assert_eq!(map.uid_at(0), None);
            prop_assert_eq!(map.uid_at(model.len() as u32 + 1), None);
            if model.len() > 3 {
                prop_assert_eq!(map.range(2, 3).collect::<Vec<_>>(), model[1..3].to_vec());
                prop_assert_eq!(map.range(2, u32::MAX).count(), model.len() - 1);
                prop_assert_eq!(map.uid_range(model[1], model[2]).collect::<Vec<_>>(), model[1..3].to_vec());
            }
        }
    }
}
