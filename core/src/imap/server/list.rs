//! LIST and LSUB (RFC 9051 §6.3.9, RFC 3501 §6.3.9), with LIST-EXTENDED (RFC 5258), SPECIAL-USE (RFC 6154), CHILDREN
//! (RFC 3348), LIST-STATUS (RFC 5819) and LIST-METADATA (RFC 9590).
//!
//! The office gives all mailboxes with their parents; which of them are meant, and what is said of each, is decided
//! here, some names at a time: patterns can be made to cost much. The special use is said in every LIST, for clients
//! that know the attribute and not the option.

use super::metadata::write_annotations;
use super::names::{Spelling, write_old_name};
use super::session::{Session, State, Then};
use super::status::write_status;
use super::{Ask, DELIMITER, Folder, Refusal, Status};
use crate::imap::command::{AString, INBOX, List, ListReturn, ListSelect, StatusItem};
use crate::imap::list::ListPattern;
use crate::imap::metadata::{Annotations, Entry};
use crate::imap::response;
use crate::machine::StepOf;
use crate::maildir::folder::SpecialUse;
use crate::send_queue::SendQueue;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::{self, Vec};

/// What one step may cost, in places of a pattern compared with octets of a name: less than a millisecond.
const STEP_COST: usize = 1 << 18;
/// What a name costs besides.
const LINE_COST: usize = 256;

/// LIST or LSUB while its answer is on its way.
#[derive(Debug)]
pub(super) enum Listing {
    List { patterns: Vec<ListPattern>, select: ListSelect, returns: ListReturn, extended: bool },
    Lsub { pattern: Option<ListPattern>, ends_with_percent: bool },
}

/// Mailboxes whose STATUS, annotations or both are still to be told.
#[derive(Debug, Default)]
pub(super) struct Details {
    /// As the client spells them; the first is the one asked for.
    pub(super) names: VecDeque<Vec<u8>>,
    /// Of STATUS; none when that is not to be told.
    pub(super) items: Vec<StatusItem>,
    /// Annotations; none when they are not to be told.
    pub(super) entries: Vec<Entry>,
    /// How the command ends.
    pub(super) done: &'static str,
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
        let List { select, returns, extended, .. } = list;
        let listing = Listing::List { patterns, select, returns, extended };
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
        let spelling = self.spelling();
        let lister = match listing {
            Listing::List { patterns, select, returns, extended } => Lister {
                word: b"LIST",
                lines: list_lines(&folders, select, &returns, extended || self.enabled.rev2).into_iter(),
                matching: Matching::Patterns(patterns),
                held: select.recursive_match.then(Held::default),
                spelling,
                details: Details {
                    names: VecDeque::new(),
                    items: returns.status,
                    entries: returns.metadata,
                    done: "List completed",
                },
            },
            Listing::Lsub { pattern, ends_with_percent } => Lister {
                word: b"LSUB",
                lines: lsub_lines(&folders, ends_with_percent).into_iter(),
                matching: Matching::Patterns(pattern.into_iter().collect()),
                held: None,
                spelling,
                details: Details { done: "Lsub completed", ..Details::default() },
            },
        };
        self.state = State::List(lister);
    }

    /// Compares some names with the patterns, and writes the lines of those that are meant.
    pub(super) fn resume_list(&mut self, tx: &mut SendQueue) -> Option<StepOf<'static, Session>> {
        let State::List(lister) = &mut self.state else { return None };
        let mut spent = 0;
        while spent < STEP_COST
            && let Some(line) = lister.lines.next()
        {
            spent += LINE_COST + lister.matching.cost(&line.name);
            let named = lister.matching.matches(&line.name);
            if let Some(held) = &mut lister.held {
                held.take(line, named);
            } else if named {
                tx.write_with(|out| line.write(out, lister.word, lister.spelling));
                let Details { names, items, entries, .. } = &mut lister.details;
                if line.selectable && !(items.is_empty() && entries.is_empty()) {
                    names.push_back(line.name);
                }
            }
        }
        if lister.lines.len() == 0
            && let Some(held) = lister.held.take()
        {
            lister.lines = held.settle().into_iter();
            lister.matching = Matching::Done;
        }
        if lister.lines.len() == 0 {
            let details = core::mem::take(&mut lister.details);
            self.tell_details(details, tx);
        }
        self.step(0)
    }

    /// Asks for what is to be told of the next mailbox, or ends the command.
    pub(super) fn tell_details(&mut self, details: Details, tx: &mut SendQueue) {
        let Some(mailbox) = details.names.front().map(|shown| self.spelling().of_shown(shown)) else {
            return self.end(response::Status::Ok, None, details.done, tx);
        };
        if details.items.is_empty() {
            return self.ask_annotations(details, mailbox);
        }
        let size = details.items.iter().any(|item| item.needs_sizes());
        self.ask(Then::StatusDetail(details), |ticket| Ask::Status { ticket, mailbox, size });
    }

    fn ask_annotations(&mut self, details: Details, mailbox: Vec<u8>) {
        let mailbox = Some(mailbox);
        self.ask(Then::MetadataDetail(details), |ticket| Ask::Metadata { ticket, mailbox });
    }

    /// RFC 5819 §2: a mailbox whose status cannot be told has no STATUS line.
    pub(super) fn handle_status_detail(
        &mut self,
        mut details: Details,
        answer: Result<Status, Refusal>,
        tx: &mut SendQueue,
    ) {
        let Some(name) = details.names.front() else { return self.tell_details(details, tx) };
        let (spelling, limit) = (self.spelling(), self.setup.limits.message_bytes_max);
        if let Ok(found) = answer {
            tx.write_with(|out| write_status(out, spelling, name, &details.items, &found, limit));
        }
        if !details.entries.is_empty() {
            let mailbox = spelling.of_shown(name);
            return self.ask_annotations(details, mailbox);
        }
        details.names.pop_front();
        self.tell_details(details, tx);
    }

    /// RFC 9590 §3: nor has one whose annotations cannot be told a METADATA line; an entry without a value is NIL.
    pub(super) fn handle_metadata_detail(
        &mut self,
        mut details: Details,
        answer: Result<Annotations, Refusal>,
        tx: &mut SendQueue,
    ) {
        if let (Some(name), Ok(found)) = (details.names.pop_front(), answer) {
            let value =
                |name: &Entry| found.iter().find(|(entry, _)| entry == name).map(|(_, value)| &value[..]);
            let shown: Vec<(&Entry, Option<&[u8]>)> =
                details.entries.iter().map(|entry| (entry, value(entry))).collect();
            write_annotations(Some((self.spelling(), &name)), &shown, tx);
        }
        self.tell_details(details, tx);
    }

    /// LIST of one mailbox, for a client that has not asked (RFC 5465 §5.4, §5.5).
    pub(super) fn tell_folder(&self, folder: &Folder, old_name: Option<&[u8]>, tx: &mut SendQueue) {
        let spelling = self.spelling();
        let shown = |name| spelling.shown(name).into_owned();
        let attributes = Attributes {
            // RFC 5258 §3.4: \NonExistent includes it.
            no_select: false,
            non_existent: folder.non_existent,
            has_children: None,
            subscribed: folder.subscribed,
            special_use: folder.special_use,
        };
        let line = Line {
            name: shown(&folder.name),
            attributes,
            selected: true,
            child_info: None,
            old_name: old_name.map(shown),
            selectable: !folder.non_existent,
        };
        tx.write_with(|out| line.write(out, b"LIST", spelling));
    }
}

