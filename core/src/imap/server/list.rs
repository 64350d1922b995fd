//! LIST and LSUB (RFC 9051 §6.3.9, RFC 3501 §6.3.9), with LIST-EXTENDED (RFC 5258), SPECIAL-USE (RFC 6154), CHILDREN
//! (RFC 3348) and LIST-STATUS (RFC 5819).
//!
//! The office gives all mailboxes with their parents; which of them are meant, and what is said of each, is decided
//! here. The special use is said in every LIST, for clients that know the attribute and not the option.

use super::names::Spelling;
use super::session::{Session, Then};
use super::status::write_status;
use super::{Ask, DELIMITER, Folder, Refusal, Status};
use crate::imap::command::{AString, INBOX, List, ListReturn, ListSelect, StatusItem};
use crate::imap::list::ListPattern;
use crate::imap::response;
use crate::maildir::folder::SpecialUse;
use crate::send_queue::SendQueue;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

/// LIST or LSUB while its answer is on its way.
#[derive(Debug)]
pub(super) enum Listing {
    List { patterns: Vec<ListPattern>, select: ListSelect, returns: ListReturn },
    Lsub { pattern: Option<ListPattern>, ends_with_percent: bool },
}

/// LIST-STATUS: the mailboxes whose STATUS is still to be told.
#[derive(Debug)]
pub(super) struct ListStatus {
    /// As the client spells them; the first is the one asked for.
    names: VecDeque<Vec<u8>>,
    items: Vec<StatusItem>,
}

impl Session {
    pub(super) fn start_list(&mut self, list: List<'_>, tx: &mut SendQueue) {
        if !list.extended && list.patterns.iter().all(|pattern| pattern.is_empty()) {
            // RFC 9051 §6.3.9: an empty pattern asks for the delimiter.
            tx.push(b"* LIST (\\Noselect) \".\" \"\"\r\n");
            return self.end(response::Status::Ok, None, "List completed", tx);
        }
        let spelling = self.spelling();
        let reference = spelling.pattern(&list.reference);
        let compile =
            |pattern: &AString<'_>| ListPattern::new(&reference, &spelling.pattern(pattern), DELIMITER);
        let patterns = list.patterns.iter().filter_map(compile).collect();
        let listing = Listing::List { patterns, select: list.select, returns: list.returns };
        self.ask(Then::List(listing), |ticket| Ask::List { ticket });
    }

    pub(super) fn start_lsub(&mut self, reference: &[u8], pattern: &[u8], tx: &mut SendQueue) {
        if pattern.is_empty() {
            tx.push(b"* LSUB (\\Noselect) \".\" \"\"\r\n");
            return self.end(response::Status::Ok, None, "Lsub completed", tx);
        }
        let spelling = self.spelling();
        let listing = Listing::Lsub {
            pattern: ListPattern::new(&spelling.pattern(reference), &spelling.pattern(pattern), DELIMITER),
            ends_with_percent: pattern.ends_with(b"%"),
        };
        self.ask(Then::List(listing), |ticket| Ask::List { ticket });
    }

    pub(super) fn handle_list(
        &mut self,
        listing: Listing,
        answer: Result<Vec<Folder>, Refusal>,
        tx: &mut SendQueue,
    ) {
        let mut folders = match answer {
            Ok(folders) => self.with_shown_names(folders),
            Err(refusal) => return self.end_refused(&refusal, tx),
        };
        // RFC 9051 §5.1: INBOX is there, whatever the disk says.
        if !folders.iter().any(|folder| folder.name == INBOX) {
            folders.insert(0, inbox());
        }
        match listing {
            Listing::List { patterns, select, returns } => {
                let manner = Manner { spelling: self.spelling(), rev2: self.enabled.rev2 };
                let listed = write_list(&folders, &patterns, select, &returns, manner, tx);
                match returns.status.is_empty() {
                    true => self.end(response::Status::Ok, None, "List completed", tx),
                    false => self.ask_list_status(ListStatus { names: listed, items: returns.status }, tx),
                }
            }
            Listing::Lsub { pattern, ends_with_percent } => {
                if let Some(pattern) = pattern {
                    let manner = Manner { spelling: self.spelling(), rev2: self.enabled.rev2 };
                    write_lsub(&folders, &pattern, ends_with_percent, manner, tx);
                }
                self.end(response::Status::Ok, None, "Lsub completed", tx);
            }
        }
    }

    fn ask_list_status(&mut self, status: ListStatus, tx: &mut SendQueue) {
        let Some(mailbox) = status.names.front().map(|shown| self.spelling().of_shown(shown)) else {
            return self.end(response::Status::Ok, None, "List completed", tx);
        };
        let size = status.items.contains(&StatusItem::Size);
        self.ask(Then::ListStatus(status), |ticket| Ask::Status { ticket, mailbox, size });
    }

    /// RFC 5819 §2: a mailbox whose status cannot be told has no STATUS line.
    pub(super) fn handle_list_status(
        &mut self,
        mut status: ListStatus,
        answer: Result<Status, Refusal>,
        tx: &mut SendQueue,
    ) {
        if let (Some(name), Ok(found)) = (status.names.pop_front(), answer) {
            let (spelling, limit) = (self.spelling(), self.setup.limits.message_bytes_max);
            tx.write_with(|out| write_status(out, spelling, &name, &status.items, &found, limit));
        }
        self.ask_list_status(status, tx);
    }
}

/// How the client wants it.
#[derive(Clone, Copy)]
struct Manner {
    spelling: Spelling,
    rev2: bool,
}

