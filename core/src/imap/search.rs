//! What a SEARCH command asks for, RFC 9051 §6.4.4 with the RFC 3501 keys, WITHIN (RFC 5032), PARTIAL (RFC 9394) and
//! CONTEXT=SEARCH (RFC 5267).
//!
//! The request is owned and `Send`. Text to look for is Unicode by now: the parser has converted it from the
//! charset the client named. Nesting is at most [`SEARCH_DEPTH_MAX`] deep, so walking a key by recursion is
//! safe.
//!
//! ```
//! use postier_core::imap::command::{CommandBody, parse};
//! use postier_core::imap::search::SearchKey;
//!
//! let command = parse(b"a SEARCH UNSEEN FROM smith\r\n").unwrap();
//! let CommandBody::Search(search) = command.body else { panic!() };
//! assert_eq!(search.key, SearchKey::And(vec![SearchKey::Unseen, SearchKey::From("smith".into())]));
//! ```

use super::fetch::FetchItem;
use super::response::write_number;
use super::sequence::SequenceSet;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

/// How deep NOT, OR and parentheses may be nested in one another; deeper is a syntax error.
pub const SEARCH_DEPTH_MAX: usize = 50;

/// How many keys one command may have; more is a syntax error.
pub const SEARCH_KEYS_MAX: usize = 1000;

/// A SEARCH or UID SEARCH command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Whether the answer is in UIDs.
    pub uid: bool,
    /// The options of `RETURN (…)`; `None` when RETURN was not said and the answer is a plain SEARCH line.
    /// `RETURN ()` means ALL (RFC 9051 §6.4.4) and is given as that.
    pub returns: Option<SearchReturn>,
    /// UPDATE: changes of the result are told from then on; with what is to be fetched of new messages in it (RFC 5465 §7).
    pub update: Option<Vec<FetchItem>>,
    /// Whether the client has named a charset.
    pub names_charset: bool,
    /// The charset the client named, if it is one we do not know. Then the answer is `NO [BADCHARSET]`
    /// and the text in `key` means nothing.
    pub unknown_charset: Option<String>,
    /// Whether there are sequence numbers among the criteria.
    pub numbers: bool,
    /// Whether a [`SearchKey::ModSeq`] is among the criteria: the answer tells a mod-sequence then (RFC 7162 §3.1.5).
    pub modseq: bool,
    /// The criteria; several at the top level are an [`SearchKey::And`].
    pub key: SearchKey,
}

/// What of the result is wanted, RFC 9051 §6.4.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchReturn {
    /// MIN: the smallest number found.
    pub min: bool,
    /// MAX: the largest number found.
    pub max: bool,
    /// ALL: all numbers found, as a set.
    pub all: bool,
    /// COUNT: how many were found.
    pub count: bool,
    /// SAVE: keep the result for `$`.
    pub save: bool,
    /// PARTIAL: a part of the result; never together with `all`.
    pub partial: Option<PartialRange>,
    /// UPDATE: an answer comes whatever else is to be told (RFC 5267 §4.3).
    pub update: bool,
}

impl SearchReturn {
    /// Whether the result is only saved: then nothing is told of it (RFC 9051 §6.4.4.1).
    pub fn is_only_save(&self) -> bool {
        *self == SearchReturn { save: true, ..SearchReturn::default() }
    }
}

/// A part of a result by places, both ends included, RFC 9394 §3. The places are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialRange {
    /// One end, as the client wrote it; never 0.
    pub from: u32,
    /// The other end, which may be the smaller one; never 0.
    pub to: u32,
    /// Places are counted from the end: `-1` is the last one.
    pub newest: bool,
}

impl PartialRange {
    /// The places meant of a result that has so many, the first being 0.
    ///
    /// ```
    /// use postier_core::imap::search::PartialRange;
    ///
    /// let range = PartialRange { from: 1, to: 3, newest: false };
    /// assert_eq!((range.places(9), range.places(2), range.places(0)), (0..3, 0..2, 0..0));
    /// let range = PartialRange { newest: true, ..range };
    /// assert_eq!((range.places(9), range.places(2), range.places(0)), (6..9, 0..2, 0..0));
    /// ```
    pub fn places(&self, count: u64) -> Range<u64> {
        let (low, high) = (u64::from(self.from.min(self.to)), u64::from(self.from.max(self.to)));
        let (low, high) = (low.saturating_sub(1).min(count), high.min(count));
        match self.newest {
            false => low..high,
            true => count - high..count - low,
        }
    }

