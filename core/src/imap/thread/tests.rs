//! The algorithms on small mailboxes; against a plain reading of the RFC on arbitrary ones.

use super::*;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use proptest::prelude::*;

/// `uid sent subject id references`, `-` for none; `re:` before the subject.
fn message(line: &str) -> ThreadMessage {
    let words: Vec<&str> = line.split_whitespace().collect();
    let subject = words[2].strip_prefix("re:");
    let some = |word: &str| (word != "-").then(|| word.as_bytes().to_vec());
    ThreadMessage {
        uid: words[0].parse().unwrap(),
        sent: words[1].parse().unwrap(),
        subject: some(subject.unwrap_or(words[2])).unwrap_or_default(),
        is_reply: subject.is_some(),
        id: some(words[3]),
        references: words[4..].iter().map(|id| id.as_bytes().to_vec()).collect(),
    }
}

fn threads(algorithm: Algorithm, lines: &[&str]) -> String {
    let mut threader = Threader::new(algorithm);
    lines.iter().for_each(|line| threader.push(message(line)));
    let mut out = Vec::new();
    threader.finish().write(&mut out, Some);
    String::from_utf8(out).unwrap()
}

#[test]
fn ordered_subject() {
    let lines =
        ["1 50 b a@x", "2 40 a b@x", "3 30 b c@x", "4 60 a d@x", "5 45 b e@x", "6 10 - f@x", "7 20 - g@x"];
    assert_eq!(threads(Algorithm::OrderedSubject, &lines), " (6 7)(3 (5)(1))(2 4)");
    assert_eq!(threads(Algorithm::OrderedSubject, &[]), "");
}

#[test]
fn references() {
    for (lines, expected) in [
        (&[][..], ""),
        (&["1 1 a a@x"], " (1)"),
        // A chain, whatever the order in which its messages lie in the mailbox.
        (&["1 3 re:a c@x a@x b@x", "2 1 a a@x", "3 2 re:a b@x a@x"], " (2 3 1)"),
        // Children of one that is not there.
        (&["3 2 a b@x a@x", "5 1 b c@x a@x"], " ((5)(3))"),
        // One child takes the place of a parent that is not there.
        (&["3 2 a b@x z@x a@x"], " (3)"),
        // Within a thread, those that are not there are passed over.
        (&["1 1 a a@x", "2 2 b b@x a@x n@x", "3 3 c c@x a@x n@x m@x"], " (1 (2)(3))"),
        // A loop is not made.
        (&["1 1 a a@x b@x", "2 2 b b@x a@x"], " (2 1)"),
        (&["1 1 a a@x a@x"], " (1)"),
        // Two with one identifier: the first has it.
        (&["1 1 a a@x", "2 2 b a@x", "3 3 c c@x a@x"], " (1 3)(2)"),
        // Step 1 B: its own parent a message knows best, and if it has none, it has none.
        (&["1 3 a c@x a@x b@x", "2 2 b b@x z@x"], " (2 1)"),
        (&["1 3 a c@x z@x b@x", "2 2 b b@x"], " (2 1)"),
        // One that had none gets one later.
        (&["1 2 a b@x", "2 3 b c@x a@x b@x", "3 1 c a@x"], " (3 1 2)"),
        // By subject: a reply without references.
        (&["1 1 a a@x", "2 2 re:a b@x"], " (1 2)"),
        (&["1 1 re:a a@x", "2 2 a b@x"], " (2 1)"),
        (&["1 1 a a@x", "2 2 a b@x"], " ((1)(2))"),
        (&["1 1 a a@x", "2 2 a b@x", "3 3 re:a c@x", "4 4 - d@x", "5 5 - e@x"], " ((1)(2)(3))(4)(5)"),
        // Two parents that are not there, and one that is merged with them.
        (
            &["1 1 a a@x p@x", "2 2 a b@x p@x", "3 3 a c@x q@x", "4 4 a d@x q@x", "5 5 a e@x"],
            " ((1)(2)(3)(4)(5))",
        ),
        // Siblings in the order in which they were sent.
        (&["1 1 a a@x", "2 9 b b@x a@x", "3 5 c c@x a@x", "4 7 d d@x c@x"], " (1 (3 4)(2))"),
    ] {
        assert_eq!(threads(Algorithm::References, lines), expected, "{lines:?}");
    }
}

