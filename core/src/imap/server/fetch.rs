//! FETCH and UID FETCH (RFC 9051 §6.4.5), UIDFETCH (RFC 9586): page by page, as the send queue has room.
//!
//! The office renders what stands between the parentheses; the session knows the sequence numbers. A page may have
//! parts of one opened file, which go into the send queue at their places.

use super::context::Update;
use super::notify::Rest;
use super::reply::of_refusal;
use super::select::{Mailbox, SelectEnd};
use super::session::{Session, State, Then};
use super::{Ask, FetchPage, FetchRequest, FetchRow, Refusal};
use crate::imap::fetch::{Fetch, FetchItem};
use crate::imap::response::{Code, Status, write_number};
use crate::imap::sequence::{NumberRange, UidSet};
use crate::imap::view::UidMap;
use crate::machine::StepOf;
use crate::send_queue::{FileRange, SendQueue};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// How many UIDs the session tells of its own in one step.
const UIDS_PER_PAGE: usize = 1024;

/// A FETCH in progress.
#[derive(Debug)]
pub(super) struct Fetching {
    uid: bool,
    /// Messages of the pages to come.
    uids: UidSet,
    request: Arc<FetchRequest>,
    /// Some message was gone.
    gone: bool,
    /// Some message could not be read.
    unreadable: bool,
    /// Some part could not be decoded.
    unknown_encoding: bool,
    /// It is what SELECT tells a client that was there before.
    select: Option<SelectEnd>,
    /// It is what NOTIFY tells of new messages; where the session goes on.
    news: Option<Rest>,
    /// It is of messages that come into a result, which is told after it.
    update: Option<Box<Update>>,
}

impl Fetching {
    pub(super) fn new(uid: bool, uids: UidSet, request: FetchRequest, select: Option<SelectEnd>) -> Self {
        let request = Arc::new(request);
        let (gone, unreadable, unknown_encoding) = (false, false, false);
        let (news, update) = (None, None);
        Fetching { uid, uids, request, gone, unreadable, unknown_encoding, select, news, update }
    }

    pub(super) fn of_news(uids: UidSet, request: FetchRequest, rest: Rest) -> Self {
        Fetching { news: Some(rest), ..Fetching::new(true, uids, request, None) }
    }

    pub(super) fn of_update(uids: UidSet, request: FetchRequest, update: Update) -> Self {
        Fetching { update: Some(Box::new(update)), ..Fetching::new(true, uids, request, None) }
    }

    /// Whether no command is in progress.
    pub(super) fn rests(&self) -> bool {
        self.news.is_some() || self.update.as_ref().is_some_and(|update| update.after().rests())
    }

    /// Whether it asks for what the session knows of a message that is gone: the UID at a sequence number, for as long
    /// as its EXPUNGE has not been told.
    fn is_of_uids(&self) -> bool {
        let FetchRequest { items, changed_since, .. } = &*self.request;
        !self.uid && changed_since.is_none() && items.iter().all(|item| *item == FetchItem::Uid)
    }
}

impl Session {
    pub(super) fn start_fetch(&mut self, fetch: Fetch, tx: &mut SendQueue) {
        let Fetch { uid, set, mut items, partial, changed_since, vanished } = fetch;
        self.command.hides_expunges = !uid;
        if vanished && !self.enabled.qresync {
            return self.end(Status::Bad, None, "ENABLE QRESYNC first", tx);
        }
        // RFC 7162 §3.1.4.1: who asks for changes is told their mod-sequences.
        if changed_since.is_some() && !items.contains(&FetchItem::ModSeq) {
            items.push(FetchItem::ModSeq);
        }
        if items.contains(&FetchItem::ModSeq) && !self.use_modseqs(tx) {
            return;
        }
        let Some(mut uids) = self.named_uids(&set, uid, tx) else { return };
        if let Some(partial) = partial {
            uids = uids.slice(partial.places(uids.count()));
        }
        let Some(mailbox) = self.mailbox.as_ref() else { return };
        // RFC 9051 §6.4.9: the answer to UID FETCH has the UID, asked for or not.
        if uid && !self.enabled.uid_only && !items.contains(&FetchItem::Uid) {
            items.insert(0, FetchItem::Uid);
        }
        let set_seen = !mailbox.read_only && items.iter().any(FetchItem::wants_seen);
        let (recent, tells_modseq) = (mailbox.recent.clone(), mailbox.tells_modseq());
        let request = FetchRequest { items, recent, set_seen, changed_since, tells_modseq };
        let fetching = Fetching::new(uid, uids, request, None);
        match changed_since.filter(|_| vanished) {
            // RFC 7162 §3.2.6: what has gone is told of all the client names, whether it has seen it here or not.
            Some(since) => {
                let named = if set.is_saved() { mailbox.saved.clone() } else { set.resolve(u32::MAX) };
                self.ask_vanished(fetching, since, named);
            }
            None => self.go_on_fetching(fetching, tx),
        }
    }

