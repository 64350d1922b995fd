//! SEARCH and UID SEARCH (RFC 9051 §6.4.4): the plain form, ESEARCH (RFC 4731), SEARCHRES (RFC 5182) and PARTIAL
//! (RFC 9394), with the mod-sequence of RFC 7162.
//!
//! The office knows UIDs only: sequence numbers in the keys become UIDs before the question, and the UIDs found
//! become sequence numbers after it. What SAVE keeps for `$` are UIDs.

use super::context::Context;
use super::names::Spelling;
use super::session::{Session, Then};
use super::{Ask, Refusal, SearchQuery, SelectionId};
use crate::imap::response::{Status, write_number, write_string};
use crate::imap::search::{PartialRange, Search, SearchReturn};
use crate::imap::sequence::UidSet;
use crate::send_queue::SendQueue;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// SEARCH or SORT while its answer is on its way.
#[derive(Debug)]
pub(super) struct Searching {
    pub(super) uid: bool,
    pub(super) returns: Option<SearchReturn>,
    /// The highest mod-sequence of what is found is to be told.
    pub(super) modseq: bool,
    /// It is ESEARCH: the mailbox is named, and nothing found is nothing said.
    pub(super) names_mailbox: bool,
    /// The result is to be kept up.
    pub(super) context: Option<Box<Context>>,
}

/// The mailbox that ESEARCH has searched; its name as the client spells it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Searched<'n> {
    pub(super) spelling: Spelling,
    pub(super) name: &'n [u8],
    pub(super) uid_validity: u32,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    /// In the order of the mailbox.
    Ascending(UidSet),
    /// In the order asked for.
    Sorted(Vec<u32>),
}

impl Session {
    pub(super) fn start_search(&mut self, search: Search, tx: &mut SendQueue) {
        if self.enabled.utf8 && search.names_charset {
            // RFC 6855 §3
            return self.end(Status::Bad, None, "With UTF8=ACCEPT a search is in UTF-8", tx);
        }
        // RFC 9051 §6.4.4: without RETURN it is RETURN (ALL).
        let all = SearchReturn { all: true, ..SearchReturn::default() };
        let returns = search.returns.or(Some(all).filter(|_| self.enabled.rev2));
        let (uid, modseq) = (search.uid, search.modseq);
        if search.update.is_some() && self.reuses_tag() {
            // RFC 5267 §4.3
            return self.end(
                Status::Bad,
                None,
                "The result of a search with that tag is kept up already",
                tx,
            );
        }
        if self.check_numbers(&search, tx).is_none() {
            return;
        }
        let context = self.new_context(&search, tx);
        let searching = Searching { uid, returns, modseq, names_mailbox: false, context };
        let Some((selection, within, query)) = self.prepare_search(search, tx) else { return };
        self.ask(Then::Search(searching), |ticket| Ask::Search { ticket, selection, within, query });
    }

    /// Whether the session has the numbers that the search is about; the end of the command if not.
    fn check_numbers(&mut self, search: &Search, tx: &mut SendQueue) -> Option<()> {
        self.command.hides_expunges = !search.uid;
        if search.numbers || !search.uid {
            self.use_numbers(tx)?;
        }
        (!search.modseq || self.use_modseqs(tx)).then_some(())
    }

    /// What the office is to be asked: where, among which messages, and what; or the end of the command.
    pub(super) fn prepare_search(
        &mut self,
        search: Search,
        tx: &mut SendQueue,
    ) -> Option<(SelectionId, UidSet, Arc<SearchQuery>)> {
        self.check_numbers(&search, tx)?;
        let Search { returns, unknown_charset, mut key, .. } = search;
        let mailbox = self.mailbox.as_mut()?;
        let last = mailbox.view.last().unwrap_or(0);
        key.resolve(&mut |set| mailbox.uid_ranges_of_sequence_set(set).into(), &mut |set| {
            set.resolve(last).into()
        });
        let saved = match returns.is_some_and(|returns| returns.save) {
            // RFC 5182 §2.1: nothing is saved until something is found, whatever goes wrong.
            true => core::mem::take(&mut mailbox.saved),
            false => mailbox.saved.clone(),
        };
        let query = Arc::new(SearchQuery { key, recent: mailbox.recent.clone(), saved });
        let (selection, within) = (mailbox.id, mailbox.all_uids());
        if unknown_charset.is_some() {
            self.end_refused(&Refusal::BadCharset, tx);
            return None;
        }
        Some((selection, within, query))
    }