    /// Writes it, `-1:-100`: the end that is nearer first, as the field has it, whichever the client wrote first.
    pub fn write(&self, out: &mut Vec<u8>) {
        let sign: &[u8] = if self.newest { b"-" } else { b"" };
        out.extend_from_slice(sign);
        write_number(out, self.from.min(self.to).into());
        out.push(b':');
        out.extend_from_slice(sign);
        write_number(out, self.from.max(self.to).into());
    }
}

/// A criterion. A day is a number of days since 1970-01-01, as [`Date::day`](crate::mime::date::Date::day)
/// gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchKey {
    /// Every message.
    All,
    /// All the criteria; more than one.
    And(Vec<SearchKey>),
    /// One of two criteria, or both.
    Or(Box<(SearchKey, SearchKey)>),
    /// Not the criterion.
    Not(Box<SearchKey>),
    /// Messages with these sequence numbers.
    Sequence(SequenceSet),
    /// Messages with these UIDs.
    Uid(SequenceSet),
    /// With `\Answered`.
    Answered,
    /// With `\Deleted`.
    Deleted,
    /// With `\Draft`.
    Draft,
    /// With `\Flagged`.
    Flagged,
    /// With `\Seen`.
    Seen,
    /// Without `\Answered`.
    Unanswered,
    /// Without `\Deleted`.
    Undeleted,
    /// Without `\Draft`.
    Undraft,
    /// Without `\Flagged`.
    Unflagged,
    /// Without `\Seen`.
    Unseen,
    /// `\Recent` and without `\Seen` (RFC 3501).
    New,
    /// Without `\Recent` (RFC 3501).
    Old,
    /// With `\Recent` (RFC 3501).
    Recent,
    /// With the keyword.
    Keyword(String),
    /// Without the keyword.
    Unkeyword(String),
    /// The text in the Bcc field.
    Bcc(String),
    /// The text in the body.
    Body(String),
    /// The text in the Cc field.
    Cc(String),
    /// The text in the From field.
    From(String),
    /// The text in the field of that name; an empty text asks whether the field is there at all.
    Header {
        /// The field's name.
        name: String,
        /// The text to find in it.
        text: String,
    },
    /// The text in the Subject field.
    Subject(String),
    /// The text in the header or the body.
    Text(String),
    /// The text in the To field.
    To(String),
    /// Arrived before that day.
    Before(i64),
    /// Arrived on that day.
    On(i64),
    /// Arrived on that day or later.
    Since(i64),
    /// Its Date field is before that day (time and zone disregarded).
    SentBefore(i64),
    /// Its Date field is on that day.
    SentOn(i64),
    /// Its Date field is on that day or later.
    SentSince(i64),
    /// Arrived at least so many seconds ago (RFC 5032).
    Older(u32),
    /// Arrived at most so many seconds ago (RFC 5032).
    Younger(u32),
    /// Larger than so many octets.
    Larger(u64),
    /// Smaller than so many octets.
    Smaller(u64),
    /// The message with this EMAILID (RFC 8474).
    EmailId(String),
    /// Messages of the thread with this THREADID (RFC 8474): none.
    ThreadId(String),
    /// Came into the mailbox before that day (RFC 8514).
    SavedBefore(i64),
    /// Came into the mailbox on that day.
    SavedOn(i64),
    /// Came into the mailbox on that day or later.
    SavedSince(i64),
    /// Has changed at this mod-sequence or later (RFC 7162 §3.1.5).
    ModSeq(u64),
    /// Whether SAVEDATE is known here: every message.
    SaveDateSupported,
}

