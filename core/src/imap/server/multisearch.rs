//! ESEARCH (RFC 7377): a search in several mailboxes, selected or not, whose answer is in UIDs.
//!
//! The list of mailboxes says which are meant; they are searched one after the other, and each that has something found
//! in it has an ESEARCH response of its own. No more than one result is held, and none is asked for while the send queue
//! has no room. A search of the selected mailbox alone is like UID SEARCH.

use super::search::{Found, Searched, Searching, highest_told, write_esearch};
use super::session::{Session, State, Then};
use super::{Ask, Folder, FoundIn, Refusal, SearchQuery};
use crate::imap::command::{INBOX, MultiSearch};
use crate::imap::notify::{MailboxFilter, Source};
use crate::imap::response::Status;
use crate::imap::search::SearchReturn;
use crate::imap::sequence::UidSet;
use crate::machine::StepOf;
use crate::send_queue::SendQueue;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// ESEARCH in progress.
#[derive(Debug)]
pub(super) struct Multisearching {
    filters: Vec<MailboxFilter<Vec<u8>>>,
    /// The selected mailbox is meant whatever the filters say.
    selected: bool,
    returns: SearchReturn,
    modseq: bool,
    query: Arc<SearchQuery>,
    /// Mailboxes still to be searched, as they are stored; the first is the one asked about.
    names: VecDeque<Vec<u8>>,
    /// Why one of them could not be searched.
    failed: Option<Refusal>,
}

impl Session {
    pub(super) fn start_multisearch(&mut self, command: MultiSearch, tx: &mut SendQueue) {
        let MultiSearch { sources, search } = command;
        if self.enabled.utf8 && search.names_charset {
            return self.end(Status::Bad, None, "With UTF8=ACCEPT a search is in UTF-8", tx);
        }
        let all = SearchReturn { all: true, ..SearchReturn::default() };
        let returns = search.returns.unwrap_or(all);
        let (mut filters, mut selected) = (Vec::new(), false);
        for source in sources {
            match source {
                Source::Selected | Source::SelectedDelayed => selected = true,
                Source::Others(filter) => {
                    let Some(filter) = filter.try_map(|name| self.checked_name(&name, tx)) else { return };
                    filters.push(filter);
                }
            }
        }
        if (selected || filters.is_empty()) && self.mailbox.is_none() {
            return self.end(Status::Bad, None, "Select a mailbox first", tx);
        }
        if filters.is_empty() {
            let (returns, modseq) = (Some(returns), search.modseq);
            let searching = Searching { uid: true, returns, modseq, names_mailbox: true, context: None };
            let Some((selection, within, query)) = self.prepare_search(search, tx) else { return };
            return self.ask(Then::Search(searching), |ticket| Ask::Search {
                ticket,
                selection,
                within,
                query,
            });
        }
        // RFC 7377 §2.1, §2.2: what only the selected mailbox has means nothing elsewhere.
        if returns.save || search.numbers {
            let text = "Only a search of the selected mailbox alone has SAVE and sequence numbers";
            return self.end(Status::Bad, None, text, tx);
        }
        if search.unknown_charset.is_some() {
            return self.end_refused(&Refusal::BadCharset, tx);
        }
        if search.modseq {
            self.enable_condstore(tx);
        }
        let (recent, saved) = (UidSet::new(), UidSet::new());
        let query = Arc::new(SearchQuery { key: search.key, recent, saved });
        let (modseq, names) = (search.modseq, VecDeque::new());
        let searching = Multisearching { filters, selected, returns, modseq, query, names, failed: None };
        self.ask(Then::MultisearchList(searching), |ticket| Ask::List { ticket });
    }

    pub(super) fn handle_multisearch_list(
        &mut self,
        mut searching: Multisearching,
        answer: Result<Vec<Folder>, Refusal>,
        tx: &mut SendQueue,
    ) {
        let folders = match answer {
            Ok(folders) => folders,
            Err(refusal) => return self.end_refused(&refusal, tx),
        };
        let selected =
            self.mailbox.as_ref().filter(|_| searching.selected).map(|mailbox| mailbox.name.clone());
        let is_meant = |name: &[u8], subscribed: bool| {
            selected.as_deref() == Some(name)
                || searching.filters.iter().any(|filter| filter.matches(name, subscribed))
        };
        let there = folders.into_iter().filter(|folder| !folder.non_existent);
        let meant = there.filter(|folder| is_meant(&folder.name, folder.subscribed));
        let mut names: VecDeque<Vec<u8>> = meant.map(|folder| folder.name).collect();
        // RFC 9051 §5.1: INBOX is there, whatever the disk says.
        if is_meant(INBOX, false) && !names.iter().any(|name| name == INBOX) {
            names.push_front(INBOX.to_vec());
        }
        searching.names = names;
        self.state = State::Search(searching);
    }

    /// Asks about the next mailbox.
    pub(super) fn resume_multisearch(&mut self, tx: &mut SendQueue) -> Option<StepOf<'static, Session>> {
        match core::mem::replace(&mut self.state, State::Command) {
            State::Search(searching) => self.search_next(searching, tx),
            other @ (State::Command
            | State::Sasl(_)
            | State::Waiting(_)
            | State::Fetch(_)
            | State::List(_)
            | State::Message(_)
            | State::Idle
            | State::Handshake
            | State::Closed) => self.state = other,
        }
        self.step(0)
    }

    fn search_next(&mut self, searching: Multisearching, tx: &mut SendQueue) {
        match (searching.names.front().cloned(), &searching.failed) {
            (Some(mailbox), _) => {
                let (query, modseqs) = (Arc::clone(&searching.query), searching.modseq);
                self.ask(Then::Multisearch(searching), |ticket| Ask::SearchIn {
                    ticket,
                    mailbox,
                    query,
                    modseqs,
                });
            }
            (None, Some(refusal)) => self.end_refused(&refusal.clone(), tx),
            (None, None) => self.end(Status::Ok, None, "Esearch completed", tx),
        }
    }

    /// RFC 7377 §2.1: a mailbox with nothing found has no response, whatever was to be returned.
    pub(super) fn handle_searched_in(
        &mut self,
        mut searching: Multisearching,
        answer: Result<FoundIn, Refusal>,
        tx: &mut SendQueue,
    ) {
        let name = searching.names.pop_front().unwrap_or_default();
        match answer {
            Ok(FoundIn { uid_validity, uids, modseqs }) => {
                let found = Found::Ascending(uids);
                let modseq = highest_told(&searching.returns, &found, &modseqs);
                if found.count() > 0 {
                    let spelling = self.spelling();
                    let name = spelling.shown(&name);
                    let mailbox = Some(Searched { spelling, name: &name, uid_validity });
                    let tag = &self.command.tag;
                    let (returns, modseq) = (searching.returns, modseq.filter(|_| searching.modseq));
                    tx.write_with(|out| write_esearch(out, (tag, mailbox), true, returns, (&found, modseq)));
                }
            }
            // It has gone since the list was made.
            Err(Refusal::NonExistent) => {}
            Err(refusal) => searching.failed = Some(refusal),
        }
        self.state = State::Search(searching);
    }
}
