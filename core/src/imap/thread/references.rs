//! The REFERENCES algorithm (RFC 5256 §3), step by step as the RFC numbers them.
//!
//! A node is a message, or one that is only referred to: a dummy. The steps 2 to 6 work on lists: the parent of each
//! node is final after step 1, so nothing but sorting is left.

use super::forest::{Forest, NONE};
use super::{Message, Place, REFERENCES_MAX, Threads};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

/// Messages that are only referred to, for each message there is; and so many in any case.
const DUMMIES_PER_MESSAGE: usize = 4;
const DUMMIES_ANYWAY: usize = 1000;

#[derive(Default)]
pub(super) struct References {
    forest: Forest,
    /// The message of each node; `NONE` for a dummy.
    messages: Vec<u32>,
    ids: BTreeMap<Box<[u8]>, u32>,
    told: usize,
}

impl References {
    /// Step 1.
    pub(super) fn push(&mut self, message: u32, id: Option<Vec<u8>>, references: Vec<Vec<u8>>) {
        self.told += 1;
        let node = self.node_of_message(message, id);
        let skip = references.len().saturating_sub(REFERENCES_MAX);
        let mut last = NONE;
        // Step 1 A: each reference is the parent of the next one, unless that has a parent.
        for id in references.into_iter().skip(skip) {
            let Some(next) = self.node_of_id(id) else { continue };
            if last != NONE && self.forest.parent(next) == NONE {
                self.forest.link(next, last);
            }
            last = next;
        }
        // Step 1 B: of its own parent the message knows best.
        self.forest.cut(node);
        if last != NONE {
            self.forest.link(node, last);
        }
    }

    /// A message has the node of its identifier, unless another one has that.
    fn node_of_message(&mut self, message: u32, id: Option<Vec<u8>>) -> u32 {
        if let Some(id) = id {
            let node = self.ids.get(&id[..]).copied();
            match node.and_then(|node| self.messages.get_mut(node as usize).map(|slot| (node, slot))) {
                Some((node, slot)) if *slot == NONE => {
                    *slot = message;
                    return node;
                }
                Some(_) => {}
                None => {
                    let node = self.node(message);
                    self.ids.insert(id.into(), node);
                    return node;
                }
            }
        }
        self.node(message)
    }

    fn node_of_id(&mut self, id: Vec<u8>) -> Option<u32> {
        if let Some(node) = self.ids.get(&id[..]) {
            return Some(*node);
        }
        let dummies = self.forest.len().saturating_sub(self.told);
        if dummies >= self.told.saturating_mul(DUMMIES_PER_MESSAGE).saturating_add(DUMMIES_ANYWAY) {
            return None;
        }
        let node = self.node(NONE);
        self.ids.insert(id.into(), node);
        Some(node)
    }

    /// How many nodes there are.
    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.forest.len()
    }

    fn node(&mut self, message: u32) -> u32 {
        self.messages.push(message);
        self.forest.push()
    }

    /// Steps 2 to 6.
    pub(super) fn finish(self, messages: &[Message]) -> Threads {
        let tops = self.tops();
        let mut roots = Roots::new(messages);
        for (message, top) in self.messages.iter().zip(tops).filter(|(message, _)| **message != NONE) {
            let parent = match self.messages.get(top as usize) {
                // A dummy of the first level.
                Some(&NONE) => messages.len() as u32 + top,
                Some(parent) => *parent,
                None => NONE,
            };
            roots.pairs.push((parent, *message));
        }
        drop(self);
        roots.finish()
    }

    /// Steps 2 and 3: for each node the message or the dummy of the first level that it is directly below, when
    /// all other dummies are taken out; `NONE` for what is at the first level itself.
    fn tops(&self) -> Vec<u32> {
        let mut tops: Vec<Option<u32>> = vec![None; self.forest.len()];
        let is_dummy = |node: u32| self.messages.get(node as usize) == Some(&NONE);
        let mut path = Vec::new();
        for node in 0..self.forest.len() as u32 {
            // Up to a node that knows, and back down.
            let mut at = node;
            while tops.get(at as usize) == Some(&None) {
                path.push(at);
                at = self.forest.parent(at);
            }
            while let Some(node) = path.pop() {
                let parent = self.forest.parent(node);
                let above = tops.get(parent as usize).copied().flatten().unwrap_or(NONE);
                // A dummy above that is not of the first level is passed over.
                let top = if above != NONE && is_dummy(parent) { above } else { parent };
                if let Some(slot) = tops.get_mut(node as usize) {
                    *slot = Some(top);
                }
            }
        }
        tops.into_iter().map(|top| top.unwrap_or(NONE)).collect()
    }
}

/// Steps 4 to 6. From here on a node is the number of its message, or a number above all messages: a dummy, which is
/// always of the first level.
struct Roots<'m> {
    messages: &'m [Message],
    /// Parent and child, by now for all messages; the parent of the first level is `NONE`.
    pairs: Vec<(u32, u32)>,
    /// The next dummy.
    next: u32,
}

/// A node of the first level.
#[derive(Clone, Copy)]
struct Root {
    node: u32,
    /// The message that stands for it: itself, or the first child of a dummy.
    first: Message,
    is_dummy: bool,
}