/// LIST and LSUB while their lines are written.
#[derive(Debug)]
pub(super) struct Lister {
    word: &'static [u8],
    /// What is selected, whether or not a pattern means it.
    lines: vec::IntoIter<Line>,
    matching: Matching,
    /// With RECURSIVEMATCH: the lines that a pattern means, until all patterns have been compared.
    held: Option<Held>,
    spelling: Spelling,
    details: Details,
}

/// Which of the lines are meant.
#[derive(Debug)]
enum Matching {
    /// Those of which one of these means the name.
    Patterns(Vec<ListPattern>),
    /// All: the others have been left out.
    Done,
}

impl Matching {
    fn cost(&self, name: &[u8]) -> usize {
        match self {
            Matching::Patterns(patterns) => patterns.iter().map(|pattern| pattern.cost(name)).sum(),
            Matching::Done => 0,
        }
    }

    fn matches(&self, name: &[u8]) -> bool {
        match self {
            Matching::Patterns(patterns) => patterns.iter().any(|pattern| pattern.matches(name)),
            Matching::Done => true,
        }
    }
}

/// The answer to RECURSIVEMATCH as it is collected.
#[derive(Debug, Default)]
struct Held {
    /// What the patterns mean.
    lines: Vec<Line>,
    /// What is above something that is selected and that no pattern means.
    above_unnamed: BTreeSet<Vec<u8>>,
}

impl Held {
    fn take(&mut self, line: Line, named: bool) {
        if named {
            self.lines.push(line);
        } else if line.selected {
            self.above_unnamed.extend(ancestors_of(&line.name).map(<[u8]>::to_vec));
        }
    }

    /// RFC 5258 §3.5: a parent that is not selected itself is told of only for the sake of something below that has no
    /// line of its own.
    fn settle(self) -> Vec<Line> {
        let Held { mut lines, above_unnamed } = self;
        lines.retain(|line| line.selected || above_unnamed.contains(&line.name));
        lines
    }
}

/// A line of the answer, if a pattern means it.
#[derive(Debug)]
struct Line {
    name: Vec<u8>,
    attributes: Attributes,
    /// It meets the selection criteria itself.
    selected: bool,
    /// RFC 5258 §3.5: CHILDINFO names the selection criteria that something below meets.
    child_info: Option<ListSelect>,
    /// RFC 9051 §6.3.9.7: the name it had before.
    old_name: Option<Vec<u8>>,
    /// It has a STATUS and annotations.
    selectable: bool,
}

