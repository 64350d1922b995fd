//! SEARCH and UID SEARCH (RFC 9051 §6.4.4): the plain form, ESEARCH (RFC 4731), SEARCHRES (RFC 5182) and PARTIAL
//! (RFC 9394).
//!
//! The office knows UIDs only: sequence numbers in the keys become UIDs before the question, and the UIDs found
//! become sequence numbers after it. What SAVE keeps for `$` are UIDs.

use super::session::{Session, Then};
use super::{Ask, Refusal, SearchQuery};
use crate::imap::response::{Status, write_number, write_string};
use crate::imap::search::{Search, SearchReturn};
use crate::imap::sequence::UidSet;
use crate::send_queue::SendQueue;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// SEARCH while its answer is on its way.
#[derive(Debug)]
pub(super) struct Searching {
    uid: bool,
    returns: Option<SearchReturn>,
}

impl Session {
    pub(super) fn start_search(&mut self, search: Search, tx: &mut SendQueue) {
        let Search { uid, returns, unknown_charset, mut key } = search;
        self.command.hides_expunges = !uid;
        let Some(mailbox) = self.mailbox.as_mut() else { return };
        let last = mailbox.view.last().unwrap_or(0);
        key.resolve(&mut |set| mailbox.uid_ranges_of_sequence_set(set), &mut |set| set.resolve(last));
        let saved = match returns.is_some_and(|returns| returns.save) {
            // RFC 5182 §2.1: nothing is saved until something is found, whatever goes wrong.
            true => core::mem::take(&mut mailbox.saved),
            false => mailbox.saved.clone(),
        };
        if unknown_charset.is_some() {
            return self.end_refused(&Refusal::BadCharset, tx);
        }
        let (selection, within) = (mailbox.id, mailbox.all_uids());
        let query = Arc::new(SearchQuery { key, recent: mailbox.recent.clone(), saved });
        let searching = Searching { uid, returns };
        self.ask(Then::Search(searching), |ticket| Ask::Search { ticket, selection, within, query });
    }

    pub(super) fn handle_found(
        &mut self,
        searching: Searching,
        answer: Result<UidSet, Refusal>,
        tx: &mut SendQueue,
    ) {
        let found = match answer {
            Ok(found) => found,
            Err(refusal) => return self.end_refused(&refusal, tx),
        };
        let Some(mailbox) = self.mailbox.as_mut() else { return };
        let found = mailbox.known_uids(&found);
        if let Some(returns) = searching.returns.filter(|returns| returns.save) {
            mailbox.saved = saved_of(&returns, &found);
        }
        let found = match searching.uid {
            true => found,
            false => found.iter().filter_map(|uid| mailbox.view.sequence_of(uid)).collect(),
        };
        tx.write_with(|out| match searching.returns {
            None => write_search(out, &found),
            Some(returns) if returns.is_only_save() => {}
            Some(returns) => write_esearch(out, &self.command.tag, searching.uid, returns, &found),
        });
        self.end(Status::Ok, None, "Search completed", tx);
    }
}

/// What `$` is after the search: all that was found, or, if only some of it was asked for, that (RFC 9051 §6.4.4.4,
/// RFC 9394 §3.2).
fn saved_of(returns: &SearchReturn, found: &UidSet) -> UidSet {
    let SearchReturn { min, max, all, count, save: _, partial } = *returns;
    if all || count || !(min || max || partial.is_some()) {
        return found.clone();
    }
    let mut saved = partial.map_or(UidSet::new(), |range| found.slice(range.places(found.count())));
    for end in [found.first().filter(|_| min), found.last().filter(|_| max)].into_iter().flatten() {
        saved.insert(end);
    }
    saved
}

/// RFC 3501 §7.2.5: the line comes even when nothing was found.
fn write_search(out: &mut Vec<u8>, found: &UidSet) {
    out.extend_from_slice(b"* SEARCH");
    for number in found.iter() {
        out.push(b' ');
        write_number(out, u64::from(number));
    }
    out.extend_from_slice(b"\r\n");
}

/// RFC 9051 §7.3.4 (ESEARCH). The tag is a quoted string always: Outlook does not read an atom.
fn write_esearch(out: &mut Vec<u8>, tag: &[u8], uid: bool, returns: SearchReturn, found: &UidSet) {
    out.extend_from_slice(b"* ESEARCH (TAG ");
    write_string(out, tag);
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
    if returns.all && !found.is_empty() {
        out.extend_from_slice(b" ALL ");
        found.write(out);
    }
    if let Some(range) = returns.partial {
        out.extend_from_slice(b" PARTIAL (");
        range.write(out);
        out.push(b' ');
        let part = found.slice(range.places(found.count()));
        match part.is_empty() {
            true => out.extend_from_slice(b"NIL"),
            false => part.write(out),
        }
        out.push(b')');
    }
    out.extend_from_slice(b"\r\n");
}