    /// Asks for the first page, if there is anything to ask for.
    pub(super) fn go_on_fetching(&mut self, fetching: Fetching, tx: &mut SendQueue) {
        match fetching.uids.is_empty() {
            true => self.end_fetch(fetching, tx),
            false => self.ask_page(fetching),
        }
    }

    /// A FETCH ends without having told all, with a NO: where it was part of SELECT, nothing is selected; where it was of
    /// no command, nobody is told.
    pub(super) fn fail_fetch(&mut self, fetching: Fetching, code: &Code<'_>, text: &str, tx: &mut SendQueue) {
        if let Some(rest) = fetching.news {
            return self.rest(rest, tx);
        }
        if let Some(update) = fetching.update {
            return self.tell_update(*update, tx);
        }
        if fetching.select.is_some() {
            self.leave_mailbox();
        }
        self.end(Status::No, Some(code), text, tx);
    }

    /// There is room in the send queue again.
    pub(super) fn resume_fetch(&mut self) -> Option<StepOf<'static, Session>> {
        match core::mem::replace(&mut self.state, State::Command) {
            State::Fetch(fetching) => self.ask_page(fetching),
            other @ (State::Command
            | State::Sasl(_)
            | State::Waiting(_)
            | State::List(_)
            | State::Search(_)
            | State::Message(_)
            | State::Idle
            | State::Handshake
            | State::Closed) => self.state = other,
        }
        self.step(0)
    }

    pub(super) fn ask_page(&mut self, fetching: Fetching) {
        let Some(mailbox) = self.mailbox.as_ref() else { return };
        let (selection, uids, request) = (mailbox.id, fetching.uids.clone(), Arc::clone(&fetching.request));
        self.ask(Then::Fetch(fetching), |ticket| Ask::Fetch { ticket, selection, uids, request });
    }

    pub(super) fn handle_page(
        &mut self,
        mut fetching: Fetching,
        answer: Result<FetchPage, Refusal>,
        tx: &mut SendQueue,
    ) {
        let mut page = match answer {
            Ok(page) => page,
            Err(refusal) => {
                let (code, text) = of_refusal(&refusal);
                return self.fail_fetch(fetching, &code, text, tx);
            }
        };
        if page.gone && fetching.is_of_uids() {
            page = page_of_uids(&fetching.uids, page.next);
        }
        if let Some(mailbox) = self.mailbox.as_mut() {
            write_page(&page, &mailbox.view, self.enabled.uid_only, tx);
            if fetching.request.set_seen {
                mailbox.doubt_flags(page.rows.iter().map(|row| row.uid));
            }
        }
        fetching.gone |= page.gone;
        fetching.unknown_encoding |= page.unknown_encoding;
        fetching.unreadable |= !page.unreadable.is_empty();
        let Some(next) = page.next else { return self.end_fetch(fetching, tx) };
        if fetching.uids.first().is_none_or(|first| next <= first) {
            // The office does not get on; without this the two would go round in circles.
            return self.fail_fetch(fetching, &Code::ServerBug, "Fetch came to a halt", tx);
        }
        fetching.uids = uids_from(&fetching.uids, next);
        match fetching.uids.is_empty() {
            true => self.end_fetch(fetching, tx),
            false => self.state = State::Fetch(fetching),
        }
    }

    /// RFC 5530 §3: messages that are gone, though their EXPUNGE cannot be told now. UID FETCH of what is not there
    /// is no error (RFC 9051 §6.4.9).
    fn end_fetch(&mut self, fetching: Fetching, tx: &mut SendQueue) {
        if let Some(rest) = fetching.news {
            return self.rest(rest, tx);
        }
        if let Some(update) = fetching.update {
            return self.tell_update(*update, tx);
        }
        if let Some(end) = &fetching.select {
            return self.end_select(end, tx);
        }
        if fetching.unreadable {
            // RFC 5530 §3: nothing the client does will help.
            let text = "Some of the messages cannot be read on the server, the others are sent";
            return self.end(Status::No, Some(&Code::ContactAdmin), text, tx);
        }
        if fetching.unknown_encoding {
            let text = "Some part has a transfer encoding that is not known, BODY has it as it is";
            return self.end(Status::No, Some(&Code::UnknownCte), text, tx);
        }
        if fetching.gone && !fetching.uid {
            let text = "Some of the messages are gone";
            return self.end(Status::No, Some(&Code::ExpungeIssued), text, tx);
        }
        self.end(Status::Ok, None, "Fetch completed", tx);
    }
}

impl Mailbox {
    /// What is fetched without a FETCH: it comes with the UID, and nothing is \Seen by it.
    pub(super) fn request_unasked(&self, items: &[FetchItem]) -> FetchRequest {
        let mut items = items.to_vec();
        if !self.enabled.uid_only && !items.contains(&FetchItem::Uid) {
            items.insert(0, FetchItem::Uid);
        }
        let (recent, tells_modseq) = (self.recent.clone(), self.tells_modseq());
        FetchRequest { items, recent, set_seen: false, changed_since: None, tells_modseq }
    }
}

