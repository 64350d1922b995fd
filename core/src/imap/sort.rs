//! What a SORT command asks for: RFC 5256, with the keys of SORT=DISPLAY (RFC 5957).
//!
//! ```
//! use postier_core::imap::command::{CommandBody, parse};
//! use postier_core::imap::sort::{SortCriterion, SortKey};
//!
//! let command = parse(b"a UID SORT (SUBJECT REVERSE DATE) UTF-8 UNDELETED\r\n").unwrap();
//! let CommandBody::Sort(sort) = command.body else { panic!() };
//! assert_eq!(sort.criteria[1], SortCriterion { key: SortKey::Date, reverse: true });
//! ```

use super::search::Search;
use alloc::vec::Vec;

/// How many criteria one command may have: every key and some to spare.
pub const SORT_CRITERIA_MAX: usize = 16;

/// A SORT or UID SORT command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// What is looked for, and what of the result is wanted.
    pub search: Search,
    /// By what it is sorted, the first before the others; at least one.
    pub criteria: Vec<SortCriterion>,
}

/// One criterion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortCriterion {
    /// What is compared.
    pub key: SortKey,
    /// The largest comes first. Messages that are equal keep the order of the mailbox all the same.
    pub reverse: bool,
}

/// What of a message is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortKey {
    /// When it arrived here.
    Arrival,
    /// The mailbox of the first Cc address.
    Cc,
    /// When it was sent, the zone taken into account; when it arrived, if it does not say.
    Date,
    /// The name of the first From address, or the address if it has none (RFC 5957).
    DisplayFrom,
    /// The same of the first To address.
    DisplayTo,
    /// The mailbox of the first From address.
    From,
    /// Its size with CRLF line ends.
    Size,
    /// Its base subject.
    Subject,
    /// The mailbox of the first To address.
    To,
}

impl SortKey {
    /// All of them.
    pub const ALL: [SortKey; 9] = [
        SortKey::Arrival,
        SortKey::Cc,
        SortKey::Date,
        SortKey::DisplayFrom,
        SortKey::DisplayTo,
        SortKey::From,
        SortKey::Size,
        SortKey::Subject,
        SortKey::To,
    ];

    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            SortKey::Arrival => "ARRIVAL",
            SortKey::Cc => "CC",
            SortKey::Date => "DATE",
            SortKey::DisplayFrom => "DISPLAYFROM",
            SortKey::DisplayTo => "DISPLAYTO",
            SortKey::From => "FROM",
            SortKey::Size => "SIZE",
            SortKey::Subject => "SUBJECT",
            SortKey::To => "TO",
        }
    }
}
