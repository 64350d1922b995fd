//! NOTIFY (RFC 5465): a client is told without asking, and of other mailboxes than the selected one, too.
//!
//! Of the selected mailbox the session knows itself what is to be told and when ([`Session::hears_changes`]); what is not
//! told stays in the change log, so the sequence numbers stay as the client knows them. What happens elsewhere the office
//! gathers: [`Notice::News`](super::Notice::News) says that there is something, [`Ask::News`] brings it between two
//! commands or in IDLE.

use super::changes::After;
use super::fetch::Fetching;
use super::list::Details;
use super::session::{Session, State, Then};
use super::status::write_status;
use super::{Ask, News, Refusal};
use crate::imap::command::StatusItem;
use crate::imap::fetch::FetchItem;
use crate::imap::notify::{Events, Notify, Source};
use crate::imap::response::{self, Code, write_astring, write_untagged};
use crate::send_queue::SendQueue;
use alloc::vec::Vec;

/// The events that are told, for who asks for another.
const EVENTS: &[&str] = &[
    "MessageNew",
    "MessageExpunge",
    "FlagChange",
    "MailboxName",
    "SubscriptionChange",
    "MailboxMetadataChange",
    "ServerMetadataChange",
];

/// What a client that has said NOTIFY is told.
#[derive(Debug, Default)]
pub(super) struct Notifying {
    /// Of the selected mailbox; `None`: nothing.
    selected: Option<OfSelected>,
}

#[derive(Debug)]
struct OfSelected {
    /// EXPUNGE is told between commands, too.
    at_once: bool,
    flags: bool,
    /// What to fetch of new messages.
    fetch: Vec<FetchItem>,
}

/// NOTIFY SET while its answer is on its way.
#[derive(Debug)]
pub(super) struct NotifySet {
    notifying: Notifying,
    status: bool,
}

/// Where a session is while it waits for the client, and where it goes on when it has told something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Command,
    Idle,
}

impl Rest {
    pub(super) fn state(self) -> State {
        match self {
            Rest::Command => State::Command,
            Rest::Idle => State::Idle,
        }
    }
}

impl Session {
    pub(super) fn start_notify(&mut self, notify: Notify, tx: &mut SendQueue) {
        if notify.unknown_event {
            let code = Code::BadEvent(EVENTS);
            return self.end(response::Status::No, Some(&code), "Such an event is not told", tx);
        }
        let (mut notifying, mut others) = (Notifying::default(), Vec::new());
        for group in notify.groups {
            match group.source {
                Source::Selected | Source::SelectedDelayed if group.events == Events::NONE => {}
                Source::Selected | Source::SelectedDelayed => {
                    let at_once = group.source == Source::Selected;
                    let (flags, fetch) = (group.events.flags, group.fetch);
                    notifying.selected = Some(OfSelected { at_once, flags, fetch });
                }
                Source::Others(filter) => {
                    let Some(filter) = filter.try_map(|name| self.checked_name(&name, tx)) else { return };
                    others.push((filter, group.events));
                }
            }
        }
        if others.is_empty() {
            self.push_ask(Ask::Unfollow);
            (self.notify, self.news) = (Some(notifying), false);
            return self.end(response::Status::Ok, None, "Notify completed", tx);
        }
        if others.iter().any(|(_, events)| events.flags) {
            // RFC 5465 §5.3: flags of other mailboxes are told by their mod-sequences.
            self.enable_condstore(tx);
        }
        let mailboxes_max = self.setup.limits.imap_notify_mailboxes_max;
        let set = NotifySet { notifying, status: notify.status };
        self.ask(Then::Follow(set), |ticket| Ask::Follow { ticket, groups: others, mailboxes_max });
    }

    /// RFC 5465 §3.1: with STATUS, how the mailboxes are comes before the OK.
    pub(super) fn handle_followed(
        &mut self,
        set: NotifySet,
        answer: Result<Vec<Vec<u8>>, Refusal>,
        tx: &mut SendQueue,
    ) {
        const DONE: &str = "Notify completed";
        let names = match answer {
            Ok(names) => names,
            Err(refusal) => return self.end_refused(&refusal, tx),
        };
        self.notify = Some(set.notifying);
        if !set.status {
            return self.end(response::Status::Ok, None, DONE, tx);
        }
        let selected = self.mailbox.as_ref().map(|mailbox| &mailbox.name);
        let (names, spelling) = (names.iter().filter(|name| Some(*name) != selected), self.spelling());
        let names = names.map(|name| spelling.shown(name).into_owned()).collect();
        let items = self.status_told();
        self.tell_details(Details { names, items, entries: Vec::new(), done: DONE }, tx);
    }

    /// What is told of mailboxes with other messages or flags than before (RFC 5465 §5.1–§5.3).
    fn status_told(&self) -> Vec<StatusItem> {
        use StatusItem::{HighestModSeq, Messages, UidNext, UidValidity, Unseen};
        let modseq = self.enabled.condstore.then_some(HighestModSeq);
        [Messages, UidNext, UidValidity, Unseen].into_iter().chain(modseq).collect()
    }

    /// Whether the client is told what others do to the selected mailbox. What its own command has taken away is told in
    /// any case, with all that lies before it.
    pub(super) fn hears_changes(&self) -> bool {
        self.command.removes || self.notify.as_ref().is_none_or(|notifying| notifying.selected.is_some())
    }