#[test]
fn the_shape_of_the_response() {
    let place = |uid, children| Place { uid, children };
    let shape = |places: &[Place]| {
        let mut out = Vec::new();
        Threads { places: places.to_vec() }.write(&mut out, Some);
        String::from_utf8(out).unwrap()
    };
    // The examples of RFC 5256 §4.
    let places = [2, 3, 6, 4, 23, 44, 7, 96].into_iter().zip([0, 1, 2, 1, 0, 1, 1, 0]);
    let places: Vec<Place> = places.map(|(uid, children)| place(uid, children)).collect();
    assert_eq!(shape(&places), " (2)(3 6 (4 23)(44 7 96))");
    assert_eq!(shape(&[place(0, 2), place(3, 0), place(5, 0)]), " ((3)(5))");
    assert_eq!(
        shape(&[place(1, 2), place(2, 2), place(3, 0), place(4, 0), place(5, 0)]),
        " (1 (2 (3)(4))(5))"
    );
}

#[test]
fn long_chains_and_many_strangers_cost_little() {
    let mut threader = Threader::new(Algorithm::References);
    // Each answers the next one in the mailbox and names all before it, the worst order for whoever walks up.
    let count = 20_000u32;
    for uid in 1..=count {
        let ancestors = (uid + 1..uid + 20).rev();
        let references = ancestors.map(|other| format!("{other}@x").into_bytes()).collect();
        threader.push(ThreadMessage {
            uid,
            sent: i64::from(uid),
            id: Some(format!("{uid}@x").into_bytes()),
            references,
            ..ThreadMessage::default()
        });
    }
    let threads = threader.finish();
    assert_eq!(threads.uids().count(), count as usize);
    let mut out = Vec::new();
    threads.write(&mut out, Some);
    assert_eq!(out.iter().filter(|octet| **octet == b'(').count(), 1);

    let mut threader = Threader::new(Algorithm::References);
    for uid in 1..=10 {
        let references = (0..10_000).map(|other| format!("{uid}.{other}@x").into_bytes()).collect();
        threader.push(ThreadMessage { uid, references, ..ThreadMessage::default() });
    }
    assert_eq!(threader.references.known(), 1010);
}

/// The steps as the RFC has them, with a tree that is changed in place.
mod plain {
    use super::*;

    #[derive(Clone)]
    pub(super) struct Box {
        pub(super) message: Option<ThreadMessage>,
        parent: Option<usize>,
    }

    pub(super) struct Plain {
        pub(super) boxes: Vec<Box>,
    }

    impl Plain {
        fn children(&self, parent: Option<usize>) -> Vec<usize> {
            let is_child = |index: &usize| self.boxes[*index].parent == parent && *index != 0;
            (0..self.boxes.len()).filter(is_child).collect()
        }

        fn is_below(&self, mut node: usize, above: usize) -> bool {
            loop {
                if node == above {
                    return true;
                }
                match self.boxes[node].parent {
                    Some(parent) => node = parent,
                    None => return false,
                }
            }
        }

        fn link(&mut self, node: usize, parent: usize) {
            if !self.is_below(parent, node) {
                self.boxes[node].parent = Some(parent);
            }
        }

        fn sent(&self, node: usize) -> (i64, u32) {
            match &self.boxes[node].message {
                Some(message) => (message.sent, message.uid),
                None => self.children(Some(node)).into_iter().map(|child| self.sent(child)).min().unwrap(),
            }
        }

        fn first(&self, node: usize) -> ThreadMessage {
            let children = self.children(Some(node));
            let first = children.into_iter().min_by_key(|child| self.sent(*child));
            self.boxes[node]
                .message
                .clone()
                .unwrap_or_else(|| self.boxes[first.unwrap()].message.clone().unwrap())
        }

        fn write(&self, node: usize, out: &mut String) {
            if let Some(message) = &self.boxes[node].message {
                out.push_str(&format!("{}", message.uid));
            }
            let mut children = self.children(Some(node));
            children.sort_by_key(|child| self.sent(*child));
            match children.as_slice() {
                [] => {}
                [only] => {
                    out.push(' ');
                    self.write(*only, out);
                }
                several => {
                    out.push_str(if self.boxes[node].message.is_some() { " " } else { "" });
                    for child in several {
                        out.push('(');
                        self.write(*child, out);
                        out.push(')');
                    }
                }
            }
        }
    }