    pub(super) fn handle_found(
        &mut self,
        searching: Searching,
        answer: Result<UidSet, Refusal>,
        tx: &mut SendQueue,
    ) {
        match answer {
            Ok(found) => {
                let Some(mailbox) = self.mailbox.as_ref() else { return };
                let found = mailbox.known_uids(&found);
                self.finish_search(searching, Found::Ascending(found), tx);
            }
            Err(refusal) => self.end_refused(&refusal, tx),
        }
    }

    /// Tells what was found, with its mod-sequence if that was searched for and there is one.
    pub(super) fn finish_search(&mut self, searching: Searching, found: Found, tx: &mut SendQueue) {
        let Some(mailbox) = self.mailbox.as_ref() else { return };
        if !searching.modseq || found.count() == 0 {
            return self.tell_found(searching, found, None, tx);
        }
        let selection = mailbox.id;
        let uids = searching.returns.map_or_else(|| found.to_set(), |returns| saved_of(&returns, &found));
        self.ask(Then::ModSeq(searching, found), |ticket| Ask::ModSeq { ticket, selection, uids });
    }

    /// Saves what is to be saved of the UIDs found, and tells what is to be told: in a line of its own, or in ESEARCH.
    pub(super) fn tell_found(
        &mut self,
        searching: Searching,
        found: Found,
        modseq: Option<u64>,
        tx: &mut SendQueue,
    ) {
        let Searching { uid, returns, modseq: _, names_mailbox, context } = searching;
        let spelling = self.spelling();
        let Some(mailbox) = self.mailbox.as_mut() else { return };
        if let Some(returns) = returns.filter(|returns| returns.save) {
            mailbox.saved = saved_of(&returns, &found);
        }
        if let Some(context) = context {
            mailbox.open_context(*context, found.to_set(), self.setup.limits.imap_context_ranges_max, tx);
        }
        let (word, done) = match found {
            Found::Ascending(_) if names_mailbox => ("ESEARCH", "Esearch completed"),
            Found::Ascending(_) => ("SEARCH", "Search completed"),
            Found::Sorted(_) => ("SORT", "Sort completed"),
        };
        let number = |uid: &u32| mailbox.view.sequence_of(*uid);
        let found = match found {
            found if uid => found,
            Found::Ascending(uids) => Found::Ascending(mailbox.numbers_of(&uids)),
            Found::Sorted(uids) => Found::Sorted(uids.iter().filter_map(number).collect()),
        };
        tx.write_with(|out| match returns {
            None => write_plain(out, word, &found, modseq),
            Some(returns) if returns.is_only_save() || (names_mailbox && found.count() == 0) => {}
            Some(returns) => {
                let name = mailbox.name.as_slice();
                let shown = spelling.shown(name);
                let uid_validity = mailbox.uid_validity;
                let named = names_mailbox.then_some(Searched { spelling, name: &shown, uid_validity });
                write_esearch(out, (&self.command.tag, named), uid, returns, (&found, modseq));
            }
        });
        self.end(Status::Ok, None, done, tx);
    }
}

impl Found {
    pub(super) fn count(&self) -> u64 {
        match self {
            Found::Ascending(set) => set.count(),
            Found::Sorted(list) => list.len() as u64,
        }
    }

    fn first(&self) -> Option<u32> {
        match self {
            Found::Ascending(set) => set.first(),
            Found::Sorted(list) => list.first().copied(),
        }
    }

    fn last(&self) -> Option<u32> {
        match self {
            Found::Ascending(set) => set.last(),
            Found::Sorted(list) => list.last().copied(),
        }
    }

    fn part(&self, range: PartialRange) -> Found {
        let places = range.places(self.count());
        match self {
            Found::Ascending(set) => Found::Ascending(set.slice(places)),
            Found::Sorted(list) => {
                let list = list.get(places.start as usize..places.end as usize);
                Found::Sorted(list.unwrap_or_default().to_vec())
            }
        }
    }

    fn to_set(&self) -> UidSet {
        match self {
            Found::Ascending(set) => set.clone(),
            Found::Sorted(list) => {
                let mut list = list.clone();
                list.sort_unstable();
                list.into_iter().collect()
            }
        }
    }