impl<'m> Roots<'m> {
    fn new(messages: &'m [Message]) -> Roots<'m> {
        Roots { messages, pairs: Vec::with_capacity(messages.len()), next: 0 }
    }

    fn message(&self, node: u32) -> Option<&'m Message> {
        self.messages.get(node as usize)
    }

    /// When a message was sent, and its place in the mailbox.
    fn sent(&self, node: u32) -> (i64, u32) {
        self.message(node).map_or((i64::MAX, node), |message| (message.sent, message.uid))
    }

    /// Sorts the children of each parent by when they were sent.
    fn sort(&mut self) {
        let mut pairs = core::mem::take(&mut self.pairs);
        pairs.sort_unstable_by_key(|(parent, node)| (*parent, self.sent(*node)));
        self.pairs = pairs;
    }

    fn finish(mut self) -> Threads {
        self.sort();
        self.next =
            self.pairs.iter().map(|(parent, _)| *parent).filter(|parent| *parent != NONE).max().unwrap_or(0);
        self.next = self.next.max(self.messages.len() as u32) + 1;
        let mut roots = self.first_level();
        roots.sort_unstable_by_key(|root| (root.first.sent, root.first.uid));
        self.merge_subjects(&roots);
        self.sort();
        self.places()
    }

    /// The end of step 3: a dummy with one child gives it its place. And step 4.
    fn first_level(&mut self) -> Vec<Root> {
        let count = self.messages.len() as u32;
        let mut roots = Vec::new();
        for siblings in self.pairs.chunk_by_mut(|a, b| a.0 == b.0) {
            if let [(parent, _)] = siblings
                && *parent >= count
            {
                *parent = NONE;
            }
            let parent = siblings.first().map_or(NONE, |(parent, _)| *parent);
            if parent < count {
                continue;
            }
            let found =
                siblings.iter().filter_map(|(_, node)| Some((*node, *self.messages.get(*node as usize)?)));
            match parent == NONE {
                true => roots.extend(found.map(|(node, first)| Root { node, first, is_dummy: false })),
                false => {
                    roots.extend(found.take(1).map(|(_, first)| Root {
                        node: parent,
                        first,
                        is_dummy: true,
                    }));
                }
            }
        }
        roots
    }

    /// Step 5: threads of one subject become one.
    fn merge_subjects(&mut self, roots: &[Root]) {
        // Step 5 B: which of them the others are merged with.
        let mut table: BTreeMap<u32, Root> = BTreeMap::new();
        for root in roots.iter().filter(|root| root.first.subject != 0) {
            let kept = table.entry(root.first.subject).or_insert(*root);
            let better = root.is_dummy || (kept.first.is_reply && !root.first.is_reply);
            if !kept.is_dummy && better {
                *kept = *root;
            }
        }
        // Step 5 C. What becomes of a root: the parent it gets, or for a dummy the one that takes its children.
        let mut moved: BTreeMap<u32, u32> = BTreeMap::new();
        for root in roots {
            let Some(kept) = table.get_mut(&root.first.subject).filter(|kept| kept.node != root.node) else {
                continue;
            };
            if moved.contains_key(&root.node) {
                continue;
            }
            if kept.is_dummy || (root.first.is_reply && !kept.first.is_reply) {
                moved.insert(root.node, kept.node);
                continue;
            }
            let dummy = self.next;
            self.next += 1;
            moved.insert(root.node, dummy);
            moved.insert(kept.node, dummy);
            *kept = Root { node: dummy, is_dummy: true, ..*kept };
        }
        let count = self.messages.len() as u32;
        for (parent, node) in &mut self.pairs {
            let changed = if *parent == NONE {
                moved.get(node)
            } else {
                moved.get(parent).filter(|_| *parent >= count)
            };
            *parent = changed.copied().unwrap_or(*parent);
        }
    }

    /// The trees; the children of each parent stand side by side, and what is above all messages is a dummy.
    fn places(&self) -> Threads {
        let count = self.messages.len() as u32;
        let children = |parent: u32| {
            let start = self.pairs.partition_point(|(other, _)| *other < parent);
            let end = self.pairs.partition_point(|(other, _)| *other <= parent);
            self.pairs.get(start..end).unwrap_or_default()
        };
        let mut roots: Vec<(u32, (i64, u32))> =
            children(NONE).iter().map(|(_, node)| (*node, self.sent(*node))).collect();
        for siblings in self.pairs.chunk_by(|a, b| a.0 == b.0) {
            if let Some((parent, first)) =
                siblings.first().filter(|(parent, _)| *parent >= count && *parent != NONE)
            {
                roots.push((*parent, self.sent(*first)));
            }
        }
        roots.sort_unstable_by_key(|(_, sent)| *sent);
        let mut places = Vec::with_capacity(self.pairs.len());
        let mut stack: Vec<u32> = Vec::new();
        for (root, _) in roots {
            stack.push(root);
            while let Some(node) = stack.pop() {
                let below = children(node);
                let uid = self.message(node).map_or(0, |message| message.uid);
                places.push(Place { uid, children: below.len() as u32 });
                stack.extend(below.iter().rev().map(|(_, child)| *child));
            }
        }
        Threads { places }
    }
}
