//! SEARCH and UID SEARCH (RFC 9051 §6.4.4), the plain form and ESEARCH (RFC 4731).
//!
//! The office knows UIDs only: sequence numbers in the keys become UIDs before the question, and the UIDs found
//! become sequence numbers after it.

use super::select::Mailbox;
use super::session::{Session, Then};
use super::{Ask, Refusal, SearchQuery};
use crate::imap::response::{Status, write_number, write_string};
use crate::imap::search::{Search, SearchKey, SearchReturn};
use crate::imap::sequence::UidSet;
use crate::send_queue::SendQueue;
use alloc::boxed::Box;
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
        let Search { uid, returns, unknown_charset, key } = search;
        self.command.hides_expunges = !uid;
        if unknown_charset.is_some() {
            return self.end_refused(&Refusal::BadCharset, tx);
        }
        if returns.is_some_and(|returns| returns.save) {
            return self.end(Status::Bad, None, "SEARCH results cannot be saved here", tx);
        }
        let Some(mailbox) = self.mailbox.as_ref() else { return };
        let (selection, within) = (mailbox.id, mailbox.all_uids());
        let query = Arc::new(SearchQuery { key: in_uids(key, mailbox), recent: mailbox.recent.clone() });
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
        let Some(mailbox) = self.mailbox.as_ref() else { return };
        let found = mailbox.known_uids(&found);
        let found = match searching.uid {
            true => found,
            false => found.iter().filter_map(|uid| mailbox.view.sequence_of(uid)).collect(),
        };
        tx.write_with(|out| match searching.returns {
            None => write_search(out, &found),
            Some(returns) => write_esearch(out, &self.command.tag, searching.uid, returns, &found),
        });
        self.end(Status::Ok, None, "Search completed", tx);
    }
}

/// The key with every set as UIDs. Its nesting is bounded by the parser.
fn in_uids(key: SearchKey, mailbox: &Mailbox) -> SearchKey {
    match key {
        SearchKey::Sequence(set) => SearchKey::Uid(mailbox.uid_ranges_of_sequence_set(&set).into()),
        SearchKey::Uid(set) => SearchKey::Uid(set.resolve(mailbox.view.last().unwrap_or(0)).into()),
        SearchKey::And(keys) => SearchKey::And(keys.into_iter().map(|key| in_uids(key, mailbox)).collect()),
        SearchKey::Or(keys) => {
            let (left, right) = *keys;
            SearchKey::Or(Box::new((in_uids(left, mailbox), in_uids(right, mailbox))))
        }
        SearchKey::Not(key) => SearchKey::Not(Box::new(in_uids(*key, mailbox))),
        other @ (SearchKey::All
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
        | SearchKey::Smaller(_)) => other,
    }
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
    out.extend_from_slice(b"\r\n");
}