fn inbox() -> Folder {
    Folder { name: INBOX.to_vec(), non_existent: false, subscribed: false, special_use: None }
}

/// Writes the LIST lines; returns the names of those that can be selected.
fn write_list(
    folders: &[Folder],
    patterns: &[ListPattern],
    select: ListSelect,
    returns: &ListReturn,
    manner: Manner,
    tx: &mut SendQueue,
) -> VecDeque<Vec<u8>> {
    let selected = |folder: &Folder| {
        (!select.subscribed || folder.subscribed) && (!select.special_use || folder.special_use.is_some())
    };
    let parents = ancestors(folders.iter().filter(|folder| !folder.non_existent));
    let above_selected = match select.recursive_match {
        true => ancestors(folders.iter().filter(|folder| selected(folder))),
        false => BTreeSet::new(),
    };
    let mut listed = VecDeque::new();
    for folder in folders {
        let name = folder.name.as_slice();
        let has_children = parents.contains(name);
        let exists = !folder.non_existent || has_children || (select.subscribed && folder.subscribed);
        let child_selected = above_selected.contains(name);
        let meant = (exists && selected(folder)) || child_selected;
        if !meant || !patterns.iter().any(|pattern| pattern.matches(name)) {
            continue;
        }
        let attributes = Attributes {
            // RFC 5258 §3.4: \NonExistent includes \Noselect, which is said for clients that know only that one. In
            // IMAP4rev2 there is one of them (RFC 9051 §9, mbx-list-sflag).
            no_select: folder.non_existent && !manner.rev2,
            non_existent: folder.non_existent,
            has_children: Some(has_children),
            subscribed: folder.subscribed && (select.subscribed || returns.subscribed),
            special_use: folder.special_use,
        };
        // RFC 5258 §3.5: CHILDINFO names the selection criteria that something below meets.
        let child_info = child_selected.then_some(select);
        tx.write_with(|out| write_line(out, b"LIST", name, attributes, child_info, manner));
        if !folder.non_existent && !returns.status.is_empty() {
            listed.push_back(name.to_vec());
        }
    }
    listed
}

/// RFC 3501 §6.3.9: with `%` at the end, a parent that is not subscribed stands for what is below it.
fn write_lsub(
    folders: &[Folder],
    pattern: &ListPattern,
    ends_with_percent: bool,
    manner: Manner,
    tx: &mut SendQueue,
) {
    let subscribed = || folders.iter().filter(|folder| folder.subscribed);
    let mut names: BTreeSet<(&[u8], bool)> =
        subscribed().map(|folder| (folder.name.as_slice(), false)).collect();
    if ends_with_percent {
        let parents = ancestors(subscribed());
        let only_parents: Vec<&[u8]> =
            parents.into_iter().filter(|parent| !names.contains(&(*parent, false))).collect();
        names.extend(only_parents.into_iter().map(|parent| (parent, true)));
    }
    for (name, only_parent) in names {
        if pattern.matches(name) {
            let attributes = Attributes { no_select: only_parent, ..Attributes::default() };
            tx.write_with(|out| write_line(out, b"LSUB", name, attributes, None, manner));
        }
    }
}

/// Every name above one of these: `a` and `a.b` for `a.b.c`.
fn ancestors<'f>(folders: impl Iterator<Item = &'f Folder>) -> BTreeSet<&'f [u8]> {
    let mut above = BTreeSet::new();
    for folder in folders {
        let name = folder.name.as_slice();
        for (index, _) in name.iter().enumerate().filter(|(_, octet)| **octet == DELIMITER) {
            above.insert(name.get(..index).unwrap_or_default());
        }
    }
    above
}

#[derive(Clone, Copy, Default)]
struct Attributes {
    no_select: bool,
    non_existent: bool,
    has_children: Option<bool>,
    subscribed: bool,
    special_use: Option<SpecialUse>,
}

impl Attributes {
    fn names(self) -> impl Iterator<Item = &'static str> {
        let children = self.has_children.map(|has| if has { "\\HasChildren" } else { "\\HasNoChildren" });
        [
            self.non_existent.then_some("\\NonExistent"),
            self.no_select.then_some("\\Noselect"),
            children,
            self.subscribed.then_some("\\Subscribed"),
            self.special_use.map(SpecialUse::attribute),
        ]
        .into_iter()
        .flatten()
    }
}

fn write_line(
    out: &mut Vec<u8>,
    word: &[u8],
    name: &[u8],
    attributes: Attributes,
    child_info: Option<ListSelect>,
    manner: Manner,
) {
    out.extend_from_slice(b"* ");
    out.extend_from_slice(word);
    out.extend_from_slice(b" (");
    for (index, attribute) in attributes.names().enumerate() {
        out.extend_from_slice(if index > 0 { b" " } else { b"" });
        out.extend_from_slice(attribute.as_bytes());
    }
    out.extend_from_slice(b") \"");
    out.push(DELIMITER);
    out.extend_from_slice(b"\" ");
    manner.spelling.write(out, name);
    if let Some(select) = child_info {
        let criteria = [(select.subscribed, "\"SUBSCRIBED\""), (select.special_use, "\"SPECIAL-USE\"")];
        out.extend_from_slice(b" (\"CHILDINFO\" (");
        for (index, (_, name)) in criteria.iter().filter(|(on, _)| *on).enumerate() {
            out.extend_from_slice(if index > 0 { b" " } else { b"" });
            out.extend_from_slice(name.as_bytes());
        }
        out.extend_from_slice(b"))");
    }
    out.extend_from_slice(b"\r\n");
}
