//! SELECT, EXAMINE, CLOSE, UNSELECT, EXPUNGE (RFC 9051 §6.3.2, §6.3.3, §6.4.1–§6.4.3), and [`Mailbox`]: what the
//! session knows of the mailbox it has selected.

use super::context::Context;
use super::enable::Enabled;
use super::reply::NOT_WRITABLE;
use super::session::{Session, Then};
use super::{Ask, Refusal, Selected, SelectionId};
use crate::imap::command::{Resync, Select};
use crate::imap::flag::{SystemFlag, has_room};
use crate::imap::response::{Code, Status, write_message_data, write_untagged};
use crate::imap::sequence::{NumberRange, SequenceSet, UidSet};
use crate::imap::view::UidMap;
use crate::send_queue::SendQueue;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Up to so many numbers are looked up one by one; the map's own ranges begin with a walk through a chunk, which a
/// set of many small ranges would do too often.
const SMALL_RANGE: u64 = 32;

/// The selected mailbox as this client has been told it is.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) id: SelectionId,
    pub(super) name: Vec<u8>,
    pub(super) uid_validity: u32,
    pub(super) view: UidMap,
    pub(super) recent: UidSet,
    /// What the client has switched on.
    pub(super) enabled: Enabled,
    /// HIGHESTMODSEQ as of what the client has been told; `None`: there are no mod-sequences.
    pub(super) modseq: Option<u64>,
    pub(super) keywords: Arc<Vec<String>>,
    pub(super) read_only: bool,
    /// There is something to ask for.
    pub(super) changed: bool,
    /// Gone, but still in `view`: not told yet.
    pub(super) untold: UidSet,
    /// `$`, the result of the last `SEARCH RETURN (SAVE)`; what is gone of it is not taken out.
    pub(super) saved: UidSet,
    /// New messages of which NOTIFY wants to have something fetched.
    pub(super) to_fetch: UidSet,
    /// Searches whose results are kept up.
    pub(super) contexts: Vec<Context>,
}

/// SELECT and EXAMINE while their answer is on its way.
#[derive(Debug)]
pub(super) struct Selecting {
    name: Vec<u8>,
    /// As the client has written it.
    sent: Vec<u8>,
    read_only: bool,
    resync: Option<Box<Resync>>,
}

/// How SELECT and EXAMINE end.
#[derive(Debug)]
pub(super) struct SelectEnd {
    code: Code<'static>,
    text: &'static str,
}

impl Session {
    /// RFC 9051 §6.3.2: the mailbox selected before is left, whether or not the new one can be selected.
    pub(super) fn start_select(&mut self, select: &Select, tx: &mut SendQueue) {
        let Select { ref mailbox, read_only, condstore, ref resync } = *select;
        if resync.is_some() && !self.enabled.qresync {
            // RFC 7162 §3.2.5
            return self.end(Status::Bad, None, "ENABLE QRESYNC first", tx);
        }
        if resync.as_ref().is_some_and(|resync| resync.matches.is_some()) && self.use_numbers(tx).is_none() {
            return;
        }
        if self.mailbox.is_some() {
            // RFC 9051 §7.1: what comes from here on is not about the mailbox before.
            let text = "The mailbox selected before is closed";
            tx.write_with(|out| write_untagged(out, Status::Ok, Some(&Code::Closed), text));
        }
        self.leave_mailbox();
        self.enabled.condstore |= condstore;
        let Some(name) = self.checked_name(mailbox, tx) else { return };
        let (sent, resync) = (mailbox.as_sent().to_vec(), resync.clone());
        let selecting = Selecting { name: name.clone(), sent, read_only, resync };
        self.ask(Then::Select(selecting), |ticket| Ask::Select { ticket, mailbox: name, read_only });
    }

