//! A query made ready for many messages: names looked up, days made seconds, texts numbered.

use super::Scope;
use super::text::{Text, Where};
use crate::imap::flag::SystemFlag;
use crate::imap::objectid::EmailId;
use crate::imap::search::SearchKey;
use crate::imap::sequence::UidSet;
use crate::imap::server::SearchQuery;
use crate::maildir::mailbox::Message;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

const DAY_SECONDS: i64 = 86_400;
/// What it costs to judge by one key, in octets read at the same expense.
const KEY_BYTES: usize = 16;

/// The query.
#[derive(Debug)]
pub(super) struct Program {
    root: Node,
    sets: Sets,
    /// The texts to look for.
    pub(super) texts: Vec<Text>,
    /// What messages may have to be asked for.
    pub(super) wants: Wants,
    /// What it costs to judge a message by what is known, in octets read at the same expense.
    pub(super) cost: usize,
}

/// Messages that the session knows more about than the mailbox does.
#[derive(Debug)]
struct Sets {
    recent: UidSet,
    /// `$`
    saved: UidSet,
}

/// What a query asks that a snapshot may not know.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wants {
    pub(super) date: bool,
    pub(super) saved: bool,
    pub(super) size: bool,
    pub(super) sent: bool,
    /// Fields of the message's header.
    pub(super) header: bool,
    /// Texts that can be anywhere.
    pub(super) text: bool,
}

#[derive(Debug)]
enum Node {
    Always(bool),
    All(Vec<Node>),
    Any(Box<(Node, Node)>),
    Not(Box<Node>),
    Uids(UidSet),
    Saved,
    Flag(SystemFlag),
    Keyword(usize),
    Recent,
    /// INTERNALDATE in seconds since 1970.
    Arrived(RangeInclusive<i64>),
    /// SAVEDATE in seconds since 1970.
    SavedAt(RangeInclusive<i64>),
    /// It has this mod-sequence or a higher one.
    ModSeq(u64),
    /// EMAILID
    Email(EmailId),
    /// Day of the Date field, in days since 1970.
    Sent(RangeInclusive<i64>),
    /// RFC822.SIZE
    Size(RangeInclusive<u64>),
    /// The number of a text.
    Text(usize),
}

/// What is known of the message at hand.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) wire_size: Option<u64>,
    pub(super) internal_date: Option<i64>,
    pub(super) saved: Option<i64>,
    /// The day in the Date field, if there is one; `None` if it was not looked at.
    pub(super) sent: Option<Option<i64>>,
    /// For each text whether it is there; `None` if that is not known.
    pub(super) found: Vec<Option<bool>>,
}

impl Facts {
    pub(super) fn new(texts: usize) -> Facts {
        Facts {
            wire_size: None,
            internal_date: None,
            saved: None,
            sent: None,
            found: alloc::vec![None; texts],
        }
    }

    /// Forgets the message before.
    pub(super) fn start(&mut self, message: &Message) {
        self.wire_size = message.wire_size;
        self.internal_date = message.internal_date;
        (self.saved, self.sent) = (message.save_date(), None);
        self.found.fill(None);
    }
}

impl Program {
    pub(super) fn new(query: &SearchQuery, scope: &Scope) -> Program {
        let mut compiler = Compiler { scope, texts: Vec::new(), wants: Wants::default(), keys: 0 };
        let root = compiler.node(&query.key);
        let Compiler { texts, wants, keys, .. } = compiler;
        let sets = Sets { recent: query.recent.clone(), saved: query.saved.clone() };
        Program { root, sets, texts, wants, cost: keys.saturating_mul(KEY_BYTES) }
    }

    /// Whether the message matches; `None` if what is known does not decide it.
    pub(super) fn judge(&self, message: &Message, facts: &Facts) -> Option<bool> {
        self.root.judge(&self.sets, message, facts)
    }
}