fn inbox() -> Folder {
    Folder { name: INBOX.to_vec(), non_existent: false, subscribed: false, special_use: None }
}

/// The lines of LIST; `extended`: for a client that knows the attributes of LIST-EXTENDED.
fn list_lines(folders: &[Folder], select: ListSelect, returns: &ListReturn, extended: bool) -> Vec<Line> {
    let selected = |folder: &Folder| {
        (!select.subscribed || folder.subscribed) && (!select.special_use || folder.special_use.is_some())
    };
    let parents = ancestors(folders.iter().filter(|folder| !folder.non_existent));
    let above_selected = match select.recursive_match {
        true => ancestors(folders.iter().filter(|folder| selected(folder))),
        false => BTreeSet::new(),
    };
    let line = |folder: &Folder| {
        let name = folder.name.as_slice();
        let has_children = parents.contains(name);
        let exists = !folder.non_existent || has_children || (select.subscribed && folder.subscribed);
        let child_selected = above_selected.contains(name);
        let selected = exists && selected(folder);
        let attributes = Attributes {
            // RFC 5258 §3.4: \NonExistent includes \Noselect, which is said for clients that know only that one: whose
            // LIST is the old one. In IMAP4rev2 there is one of them (RFC 9051 §9, mbx-list-sflag).
            no_select: folder.non_existent && !extended,
            non_existent: folder.non_existent,
            has_children: Some(has_children),
            subscribed: folder.subscribed && (select.subscribed || returns.subscribed),
            special_use: folder.special_use,
        };
        (selected || child_selected).then(|| Line {
            name: name.to_vec(),
            attributes,
            selected,
            child_info: child_selected.then_some(select),
            old_name: None,
            selectable: !folder.non_existent,
        })
    };
    folders.iter().filter_map(line).collect()
}

/// The lines of LSUB. RFC 3501 §6.3.9: with `%` at the end of the pattern, a parent that is not subscribed stands for
/// what is below it.
fn lsub_lines(folders: &[Folder], ends_with_percent: bool) -> Vec<Line> {
    let subscribed = || folders.iter().filter(|folder| folder.subscribed);
    let mut names: BTreeSet<(&[u8], bool)> =
        subscribed().map(|folder| (folder.name.as_slice(), false)).collect();
    if ends_with_percent {
        let parents = ancestors(subscribed());
        let only_parents: Vec<&[u8]> =
            parents.into_iter().filter(|parent| !names.contains(&(*parent, false))).collect();
        names.extend(only_parents.into_iter().map(|parent| (parent, true)));
    }
    let line = |(name, only_parent): (&[u8], bool)| Line {
        name: name.to_vec(),
        attributes: Attributes { no_select: only_parent, ..Attributes::default() },
        selected: true,
        child_info: None,
        old_name: None,
        selectable: false,
    };
    names.into_iter().map(line).collect()
}

/// Every name above one of these: `a` and `a.b` for `a.b.c`.
fn ancestors<'f>(folders: impl Iterator<Item = &'f Folder>) -> BTreeSet<&'f [u8]> {
    folders.flat_map(|folder| ancestors_of(&folder.name)).collect()
}

/// Every name above this one.
fn ancestors_of(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let delimiters = name.iter().enumerate().filter(|(_, octet)| **octet == DELIMITER);
    delimiters.map(|(index, _)| name.get(..index).unwrap_or_default())
}

#[derive(Clone, Copy, Debug, Default)]
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

impl Line {
    fn write(&self, out: &mut Vec<u8>, word: &[u8], spelling: Spelling) {
        out.extend_from_slice(b"* ");
        out.extend_from_slice(word);
        out.extend_from_slice(b" (");
        for (index, attribute) in self.attributes.names().enumerate() {
            out.extend_from_slice(if index > 0 { b" " } else { b"" });
            out.extend_from_slice(attribute.as_bytes());
        }
        out.extend_from_slice(b") \"");
        out.push(DELIMITER);
        out.extend_from_slice(b"\" ");
        spelling.write(out, &self.name);
        if let Some(select) = self.child_info {
            let criteria = [(select.subscribed, "\"SUBSCRIBED\""), (select.special_use, "\"SPECIAL-USE\"")];
            out.extend_from_slice(b" (\"CHILDINFO\" (");
            for (index, (_, name)) in criteria.iter().filter(|(on, _)| *on).enumerate() {
                out.extend_from_slice(if index > 0 { b" " } else { b"" });
                out.extend_from_slice(name.as_bytes());
            }
            out.extend_from_slice(b"))");
        }
        if let Some(old_name) = &self.old_name {
            write_old_name(out, spelling, old_name);
        }
        out.extend_from_slice(b"\r\n");
    }
}
