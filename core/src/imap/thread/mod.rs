//! Threads of messages (RFC 5256): what THREAD asks for, the two algorithms, and the response.
//!
//! Somebody who can read messages tells a [`Threader`] of each, in the order of the mailbox; it gives [`Threads`].
//! Nothing recurses, however deep people answer each other, and no step is quadratic: linking is a logarithm
//! (`forest`), everything else sorts.
//!
//! Memory is a few hundred octets for each message. A message counts with at most [`REFERENCES_MAX`] references, and
//! messages that are only referred to are known up to four for each message told of.
//!
//! ```
//! use postier_core::imap::thread::{Algorithm, ThreadMessage, Threader};
//!
//! let mut threader = Threader::new(Algorithm::References);
//! threader.push(ThreadMessage { uid: 7, sent: 20, id: Some(b"b@x".to_vec()), references: vec![b"a@x".to_vec()], ..ThreadMessage::default() });
//! threader.push(ThreadMessage { uid: 9, sent: 10, id: Some(b"a@x".to_vec()), ..ThreadMessage::default() });
//! let mut out = Vec::new();
//! threader.finish().write(&mut out, |uid| Some(uid));
//! assert_eq!(out, b" (9 7)");
//! ```

mod forest;
mod references;

use super::response::write_number;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use references::References;

/// How many references of one message count: the last ones, which are its next ancestors.
pub const REFERENCES_MAX: usize = 100;

/// How messages are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ORDEREDSUBJECT: by their base subjects.
    OrderedSubject,
    /// REFERENCES: by who answers whom, and by subject where that is not said.
    References,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 2] = [Algorithm::OrderedSubject, Algorithm::References];

    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::OrderedSubject => "ORDEREDSUBJECT",
            Algorithm::References => "REFERENCES",
        }
    }
}

/// What is to be known of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadMessage {
    /// Its UID.
    pub uid: u32,
    /// When it was sent (RFC 5256 §2.2), in seconds since 1970.
    pub sent: i64,
    /// Its base subject, folded for comparing; empty if there is none.
    pub subject: Vec<u8>,
    /// Its subject says that it is a reply or forwarded.
    pub is_reply: bool,
    /// Its own identifier.
    pub id: Option<Vec<u8>>,
    /// The identifiers of its ancestors, the next one last.
    pub references: Vec<Vec<u8>>,
}

/// A message told of; those that are only referred to have no UID.
#[derive(Clone, Copy)]
struct Message {
    uid: u32,
    sent: i64,
    /// The number of its subject; 0 is the empty one.
    subject: u32,
    is_reply: bool,
}

/// Takes messages and puts them into threads.
pub struct Threader {
    algorithm: Algorithm,
    messages: Vec<Message>,
    subjects: BTreeMap<Box<[u8]>, u32>,
    references: References,
}

impl Threader {
    /// Nothing is known yet.
    pub fn new(algorithm: Algorithm) -> Threader {
        Threader {
            algorithm,
            messages: Vec::new(),
            subjects: BTreeMap::new(),
            references: References::default(),
        }
    }

    /// Tells of the next message, by ascending UID.
    pub fn push(&mut self, message: ThreadMessage) {
        let ThreadMessage { uid, sent, subject, is_reply, id, references } = message;
        let next = self.subjects.len() as u32 + 1;
        let subject = match subject.is_empty() {
            true => 0,
            false => *self.subjects.entry(subject.into()).or_insert(next),
        };
        let number = self.messages.len() as u32;
        self.messages.push(Message { uid, sent, subject, is_reply });
        match self.algorithm {
            Algorithm::OrderedSubject => {}
            Algorithm::References => self.references.push(number, id, references),
        }
    }

    /// The threads.
    pub fn finish(self) -> Threads {
        match self.algorithm {
            Algorithm::OrderedSubject => by_subject(self.messages),
            Algorithm::References => self.references.finish(&self.messages),
        }
    }
}

/// RFC 5256 §3, ORDEREDSUBJECT: the oldest message of a subject, and under it all the others.
fn by_subject(mut messages: Vec<Message>) -> Threads {
    let sent = |message: &Message| (message.sent, message.uid);
    messages.sort_unstable_by_key(|message| (message.subject, sent(message)));
    let mut threads: Vec<&[Message]> = messages.chunk_by(|a, b| a.subject == b.subject).collect();
    threads.sort_unstable_by_key(|thread| thread.first().map(sent));
    let mut places = Vec::with_capacity(messages.len());
    for thread in threads {
        for (index, message) in thread.iter().enumerate() {
            let children = if index == 0 { thread.len() as u32 - 1 } else { 0 };
            places.push(Place { uid: message.uid, children });
        }
    }
    Threads { places }
}

/// Trees of messages, told as each message with all that is below it, then the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Threads {
    places: Vec<Place>,
}

/// A place in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// 0 for a parent that is not there.
    uid: u32,
    /// How many places are directly below.
    children: u32,
}

impl Threads {
    /// The UIDs in the order in which they are told.
    pub fn uids(&self) -> impl Iterator<Item = u32> {
        self.places.iter().map(|place| place.uid).filter(|uid| *uid != 0)
    }

    /// Writes the threads of a THREAD response, ` (3 6 (4 23)(44 7 96))`, nothing if there is none. `number` says what
    /// a UID is called; a message it does not know is left out, as a parent that is not there.
    pub fn write(&self, out: &mut Vec<u8>, number: impl Fn(u32) -> Option<u32>) {
        // For each place above that has several children, how many of their lists are still to come.
        let mut open: Vec<u32> = Vec::new();
        let mut in_list = false;
        for place in &self.places {
            if !in_list {
                if open.is_empty() && out.last() != Some(&b')') {
                    out.push(b' ');
                }
                out.push(b'(');
            }
            if let Some(number) = Some(place.uid).filter(|uid| *uid != 0).and_then(&number) {
                if in_list && out.last() != Some(&b'(') {
                    out.push(b' ');
                }
                write_number(out, number.into());
                if place.children > 1 {
                    out.push(b' ');
                }
            }
            in_list = place.children == 1;
            match place.children {
                0 => {
                    out.push(b')');
                    close_lists(out, &mut open);
                }
                1 => {}
                several => open.push(several),
            }
        }
    }
}

/// A list has ended: so has each around it of which it was the last.
fn close_lists(out: &mut Vec<u8>, open: &mut Vec<u32>) {
    while let Some(left) = open.last_mut() {
        *left = left.saturating_sub(1);
        if *left > 0 {
            return;
        }
        open.pop();
        out.push(b')');
    }
}

#[cfg(test)]
mod tests;