    /// Whether changes that come now are told without those of flags.
    pub(super) fn hides_flags(&self) -> bool {
        let selected = self.notify.as_ref().and_then(|notifying| notifying.selected.as_ref());
        selected.is_some_and(|selected| !selected.flags)
    }

    /// Whether EXPUNGE may be told at this point.
    pub(super) fn hides_expunges(&self, after: &After) -> bool {
        match after {
            After::Rest(Rest::Command) => !self.tells_expunges_at_once(),
            After::Rest(Rest::Idle) | After::Reply(_) | After::Expunged(_) => self.command.hides_expunges,
        }
    }

    fn tells_expunges_at_once(&self) -> bool {
        let selected = self.notify.as_ref().and_then(|notifying| notifying.selected.as_ref());
        selected.is_some_and(|selected| selected.at_once)
    }

    /// [`Notice::News`](super::Notice::News)
    pub(super) fn handle_news_notice(&mut self, tx: &mut SendQueue) {
        self.news = self.notify.is_some();
        self.go_on_resting(tx);
    }

    /// Something has happened: it is told now if the session waits for its client; else at the end of the command in
    /// progress.
    pub(super) fn go_on_resting(&mut self, tx: &mut SendQueue) {
        match &self.state {
            State::Idle => self.rest(Rest::Idle, tx),
            State::Command if self.notify.is_some() => self.rest(Rest::Command, tx),
            State::Command
            | State::Sasl(_)
            | State::Fetch(_)
            | State::List(_)
            | State::Search(_)
            | State::Message(_)
            | State::Waiting(_)
            | State::Handshake
            | State::Closed => {}
        }
    }

    /// Waits for the client, when all that may be told now is told.
    pub(super) fn rest(&mut self, rest: Rest, tx: &mut SendQueue) {
        self.state = rest.state();
        if self.end_if_ending(tx) {
            return;
        }
        if self.wants_changes() {
            return self.ask_changes(After::Rest(rest));
        }
        if rest == Rest::Idle || self.tells_expunges_at_once() {
            self.tell_untold(tx);
        }
        if let Some(fetching) = self.new_messages(rest) {
            self.ask_page(fetching);
        } else if self.wants_updates() {
            self.ask_update(After::Rest(rest));
        } else if core::mem::take(&mut self.news) {
            self.ask(Then::News(rest), |ticket| Ask::News { ticket });
        }
    }

    /// Messages have come: of what is to be fetched of them (RFC 5465 §5.1).
    pub(super) fn note_new_messages(&mut self, uids: &[u32]) {
        let selected = self.notify.as_ref().and_then(|notifying| notifying.selected.as_ref());
        if selected.is_some_and(|selected| !selected.fetch.is_empty())
            && let Some(mailbox) = self.mailbox.as_mut()
        {
            uids.iter().for_each(|uid| mailbox.to_fetch.push(*uid));
        }
    }

    /// Whether something of new messages is to be fetched before anything else is told of them.
    pub(super) fn has_new_messages(&self) -> bool {
        let hears = self.notify.as_ref().is_some_and(|notifying| notifying.selected.is_some());
        hears && self.mailbox.as_ref().is_some_and(|mailbox| !mailbox.to_fetch.is_empty())
    }

    fn new_messages(&mut self, rest: Rest) -> Option<Fetching> {
        let selected = self.notify.as_ref()?.selected.as_ref()?;
        let mailbox = self.mailbox.as_mut().filter(|mailbox| !mailbox.to_fetch.is_empty())?;
        let uids = core::mem::take(&mut mailbox.to_fetch);
        let request = mailbox.request_unasked(&selected.fetch);
        Some(Fetching::of_news(uids, request, rest))
    }

    pub(super) fn handle_news(&mut self, rest: Rest, news: &News, tx: &mut SendQueue) {
        let spelling = self.spelling();
        for folder in &news.folders {
            self.tell_folder(&folder.folder, folder.old_name.as_deref(), tx);
        }
        for (mailbox, entries) in &news.annotations {
            tx.write_with(|out| {
                out.extend_from_slice(b"* METADATA ");
                match mailbox {
                    Some(name) => spelling.write(out, &spelling.shown(name)),
                    None => out.extend_from_slice(b"\"\""),
                }
                for entry in entries {
                    out.push(b' ');
                    write_astring(out, entry.as_bytes());
                }
                out.extend_from_slice(b"\r\n");
            });
        }
        let (items, limit) = (self.status_told(), self.setup.limits.message_bytes_max);
        for (name, status) in &news.statuses {
            let name = spelling.shown(name);
            tx.write_with(|out| write_status(out, spelling, &name, &items, status, limit));
        }
        if news.overflow {
            // RFC 5465 §5.8: as after NOTIFY NONE.
            self.notify = Some(Notifying::default());
            let text = "There is too much to tell, from now on nothing is";
            tx.write_with(|out| {
                write_untagged(out, response::Status::Ok, Some(&Code::NotificationOverflow), text);
            });
        }
        self.rest(rest, tx);
    }

    /// The client is told nothing any more because it is nobody's.
    pub(super) fn stop_notifying(&mut self) {
        if self.notify.take().is_some() {
            self.news = false;
            self.push_ask(Ask::Unfollow);
        }
    }
}
