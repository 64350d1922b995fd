//! SORT and THREAD (RFC 5256, RFC 5957) with their UID forms, and ESORT (RFC 5267).
//!
//! Both are a search whose result has an order. SORT with RETURN answers as SEARCH does, in the order asked for.

use super::search::{Found, Searching};
use super::session::{Session, Then};
use super::{Ask, Refusal};
use crate::imap::command::Thread;
use crate::imap::response::{Code, Status};
use crate::imap::sort::Sort;
use crate::imap::thread::Threads;
use crate::send_queue::SendQueue;

/// THREAD while its answer is on its way.
#[derive(Debug)]
pub(super) struct Threading {
    uid: bool,
}

impl Session {
    pub(super) fn start_sort(&mut self, sort: Sort, tx: &mut SendQueue) {
        let Sort { search, criteria } = sort;
        let (uid, returns, modseq) = (search.uid, search.returns, search.modseq);
        let searching = Searching { uid, returns, modseq, names_mailbox: false, context: None };
        let Some((selection, within, query)) = self.prepare_search(search, tx) else { return };
        self.ask(Then::Sort(searching), |ticket| Ask::Sort { ticket, selection, within, query, criteria });
    }

    pub(super) fn handle_sorted(
        &mut self,
        searching: Searching,
        answer: Result<alloc::vec::Vec<u32>, Refusal>,
        tx: &mut SendQueue,
    ) {
        match answer {
            Ok(mut sorted) => {
                let Some(mailbox) = self.mailbox.as_ref() else { return };
                sorted.retain(|uid| mailbox.view.sequence_of(*uid).is_some());
                self.finish_search(searching, Found::Sorted(sorted), tx);
            }
            Err(refusal) => self.end_refused(&refusal, tx),
        }
    }

    pub(super) fn start_thread(&mut self, thread: Thread, tx: &mut SendQueue) {
        let Thread { algorithm, search } = thread;
        let threading = Threading { uid: search.uid };
        let Some((selection, within, query)) = self.prepare_search(search, tx) else { return };
        self.ask(Then::Thread(threading), |ticket| Ask::Thread {
            ticket,
            selection,
            within,
            query,
            algorithm,
        });
    }

    pub(super) fn handle_threads(
        &mut self,
        threading: &Threading,
        answer: Result<Threads, Refusal>,
        tx: &mut SendQueue,
    ) {
        let threads = match answer {
            Ok(threads) => threads,
            Err(refusal) => return self.end_refused(&refusal, tx),
        };
        let Some(mailbox) = self.mailbox.as_ref() else { return };
        if threads.uids().any(|uid| mailbox.view.sequence_of(uid).is_none()) {
            // A tree cannot do without one of its nodes; the office looks only among those that the client knows.
            return self.end(Status::No, Some(&Code::ServerBug), "Some of the messages are not known", tx);
        }
        tx.write_with(|out| {
            out.extend_from_slice(b"* THREAD");
            threads.write(out, |uid| if threading.uid { Some(uid) } else { mailbox.view.sequence_of(uid) });
            out.extend_from_slice(b"\r\n");
        });
        self.end(Status::Ok, None, "Thread completed", tx);
    }
}