/// What is left from `next` on.
fn uids_from(uids: &UidSet, next: u32) -> UidSet {
    let done = UidSet::from_iter([NumberRange { first: 1, last: next.saturating_sub(1) }]);
    uids.difference(&done)
}

/// The rows of `FETCH (UID)` up to `next`, as far as a page goes.
fn page_of_uids(uids: &UidSet, next: Option<u32>) -> FetchPage {
    let mut page = FetchPage { next, ..FetchPage::default() };
    for uid in uids.iter().take_while(|uid| next.is_none_or(|next| *uid < next)) {
        if page.rows.len() >= UIDS_PER_PAGE {
            page.next = Some(uid);
            break;
        }
        page.bytes.extend_from_slice(b"UID ");
        write_number(&mut page.bytes, u64::from(uid));
        page.rows.push(FetchRow { uid, end: page.bytes.len() });
    }
    page
}

/// Writes the beginning of a FETCH response, or of UIDFETCH (RFC 9586 §3.2), up to its first item.
pub(super) fn write_fetch_head(out: &mut Vec<u8>, number: u32, uid: u32, uid_only: bool) {
    out.extend_from_slice(b"* ");
    write_number(out, u64::from(if uid_only { uid } else { number }));
    out.extend_from_slice(if uid_only { b" UIDFETCH (" } else { b" FETCH (" });
}

/// Writes the FETCH responses of a page.
fn write_page(page: &FetchPage, view: &UidMap, uid_only: bool, tx: &mut SendQueue) {
    let mut files = page.files.iter().peekable();
    let mut at = 0;
    for row in &page.rows {
        let number = view.sequence_of(row.uid);
        if let Some(number) = number {
            tx.write_with(|out| write_fetch_head(out, number, row.uid, uid_only));
        }
        while let Some((place, range)) = files.next_if(|(place, _)| *place <= row.end) {
            let before = page.bytes.get(at..*place).unwrap_or_default();
            at = at.max(*place);
            match number {
                Some(_) => {
                    tx.push(before);
                    tx.push_range(*range);
                }
                // Nothing of it is sent, but the file goes back through the queue.
                None => tx.push_range(FileRange { emit: 0, ..*range }),
            }
        }
        if number.is_some() {
            let rest = page.bytes.get(at..row.end).unwrap_or_default();
            tx.write_with(|out| {
                out.extend_from_slice(rest);
                out.extend_from_slice(b")\r\n");
            });
        }
        at = at.max(row.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Handle;
    use crate::send_queue::Transmit;
    use alloc::string::ToString;

    #[test]
    fn what_is_left_of_a_set() {
        let uids: UidSet = [3, 5, 9].into_iter().collect();
        for (next, left) in
            [(1, "3,5,9"), (3, "3,5,9"), (4, "5,9"), (5, "5,9"), (9, "9"), (10, ""), (0, "3,5,9")]
        {
            assert_eq!(uids_from(&uids, next).to_string(), left, "{next}");
        }
    }

    #[test]
    fn uids_come_in_pages() {
        let uids = UidSet::from_iter([NumberRange { first: 1, last: 3000 }]);
        let page = page_of_uids(&uids, Some(3));
        assert_eq!((&page.bytes[..], page.rows.len(), page.next), (&b"UID 1UID 2"[..], 2, Some(3)));
        let page = page_of_uids(&uids, None);
        assert_eq!((page.rows.len(), page.next, page.gone), (UIDS_PER_PAGE, Some(1025), false));
    }

    #[test]
    fn files_stand_at_their_places_and_all_go_back() {
        let view: UidMap = [3, 9].into_iter().collect();
        let range = |skip| FileRange::text(Handle(7), 0, skip, 2);
        let rows = [3, 5, 9].into_iter().zip([12, 18, 23]).map(|(uid, end)| FetchRow { uid, end }).collect();
        let bytes = b"BODY[] {2}\r\nFLAGSxUID 9".to_vec();
        let files = [(12, range(0)), (18, range(2)), (23, range(4))].to_vec();
        let page = FetchPage { rows, bytes, files, ..FetchPage::default() };
        let mut tx = SendQueue::default();
        write_page(&page, &view, false, &mut tx);
        let mut sent = Vec::new();
        let mut released = 0;
        loop {
            match tx.poll_transmit() {
                None => break,
                Some(Transmit::Bytes(bytes)) => {
                    sent.extend_from_slice(bytes);
                    let count = bytes.len();
                    tx.handle_sent(count);
                }
                Some(Transmit::Read { .. }) => tx.handle_read(b"abcdef"),
            }
            while tx.poll_release().is_some() {
                released += 1;
            }
        }
        while tx.poll_release().is_some() {
            released += 1;
        }
        assert_eq!(sent, b"* 1 FETCH (BODY[] {2}\r\nab)\r\n* 2 FETCH (UID 9ef)\r\n");
        assert_eq!(released, 3);
    }
}