    pub(super) fn handle_selected(
        &mut self,
        selecting: Selecting,
        answer: Result<Selected, Refusal>,
        tx: &mut SendQueue,
    ) {
        let selected = match answer {
            Ok(selected) => selected,
            Err(refusal) => return self.end_refused(&refusal, tx),
        };
        let read_only = selecting.read_only || selected.read_only;
        let (first_unseen, uid_validity, uid_next) =
            (selected.first_unseen, selected.uid_validity, selected.uid_next);
        let guid = selected.guid;
        let mut mailbox = Mailbox {
            id: selected.selection,
            name: selecting.name,
            uid_validity,
            view: selected.view,
            recent: selected.recent,
            enabled: self.enabled,
            modseq: selected.modseq,
            keywords: selected.keywords,
            read_only,
            changed: false,
            untold: UidSet::new(),
            saved: UidSet::new(),
            to_fetch: UidSet::new(),
            contexts: Vec::new(),
        };
        mailbox.enable(self.enabled);
        mailbox.tell_flag_names(tx);
        tx.write_with(|out| write_message_data(out, mailbox.view.len(), "EXISTS"));
        mailbox.tell_recent(tx);
        tx.write_with(|out| {
            let first_unseen = first_unseen.filter(|_| !self.enabled.rev2 && !self.enabled.uid_only);
            if let Some(number) = first_unseen.and_then(|uid| mailbox.view.sequence_of(uid)) {
                write_untagged(out, Status::Ok, Some(&Code::Unseen(number)), "First unseen");
            }
            write_untagged(out, Status::Ok, Some(&Code::UidValidity(uid_validity)), "UIDs are valid");
            write_untagged(out, Status::Ok, Some(&Code::UidNext(uid_next)), "Next UID");
        });
        if !self.hides("CONDSTORE") {
            mailbox.tell_highest_modseq(tx);
        }
        tx.write_with(|out| {
            if let Some(guid) = &guid {
                write_untagged(out, Status::Ok, Some(&Code::MailboxId(guid)), "The mailbox's id");
            }
        });
        self.tell_name(&selecting.sent, &mailbox.name, true, tx);
        // RFC 7162 §3.2.5.1: of another mailbox under the same name the client knows nothing.
        let resync = selecting.resync.filter(|resync| resync.uid_validity == uid_validity);
        let resync = resync.filter(|_| mailbox.modseq.is_some());
        self.mailbox = Some(mailbox);
        let (code, text) = match (read_only, selecting.read_only) {
            (true, true) => (Code::ReadOnly, "Examine completed"),
            (true, false) => (Code::ReadOnly, "Select completed, for reading only"),
            (false, _) => (Code::ReadWrite, "Select completed"),
        };
        let end = SelectEnd { code, text };
        match resync {
            Some(resync) => self.start_resync(&resync, end),
            None => self.end_select(&end, tx),
        }
    }

    pub(super) fn end_select(&mut self, end: &SelectEnd, tx: &mut SendQueue) {
        self.end(Status::Ok, Some(&end.code), end.text, tx);
    }

    /// Leaves the mailbox, if one is selected.
    pub(super) fn leave_mailbox(&mut self) {
        if let Some(mailbox) = self.mailbox.take() {
            self.push_ask(Ask::Unselect { selection: mailbox.id });
        }
    }

    /// RFC 9051 §6.4.1: expunges without telling, then leaves.
    pub(super) fn start_close(&mut self, tx: &mut SendQueue) {
        match self.mailbox.as_ref() {
            Some(mailbox) if !mailbox.read_only => {
                let selection = mailbox.id;
                self.ask(Then::Close, |ticket| Ask::Expunge { ticket, selection, uids: None });
            }
            Some(_) | None => self.start_unselect(tx),
        }
    }

    pub(super) fn handle_closed(&mut self, answer: Result<(), Refusal>, tx: &mut SendQueue) {
        // The mailbox is left in any case: a client that says CLOSE believes so.
        self.leave_mailbox();
        match answer {
            Ok(()) => self.end(Status::Ok, None, "Close completed", tx),
            Err(refusal) => self.end_refused(&refusal, tx),
        }
    }

    pub(super) fn start_unselect(&mut self, tx: &mut SendQueue) {
        self.leave_mailbox();
        self.end(Status::Ok, None, "The mailbox is not selected any more", tx);
    }