impl SearchKey {
    /// Replaces every sequence set by the UIDs that `uids_of` gives for it, for whoever knows no sequence
    /// numbers. UID sets go through `uids_of_uids`, where `*` may become a number.
    pub fn resolve(
        &mut self,
        uids_of: &mut dyn FnMut(&SequenceSet) -> SequenceSet,
        uids_of_uids: &mut dyn FnMut(&SequenceSet) -> SequenceSet,
    ) {
        match self {
            // A `$` costs nothing however often it is written: the set itself is in the query once.
            SearchKey::Sequence(set) | SearchKey::Uid(set) if set.is_saved() => {
                *self = SearchKey::Uid(SequenceSet::SAVED);
            }
            SearchKey::Sequence(set) => *self = SearchKey::Uid(uids_of(set)),
            SearchKey::Uid(set) => *set = uids_of_uids(set),
            SearchKey::And(keys) => keys.iter_mut().for_each(|key| key.resolve(uids_of, uids_of_uids)),
            SearchKey::Not(key) => key.resolve(uids_of, uids_of_uids),
            SearchKey::Or(keys) => {
                keys.0.resolve(uids_of, uids_of_uids);
                keys.1.resolve(uids_of, uids_of_uids);
            }
            SearchKey::All
            | SearchKey::Answered
            | SearchKey::Deleted
            | SearchKey::Draft
            | SearchKey::Flagged
            | SearchKey::Seen
            | SearchKey::Unanswered
            | SearchKey::Undeleted
            | SearchKey::Undraft
            | SearchKey::Unflagged
            | SearchKey::Unseen
            | SearchKey::New
            | SearchKey::Old
            | SearchKey::Recent
            | SearchKey::Keyword(_)
            | SearchKey::Unkeyword(_)
            | SearchKey::Bcc(_)
            | SearchKey::Body(_)
            | SearchKey::Cc(_)
            | SearchKey::From(_)
            | SearchKey::Header { .. }
            | SearchKey::Subject(_)
            | SearchKey::Text(_)
            | SearchKey::To(_)
            | SearchKey::Before(_)
            | SearchKey::On(_)
            | SearchKey::Since(_)
            | SearchKey::SentBefore(_)
            | SearchKey::SentOn(_)
            | SearchKey::SentSince(_)
            | SearchKey::Older(_)
            | SearchKey::Younger(_)
            | SearchKey::Larger(_)
            | SearchKey::Smaller(_)
            | SearchKey::EmailId(_)
            | SearchKey::ThreadId(_)
            | SearchKey::SavedBefore(_)
            | SearchKey::SavedOn(_)
            | SearchKey::SavedSince(_)
            | SearchKey::ModSeq(_)
            | SearchKey::SaveDateSupported => {}
        }
    }

    /// What a message's match depends on beside the message as it came.
    pub fn grounds(&self) -> Grounds {
        let of =
            |keys: &[SearchKey]| keys.iter().map(SearchKey::grounds).fold(Grounds::default(), Grounds::or);
        match self {
            SearchKey::And(keys) => of(keys),
            SearchKey::Or(keys) => keys.0.grounds().or(keys.1.grounds()),
            SearchKey::Not(key) => key.grounds(),
            SearchKey::Sequence(set) | SearchKey::Uid(set) => {
                Grounds { saved: set.is_saved(), largest: set.has_star(), ..Grounds::default() }
            }
            SearchKey::Answered
            | SearchKey::Deleted
            | SearchKey::Draft
            | SearchKey::Flagged
            | SearchKey::Seen
            | SearchKey::Unanswered
            | SearchKey::Undeleted
            | SearchKey::Undraft
            | SearchKey::Unflagged
            | SearchKey::Unseen
            | SearchKey::New
            | SearchKey::Old
            | SearchKey::Recent
            | SearchKey::Keyword(_)
            | SearchKey::Unkeyword(_)
            | SearchKey::ModSeq(_) => Grounds { flags: true, ..Grounds::default() },
            SearchKey::Older(_) | SearchKey::Younger(_) => Grounds { time: true, ..Grounds::default() },
            SearchKey::All
            | SearchKey::Bcc(_)
            | SearchKey::Body(_)
            | SearchKey::Cc(_)
            | SearchKey::From(_)
            | SearchKey::Header { .. }
            | SearchKey::Subject(_)
            | SearchKey::Text(_)
            | SearchKey::To(_)
            | SearchKey::Before(_)
            | SearchKey::On(_)
            | SearchKey::Since(_)
            | SearchKey::SentBefore(_)
            | SearchKey::SentOn(_)
            | SearchKey::SentSince(_)
            | SearchKey::Larger(_)
            | SearchKey::Smaller(_)
            | SearchKey::EmailId(_)
            | SearchKey::ThreadId(_)
            | SearchKey::SavedBefore(_)
            | SearchKey::SavedOn(_)
            | SearchKey::SavedSince(_)
            | SearchKey::SaveDateSupported => Grounds::default(),
        }
    }
}

/// What decides whether a message matches a [`SearchKey`], beside what never changes of it and the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grounds {
    /// Its flags, `\Recent` and its mod-sequence.
    pub flags: bool,
    /// Which number is the largest: there is a `*`.
    pub largest: bool,
    /// What `$` means.
    pub saved: bool,
    /// What time it is.
    pub time: bool,
}

impl Grounds {
    fn or(self, other: Grounds) -> Grounds {
        Grounds {
            flags: self.flags || other.flags,
            largest: self.largest || other.largest,
            saved: self.saved || other.saved,
            time: self.time || other.time,
        }
    }
}