    pub(super) fn threads(messages: &[ThreadMessage]) -> String {
        // The box 0 is nobody's, so that it can be the root.
        let nobody = Box { message: None, parent: Some(0) };
        let mut plain = Plain { boxes: vec![nobody] };
        let mut ids: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for message in messages {
            let mut own = None;
            if let Some(id) = &message.id {
                let known = ids.get(id).copied();
                if known.is_none_or(|known| plain.boxes[known].message.is_none()) {
                    own = known;
                    let next = plain.boxes.len();
                    ids.entry(id.clone()).or_insert(next);
                }
            }
            let own = own.unwrap_or_else(|| {
                plain.boxes.push(Box { message: None, parent: None });
                plain.boxes.len() - 1
            });
            plain.boxes[own].message = Some(message.clone());
            let mut last: Option<usize> = None;
            for id in &message.references {
                let next = *ids.entry(id.clone()).or_insert(plain.boxes.len());
                if next == plain.boxes.len() {
                    plain.boxes.push(Box { message: None, parent: None });
                }
                if let Some(last) = last.filter(|_| plain.boxes[next].parent.is_none()) {
                    plain.link(next, last);
                }
                last = Some(next);
            }
            plain.boxes[own].parent = None;
            if let Some(last) = last {
                plain.link(own, last);
            }
        }
        prune(&mut plain);
        merge(&mut plain);
        let mut out = String::new();
        let mut roots = plain.children(None);
        roots.sort_by_key(|root| plain.sent(*root));
        for root in roots {
            out.push_str(if out.is_empty() { " (" } else { "(" });
            plain.write(root, &mut out);
            out.push(')');
        }
        out
    }

    fn prune(plain: &mut Plain) {
        loop {
            let dummy = (1..plain.boxes.len()).find(|index| {
                let Box { message, parent } = &plain.boxes[*index];
                let children = plain.children(Some(*index)).len();
                message.is_none() && *parent != Some(0) && (parent.is_some() || children < 2)
            });
            let Some(dummy) = dummy else { return };
            let parent = plain.boxes[dummy].parent;
            for child in plain.children(Some(dummy)) {
                plain.boxes[child].parent = parent;
            }
            plain.boxes[dummy].parent = Some(0);
        }
    }

    fn merge(plain: &mut Plain) {
        let mut roots = plain.children(None);
        roots.sort_by_key(|root| plain.sent(*root));
        let is_dummy = |plain: &Plain, node: usize| plain.boxes[node].message.is_none();
        let mut table: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for root in &roots {
            let first = plain.first(*root);
            let Some(kept) = table.get(&first.subject).copied() else {
                table.insert(first.subject, *root);
                continue;
            };
            let better = is_dummy(plain, *root) || (plain.first(kept).is_reply && !first.is_reply);
            if !is_dummy(plain, kept) && better {
                table.insert(first.subject, *root);
            }
        }
        for root in roots {
            let first = plain.first(root);
            if first.subject.is_empty() || plain.boxes[root].parent.is_some() || table[&first.subject] == root
            {
                continue;
            }
            let kept = table[&first.subject];
            match (is_dummy(plain, kept), is_dummy(plain, root)) {
                (true, true) => {
                    for child in plain.children(Some(root)) {
                        plain.boxes[child].parent = Some(kept);
                    }
                    plain.boxes[root].parent = Some(0);
                }
                (true, false) => plain.boxes[root].parent = Some(kept),
                (false, false) if first.is_reply && !plain.first(kept).is_reply => {
                    plain.boxes[root].parent = Some(kept);
                }
                (false, _) => {
                    let dummy = plain.boxes.len();
                    plain.boxes.push(Box { message: None, parent: None });
                    plain.boxes[root].parent = Some(dummy);
                    plain.boxes[kept].parent = Some(dummy);
                    table.insert(first.subject, dummy);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn as_the_plain_reading(
        drawn in proptest::collection::vec(
            (0i64..6, 0usize..4, any::<bool>(), 0u8..9, proptest::collection::vec(0u8..9, 0..4)),
            0..9,
        ),
    ) {
        let id = |number: u8| format!("{number}@x").into_bytes();
        let messages: Vec<ThreadMessage> = drawn
            .into_iter()
            .zip(1..)
            .map(|((sent, subject, is_reply, own, references), uid)| ThreadMessage {
                uid,
                sent,
                subject: ["", "a", "b", "c"][subject].into(),
                is_reply,
                id: (own > 0).then(|| id(own)),
                references: references.into_iter().map(id).collect(),
            })
            .collect();
        let mut threader = Threader::new(Algorithm::References);
        messages.iter().for_each(|message| threader.push(message.clone()));
        let mut out = Vec::new();
        threader.finish().write(&mut out, Some);
        prop_assert_eq!(String::from_utf8(out).unwrap(), plain::threads(&messages));
    }
}