impl Node {
    /// Recursion is bounded by the parser's `SEARCH_DEPTH_MAX`.
    fn judge(&self, sets: &Sets, message: &Message, facts: &Facts) -> Option<bool> {
        match self {
            Node::Always(verdict) => Some(*verdict),
            Node::All(nodes) => {
                let mut all = Some(true);
                for node in nodes {
                    match node.judge(sets, message, facts) {
                        Some(false) => return Some(false),
                        Some(true) => {}
                        None => all = None,
                    }
                }
                all
            }
            Node::Any(nodes) => match nodes.0.judge(sets, message, facts) {
                Some(true) => Some(true),
                Some(false) => nodes.1.judge(sets, message, facts),
                None => nodes.1.judge(sets, message, facts).filter(|verdict| *verdict),
            },
            Node::Not(node) => node.judge(sets, message, facts).map(|verdict| !verdict),
            Node::Uids(uids) => Some(uids.contains(message.uid)),
            Node::Saved => Some(sets.saved.contains(message.uid)),
            Node::Flag(flag) => Some(message.flags.contains(*flag)),
            Node::Keyword(index) => Some(message.flags.contains_keyword(*index)),
            Node::Recent => Some(sets.recent.contains(message.uid)),
            Node::Arrived(range) => facts.internal_date.map(|seconds| range.contains(&seconds)),
            Node::SavedAt(range) => facts.saved.map(|seconds| range.contains(&seconds)),
            Node::ModSeq(modseq) => Some(message.modseq >= *modseq),
            Node::Email(id) => Some(EmailId::of(message.base()) == *id),
            Node::Sent(range) => facts.sent.map(|day| day.is_some_and(|day| range.contains(&day))),
            Node::Size(range) => facts.wire_size.map(|size| range.contains(&size)),
            Node::Text(number) => facts.found.get(*number).copied().flatten(),
        }
    }
}

struct Compiler<'s> {
    scope: &'s Scope,
    texts: Vec<Text>,
    wants: Wants,
    keys: usize,
}