    /// As a set that keeps the order; nothing if it is empty. RFC 5267 §3.2: a range only goes upwards.
    fn write(&self, out: &mut Vec<u8>) {
        let list = match self {
            Found::Ascending(set) => return set.write(out),
            Found::Sorted(list) => list,
        };
        for (index, run) in list.chunk_by(|a, b| a.checked_add(1) == Some(*b)).enumerate() {
            out.extend_from_slice(if index > 0 { b"," } else { b"" });
            if let [first, .., last] = run {
                write_number(out, u64::from(*first));
                out.push(b':');
                write_number(out, u64::from(*last));
            } else if let [only] = run {
                write_number(out, u64::from(*only));
            }
        }
    }
}

/// What `$` is after the search, and what the mod-sequence told is of (RFC 7162 §3.1.10): all that was found, or, if only some of it was asked for, that (RFC 9051 §6.4.4.4,
/// RFC 9394 §3.2).
fn saved_of(returns: &SearchReturn, found: &Found) -> UidSet {
    let SearchReturn { min, max, all, count, save: _, partial, update: _ } = *returns;
    if all || count || !(min || max || partial.is_some()) {
        return found.to_set();
    }
    let mut saved = partial.map_or(UidSet::new(), |range| found.part(range).to_set());
    for end in [found.first().filter(|_| min), found.last().filter(|_| max)].into_iter().flatten() {
        saved.insert(end);
    }
    saved
}

/// The highest mod-sequence of what is told, by the UIDs found with theirs.
pub(super) fn highest_told(returns: &SearchReturn, found: &Found, modseqs: &[(u32, u64)]) -> Option<u64> {
    let told = saved_of(returns, found);
    modseqs.iter().filter(|(uid, _)| told.contains(*uid)).map(|(_, modseq)| *modseq).max()
}

/// RFC 3501 §7.2.5: the line comes even when nothing was found.
fn write_plain(out: &mut Vec<u8>, word: &str, found: &Found, modseq: Option<u64>) {
    out.extend_from_slice(b"* ");
    out.extend_from_slice(word.as_bytes());
    let mut write = |number: u32| {
        out.push(b' ');
        write_number(out, u64::from(number));
    };
    match found {
        Found::Ascending(set) => set.iter().for_each(write),
        Found::Sorted(list) => list.iter().for_each(|number| write(*number)),
    }
    if let Some(modseq) = modseq {
        out.extend_from_slice(b" (MODSEQ ");
        write_number(out, modseq);
        out.push(b')');
    }
    out.extend_from_slice(b"\r\n");
}

/// RFC 9051 §7.3.4 (ESEARCH). The tag is a quoted string always: Outlook does not read an atom.
/// ESEARCH names the mailbox, too (RFC 7377 §2.1), as the client spells it, with its UIDVALIDITY.
pub(super) fn write_esearch(
    out: &mut Vec<u8>,
    (tag, mailbox): (&[u8], Option<Searched<'_>>),
    uid: bool,
    returns: SearchReturn,
    (found, modseq): (&Found, Option<u64>),
) {
    out.extend_from_slice(b"* ESEARCH (TAG ");
    write_string(out, tag);
    if let Some(Searched { spelling, name, uid_validity }) = mailbox {
        out.extend_from_slice(b" MAILBOX ");
        spelling.write(out, name);
        out.extend_from_slice(b" UIDVALIDITY ");
        write_number(out, uid_validity.into());
    }
    out.extend_from_slice(if uid { b") UID" } else { b")" });
    let mut number = |name: &[u8], value: u64| {
        out.extend_from_slice(name);
        write_number(out, value);
    };
    // RFC 4731 §3.1: nothing found is told by leaving MIN, MAX and ALL out.
    if let (true, Some(first)) = (returns.min, found.first()) {
        number(b" MIN ", first.into());
    }
    if let (true, Some(last)) = (returns.max, found.last()) {
        number(b" MAX ", last.into());
    }
    if returns.count {
        number(b" COUNT ", found.count());
    }
    if returns.all && found.count() > 0 {
        out.extend_from_slice(b" ALL ");
        found.write(out);
    }
    if let Some(range) = returns.partial {
        out.extend_from_slice(b" PARTIAL (");
        range.write(out);
        out.push(b' ');
        let part = found.part(range);
        match part.count() {
            0 => out.extend_from_slice(b"NIL"),
            _ => part.write(out),
        }
        out.push(b')');
    }
    if let Some(modseq) = modseq {
        out.extend_from_slice(b" MODSEQ ");
        write_number(out, modseq);
    }
    out.extend_from_slice(b"\r\n");
}