    /// EXPUNGE, or UID EXPUNGE with its set.
    pub(super) fn start_expunge(&mut self, uids: Option<&SequenceSet>, tx: &mut SendQueue) {
        let Some(mailbox) = self.mailbox.as_ref() else { return };
        if mailbox.read_only {
            return self.end(Status::No, Some(&Code::NoPerm), NOT_WRITABLE, tx);
        }
        let selection = mailbox.id;
        let uids = uids.map(|set| mailbox.uids_of_uid_set(set));
        if uids.as_ref().is_some_and(UidSet::is_empty) {
            return self.end(Status::Ok, None, "There was nothing to do", tx);
        }
        self.ask(Then::Expunge, |ticket| Ask::Expunge { ticket, selection, uids });
    }

    /// What went is told by the changes that `end` asks for.
    pub(super) fn handle_expunged(&mut self, answer: Result<(), Refusal>, tx: &mut SendQueue) {
        match answer {
            Ok(()) => self.end_expunge("Expunge completed", tx),
            Err(refusal) => self.end_refused(&refusal, tx),
        }
    }

    /// The command has to do with sequence numbers; `None`, and the BAD of a client that has given them up.
    pub(super) fn use_numbers(&mut self, tx: &mut SendQueue) -> Option<()> {
        if self.enabled.uid_only {
            // RFC 9586 §3
            self.end(Status::Bad, Some(&Code::UidRequired), "There are only UIDs after ENABLE UIDONLY", tx);
            return None;
        }
        Some(())
    }

    /// The client's list of messages as UIDs, or the BAD of a sequence number that does not exist.
    pub(super) fn named_uids(&mut self, set: &SequenceSet, uid: bool, tx: &mut SendQueue) -> Option<UidSet> {
        if uid {
            return Some(self.mailbox.as_ref()?.uids_of_uid_set(set));
        }
        self.use_numbers(tx)?;
        let mailbox = self.mailbox.as_ref()?;
        // RFC 9051 §9, seq-number: above EXISTS is the client's error. With `*` in the set it is not: `1:*` is
        // what clients say of a mailbox they have just seen empty.
        if !set.has_star() && set.largest_number().is_some_and(|largest| largest > mailbox.view.len()) {
            self.end(Status::Bad, None, "There is no message with such a sequence number", tx);
            return None;
        }
        Some(mailbox.uids_of_sequence_set(set))
    }
}

impl Mailbox {
    /// RFC 9051 has no \Recent: no message is.
    pub(super) fn enable(&mut self, enabled: Enabled) {
        self.enabled = enabled;
        if enabled.rev2 {
            let recent = core::mem::take(&mut self.recent);
            self.doubt_flags(recent.iter());
        }
        if enabled.uid_only {
            self.tell_contexts_by_uid();
        }
    }

    /// RECENT (RFC 3501 §7.3.2).
    pub(super) fn tell_recent(&self, tx: &mut SendQueue) {
        if !self.enabled.rev2 {
            let recent = u32::try_from(self.recent.count()).unwrap_or(u32::MAX);
            tx.write_with(|out| write_message_data(out, recent, "RECENT"));
        }
    }

    /// FLAGS and PERMANENTFLAGS, RFC 9051 §7.3.5, §7.1.
    fn tell_flag_names(&self, tx: &mut SendQueue) {
        let shown = || self.keywords.iter().filter(|word| !word.is_empty());
        tx.write_with(|out| {
            out.extend_from_slice(b"* FLAGS (");
            for (index, flag) in SystemFlag::ALL.into_iter().enumerate() {
                out.extend_from_slice(if index > 0 { b" " } else { b"" });
                out.extend_from_slice(flag.name().as_bytes());
            }
            for word in shown() {
                out.push(b' ');
                out.extend_from_slice(word.as_bytes());
            }
            out.extend_from_slice(b")\r\n");
            let keywords: Vec<String> = shown().cloned().collect();
            let code = match self.read_only {
                true => Code::PermanentFlags { system: &[], keywords: &[], more: false },
                false => Code::PermanentFlags {
                    system: &SystemFlag::ALL,
                    keywords: &keywords,
                    more: has_room(&self.keywords),
                },
            };
            let text = if self.read_only { "No flag can be changed" } else { "Flags that are kept" };
            write_untagged(out, Status::Ok, Some(&code), text);
        });
    }

    /// Takes a new keyword table; the names come before the first message that has one.
    pub(super) fn tell_keywords(&mut self, keywords: Arc<Vec<String>>, tx: &mut SendQueue) {
        if *self.keywords != *keywords {
            self.keywords = keywords;
            self.tell_flag_names(tx);
        }
    }