impl Compiler<'_> {
    /// Recursion is bounded by the parser's `SEARCH_DEPTH_MAX`.
    fn node(&mut self, key: &SearchKey) -> Node {
        self.keys += 1;
        let not = |node| Node::Not(Box::new(node));
        match key {
            SearchKey::All => Node::Always(true),
            SearchKey::And(keys) => Node::All(keys.iter().map(|key| self.node(key)).collect()),
            SearchKey::Or(keys) => Node::Any(Box::new((self.node(&keys.0), self.node(&keys.1)))),
            SearchKey::Not(key) => not(self.node(key)),
            SearchKey::Sequence(set) | SearchKey::Uid(set) if set.is_saved() => Node::Saved,
            SearchKey::Sequence(set) | SearchKey::Uid(set) => {
                Node::Uids(set.resolve(self.scope.messages.last().map_or(0, |last| last.uid)))
            }
            SearchKey::Answered => Node::Flag(SystemFlag::Answered),
            SearchKey::Deleted => Node::Flag(SystemFlag::Deleted),
            SearchKey::Draft => Node::Flag(SystemFlag::Draft),
            SearchKey::Flagged => Node::Flag(SystemFlag::Flagged),
            SearchKey::Seen => Node::Flag(SystemFlag::Seen),
            SearchKey::Unanswered => not(Node::Flag(SystemFlag::Answered)),
            SearchKey::Undeleted => not(Node::Flag(SystemFlag::Deleted)),
            SearchKey::Undraft => not(Node::Flag(SystemFlag::Draft)),
            SearchKey::Unflagged => not(Node::Flag(SystemFlag::Flagged)),
            SearchKey::Unseen => not(Node::Flag(SystemFlag::Seen)),
            SearchKey::New => Node::All(Vec::from([Node::Recent, not(Node::Flag(SystemFlag::Seen))])),
            SearchKey::Old => not(Node::Recent),
            SearchKey::Recent => Node::Recent,
            SearchKey::Keyword(name) => self.keyword(name),
            SearchKey::Unkeyword(name) => not(self.keyword(name)),
            SearchKey::Bcc(text) => self.field(b"bcc", text),
            SearchKey::Cc(text) => self.field(b"cc", text),
            SearchKey::From(text) => self.field(b"from", text),
            SearchKey::Subject(text) => self.field(b"subject", text),
            SearchKey::To(text) => self.field(b"to", text),
            SearchKey::Header { name, text } => self.field(name.as_bytes(), text),
            SearchKey::Body(text) => self.anywhere(Where::Body, text),
            SearchKey::Text(text) => self.anywhere(Where::Header, text),
            SearchKey::Before(day) => self.arrived(i64::MIN..=seconds(*day).saturating_sub(1)),
            SearchKey::On(day) => {
                self.arrived(seconds(*day)..=seconds(day.saturating_add(1)).saturating_sub(1))
            }
            SearchKey::Since(day) => self.arrived(seconds(*day)..=i64::MAX),
            SearchKey::SavedBefore(day) => self.saved(i64::MIN..=seconds(*day).saturating_sub(1)),
            SearchKey::SavedOn(day) => {
                self.saved(seconds(*day)..=seconds(day.saturating_add(1)).saturating_sub(1))
            }
            SearchKey::SavedSince(day) => self.saved(seconds(*day)..=i64::MAX),
            SearchKey::SaveDateSupported => Node::Always(true),
            SearchKey::EmailId(id) => match EmailId::parse(id.as_bytes()) {
                Some(id) => Node::Email(id),
                None => Node::Always(false),
            },
            SearchKey::ThreadId(_) => Node::Always(false),
            SearchKey::ModSeq(modseq) if !self.scope.history.knows(modseq.saturating_sub(1)) => {
                Node::Always(true)
            }
            SearchKey::ModSeq(modseq) => Node::ModSeq(*modseq),
            SearchKey::Older(age) => self.arrived(i64::MIN..=self.ago(*age)),
            SearchKey::Younger(age) => self.arrived(self.ago(*age)..=i64::MAX),
            SearchKey::SentBefore(day) => self.sent(i64::MIN..=day.saturating_sub(1)),
            SearchKey::SentOn(day) => self.sent(*day..=*day),
            SearchKey::SentSince(day) => self.sent(*day..=i64::MAX),
            SearchKey::Larger(size) => match size.checked_add(1) {
                Some(first) => self.size(first..=u64::MAX),
                None => Node::Always(false),
            },
            SearchKey::Smaller(size) => match size.checked_sub(1) {
                Some(last) => self.size(0..=last),
                None => Node::Always(false),
            },
        }
    }

    fn keyword(&self, name: &str) -> Node {
        let is_it = |known: &alloc::string::String| !known.is_empty() && known.eq_ignore_ascii_case(name);
        match self.scope.keywords.iter().position(is_it) {
            Some(index) => Node::Keyword(index),
            None => Node::Always(false),
        }
    }

    fn field(&mut self, name: &[u8], text: &str) -> Node {
        self.wants.header = true;
        self.text(Text::new(Where::Field(name.into()), text))
    }

    /// A text in the body, or in header and body. An empty one is in every message.
    fn anywhere(&mut self, place: Where, text: &str) -> Node {
        if text.is_empty() {
            return Node::Always(true);
        }
        self.wants.text = true;
        self.text(Text::new(place, text))
    }

    fn text(&mut self, text: Text) -> Node {
        self.texts.push(text);
        Node::Text(self.texts.len() - 1)
    }

    fn arrived(&mut self, range: RangeInclusive<i64>) -> Node {
        self.wants.date = true;
        Node::Arrived(range)
    }

    fn saved(&mut self, range: RangeInclusive<i64>) -> Node {
        self.wants.saved = true;
        Node::SavedAt(range)
    }

    fn sent(&mut self, range: RangeInclusive<i64>) -> Node {
        self.wants.sent = true;
        Node::Sent(range)
    }

    fn size(&mut self, range: RangeInclusive<u64>) -> Node {
        self.wants.size = true;
        Node::Size(range)
    }

    fn ago(&self, age: u32) -> i64 {
        self.scope.now.secs.saturating_sub(i64::from(age))
    }
}

/// When a day begins.
fn seconds(day: i64) -> i64 {
    day.saturating_mul(DAY_SECONDS)
}
