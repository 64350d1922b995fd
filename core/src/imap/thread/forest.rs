//! Trees that grow together and are cut apart: who is whose parent, and which root a node hangs from.
//!
//! REFERENCES must not make a loop, so before each link it asks whether one node is below another. Walking up would
//! make a long chain of answers cost its length for each of them. Here it costs a logarithm, amortised: link-cut trees
//! (Sleator and Tarjan 1983). Each path is a splay tree in the order of depth, and `up` of its root leads to the parent
//! of the path's upper end.

use alloc::vec::Vec;

/// No node.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Node {
    parent: u32,
    /// How many nodes have it as their parent.
    children: u32,
    up: u32,
    left: u32,
    right: u32,
}

const LONELY: Node = Node { parent: NONE, children: 0, up: NONE, left: NONE, right: NONE };

/// A forest of nodes numbered from 0.
#[derive(Default)]
pub(super) struct Forest {
    nodes: Vec<Node>,
}

impl Forest {
    /// A new node, a tree by itself.
    pub(super) fn push(&mut self) -> u32 {
        self.nodes.push(LONELY);
        self.nodes.len() as u32 - 1
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The parent of a node, or [`NONE`].
    pub(super) fn parent(&self, node: u32) -> u32 {
        self.node(node).parent
    }

    /// Whether `above` is `node` or above it, when `above` has no parent.
    fn is_root_of(&mut self, above: u32, node: u32) -> bool {
        above == node || (self.node(above).children > 0 && self.root(node) == above)
    }

    /// Makes `parent` the parent of a node that has none; nothing is done if that made a loop.
    pub(super) fn link(&mut self, node: u32, parent: u32) {
        if self.is_root_of(node, parent) {
            return;
        }
        self.access(node);
        self.node_mut(node).up = parent;
        self.node_mut(node).parent = parent;
        self.node_mut(parent).children += 1;
    }

    /// Takes a node and what is below it away from its parent.
    pub(super) fn cut(&mut self, node: u32) {
        let parent = core::mem::replace(&mut self.node_mut(node).parent, NONE);
        if parent == NONE {
            return;
        }
        self.node_mut(parent).children -= 1;
        self.access(node);
        let above = core::mem::replace(&mut self.node_mut(node).left, NONE);
        if above != NONE {
            self.node_mut(above).up = NONE;
        }
    }

    fn root(&mut self, node: u32) -> u32 {
        self.access(node);
        let mut root = node;
        while self.node(root).left != NONE {
            root = self.node(root).left;
        }
        self.splay(root);
        root
    }

    /// Makes the path from the root to `node` one splay tree, with `node` at its top.
    fn access(&mut self, node: u32) {
        let (mut below, mut at) = (NONE, node);
        while at != NONE {
            self.splay(at);
            self.node_mut(at).right = below;
            (below, at) = (at, self.node(at).up);
        }
        self.splay(node);
    }

    fn splay(&mut self, node: u32) {
        while !self.is_top(node) {
            let up = self.node(node).up;
            if !self.is_top(up) {
                let same_side = self.is_left(node) == self.is_left(up);
                self.rotate(if same_side { up } else { node });
            }
            self.rotate(node);
        }
    }

    /// Whether it is at the top of its splay tree.
    fn is_top(&self, node: u32) -> bool {
        let up = self.node(self.node(node).up);
        up.left != node && up.right != node
    }

    fn is_left(&self, node: u32) -> bool {
        self.node(self.node(node).up).left == node
    }

    /// Puts a node in the place of the one above it.
    fn rotate(&mut self, node: u32) {
        let up = self.node(node).up;
        let (over, top, left) = (self.node(up).up, self.is_top(up), self.is_left(node));
        let over_left = self.is_left(up);
        let moved = if left { self.node(node).right } else { self.node(node).left };
        match left {
            true => (self.node_mut(up).left, self.node_mut(node).right) = (moved, up),
            false => (self.node_mut(up).right, self.node_mut(node).left) = (moved, up),
        }
        if moved != NONE {
            self.node_mut(moved).up = up;
        }
        self.node_mut(up).up = node;
        self.node_mut(node).up = over;
        match (top, over_left) {
            (true, _) => {}
            (false, true) => self.node_mut(over).left = node,
            (false, false) => self.node_mut(over).right = node,
        }
    }

    fn node(&self, node: u32) -> Node {
        self.nodes.get(node as usize).copied().unwrap_or(LONELY)
    }

    fn node_mut(&mut self, node: u32) -> &mut Node {
        self.nodes.get_mut(node as usize).expect("nodes are numbered by push, and none is ever taken out")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_as_a_list_of_parents(steps in proptest::collection::vec((0u32..12, 0u32..12, any::<bool>()), 0..120)) {
            let mut forest = Forest::default();
            (0..12).for_each(|node| assert_eq!(forest.push(), node));
            let mut parents = [NONE; 12];
            let root = |parents: &[u32; 12], mut node: u32| {
                while parents[node as usize] != NONE {
                    node = parents[node as usize];
                }
                node
            };
            for (node, other, link) in steps {
                if link && parents[node as usize] == NONE {
                    if root(&parents, other) != node {
                        parents[node as usize] = other;
                    }
                    forest.link(node, other);
                } else if !link {
                    parents[node as usize] = NONE;
                    forest.cut(node);
                }
                for node in 0..12 {
                    prop_assert_eq!(forest.parent(node), parents[node as usize]);
                    prop_assert_eq!(forest.root(node), root(&parents, node));
                }
            }
        }
    }
}