    /// The UIDs of these that the client knows.
    pub(super) fn known_uids(&self, set: &UidSet) -> UidSet {
        let mut known = UidSet::new();
        for range in set.ranges() {
            if range.count() <= SMALL_RANGE {
                let there = |uid: &u32| self.view.sequence_of(*uid).is_some();
                (range.first..=range.last).filter(there).for_each(|uid| known.push(uid));
            } else {
                self.view.uid_range(range.first, range.last).for_each(|uid| known.push(uid));
            }
        }
        known
    }

    /// The sequence numbers of these.
    pub(super) fn numbers_of(&self, uids: &UidSet) -> UidSet {
        uids.iter().filter_map(|uid| self.view.sequence_of(uid)).collect()
    }

    fn uids_of_uid_set(&self, set: &SequenceSet) -> UidSet {
        if set.is_saved() {
            return self.known_uids(&self.saved);
        }
        self.known_uids(&set.resolve(self.view.last().unwrap_or(0)))
    }

    fn uids_of_sequence_set(&self, set: &SequenceSet) -> UidSet {
        if set.is_saved() {
            return self.known_uids(&self.saved);
        }
        let mut uids = UidSet::new();
        for range in set.resolve(self.view.len()).ranges() {
            if range.count() <= SMALL_RANGE {
                let numbers = range.first..=range.last;
                numbers.filter_map(|number| self.view.uid_at(number)).for_each(|uid| uids.push(uid));
            } else {
                self.view.range(range.first, range.last).for_each(|uid| uids.push(uid));
            }
        }
        uids
    }

    /// The same for a search key: a range of sequence numbers is one range of UIDs, since only the UIDs of the
    /// view are searched. So a key costs what the client wrote, however the UIDs lie.
    pub(super) fn uid_ranges_of_sequence_set(&self, set: &SequenceSet) -> UidSet {
        let numbers = set.resolve(self.view.len());
        let ends = |range: &NumberRange| {
            Some(NumberRange { first: self.view.uid_at(range.first)?, last: self.view.uid_at(range.last)? })
        };
        numbers.ranges().iter().filter_map(ends).collect()
    }

    /// All the client knows.
    pub(super) fn all_uids(&self) -> UidSet {
        self.view.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mailbox(uids: &[u32]) -> Mailbox {
        Mailbox {
            id: SelectionId(1),
            name: Vec::new(),
            uid_validity: 1,
            view: uids.iter().copied().collect(),
            recent: UidSet::new(),
            enabled: Enabled::default(),
            modseq: None,
            keywords: Arc::default(),
            read_only: false,
            changed: false,
            untold: UidSet::new(),
            saved: UidSet::new(),
            to_fetch: UidSet::new(),
            contexts: Vec::new(),
        }
    }

    proptest! {
        /// Small ranges and large ones name the same messages as one number after the other does.
        #[test]
        fn sets_name_what_is_there(
            uids in proptest::collection::btree_set(1u32..300, 0..200),
            ranges in proptest::collection::vec((1u32..320, 1u32..320), 1..6),
        ) {
            let uids: Vec<u32> = uids.into_iter().collect();
            let set: UidSet = ranges.iter().map(|(a, b)| NumberRange::between(*a, *b)).collect();
            let mailbox = mailbox(&uids);
            let set = SequenceSet::from(set);
            let by_uid: UidSet = uids.iter().copied().filter(|uid| set.contains(*uid, u32::MAX)).collect();
            prop_assert_eq!(mailbox.uids_of_uid_set(&set), by_uid);
            let numbered = (1u32..).zip(&uids).filter(|(number, _)| set.contains(*number, u32::MAX));
            let by_number: UidSet = numbered.map(|(_, uid)| *uid).collect();
            prop_assert_eq!(&mailbox.uids_of_sequence_set(&set), &by_number);
            // A search key may name UIDs between those of the view, but none of the view that is not meant.
            let ranges = mailbox.uid_ranges_of_sequence_set(&set);
            prop_assert_eq!(ranges.intersect(&mailbox.all_uids()), by_number);
        }
    }
}
