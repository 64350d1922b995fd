//! The session itself: its states, the pump, the ends of commands, the timers.
//!
//! A command is found by the scanner in the caller's receive buffer, parsed in place and consumed at once; what
//! it needs later is owned. Only one command is in progress at a time. While an ask is out nothing is taken from
//! the buffer, so pipelined commands wait there and their replies come in order.
//!
//! What a command group does is in the file of its name. Each has functions `start_*` (the command has come) and
//! `handle_*` (the answer has come), which lead to [`Session::ask`] or to [`Session::end`].
//!
//! It will not: look at a mailbox, know a path, hold a message, or answer two commands at once.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::append::Message;
use super::capability::{self, Moment};
use super::changes::After;
use super::compress::Unpacking;
use super::context::Updating;
use super::copy::Copying;
use super::enable::Enabled;
use super::fetch::Fetching;
use super::folder::FolderDone;
use super::list::{Details, Lister, Listing};
use super::metadata::MetadataWanted;
use super::multisearch::Multisearching;
use super::notify::{NotifySet, Notifying, Rest};
use super::quota::QuotaAsked;
use super::reply::of_refusal;
use super::search::{Found, Searching};
use super::select::{Mailbox, Selecting};
use super::sort::Threading;
use super::status::StatusOf;
use super::store::Storing;
use super::{Answer, Ask, Notice, Refusal, Setup, append, idle, login, sasl};
use crate::auth::sasl::Exchange;
use crate::auth::scram::ClientFirst;
use crate::event::Event;
use crate::imap::command::tag_of;
use crate::imap::response::{Code, Status, write_continuation, write_tagged, write_untagged};
use crate::imap::scanner::{CommandScanner, Refusal as ScanRefusal, Scan, ScanLimits};
use crate::machine::{Action, CloseReason, Input, Instant, Machine, Now, Step, StepOf, TimerKind};
use crate::send_queue::SendQueue;
use crate::site::Account;
use crate::ticket::{Ticket, TicketId, TicketSource};

/// One client's connection, from the greeting to BYE.
#[derive(Debug)]
pub struct Session {
    pub(super) setup: Setup,
    pub(super) scanner: CommandScanner,
    pub(super) state: State,
    pub(super) command: Running,
    pub(super) account: Option<Arc<Account>>,
    pub(super) enabled: Enabled,
    /// What the client calls itself, if something is hidden from one of that name.
    pub(super) client: Option<String>,
    pub(super) mailbox: Option<Mailbox>,
    /// SELECTs whose answers may still come, though nobody waits for them any more.
    pub(super) lost_selects: Vec<TicketId>,
    /// What NOTIFY has said, if it has been said.
    pub(super) notify: Option<Notifying>,
    /// There is something new of other mailboxes to ask for.
    pub(super) news: bool,
    pub(super) failed_logins: usize,
    pub(super) tls: bool,
    /// Errors without a good command in between.
    errors: usize,
    /// What BYE is to say as soon as the command in progress is done.
    ending: Option<&'static str>,
    /// The client will send nothing more.
    eof: bool,
    /// COMPRESS is on.
    pub(super) compressed: bool,
    /// What has come packed and is unpacked; not there while a step is made of it.
    pub(super) unpacking: Option<Unpacking>,
    /// There are octets to be unpacked yet.
    pub(super) more_to_unpack: bool,
    tickets: TicketSource,
    /// What is to be done, in order, before anything else is looked at.
    actions: VecDeque<Action<'static, Ask, Event>>,
    now: Now,
    /// The client must have done something by then.
    idle_until: Instant,
    /// What was unsent when `idle_until` was set: a client that reads is not idle.
    unsent: u64,
}

#[derive(Debug)]
pub(super) enum State {
    /// Between commands, or in the middle of one that has not come whole.
    Command,
    /// AUTHENTICATE waits for the client's response.
    Sasl(Exchange),
    /// An ask is out.
    Waiting(Waiting),
    /// FETCH goes on when the send queue has room.
    Fetch(Fetching),
    /// LIST goes on when the send queue has room.
    List(Lister),
    /// ESEARCH goes on when the send queue has room.
    Search(Multisearching),
    /// The message of an APPEND is coming.
    Message(Message),
    /// IDLE: changes are told as they come, until DONE.
    Idle,
    /// STARTTLS was answered; the handshake is on.
    Handshake,
    /// Nothing more is said or heard.
    Closed,
}

/// An ask that is out.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: TicketId,
    until: Instant,
    /// The client is told by then that its command goes on.
    progress: Instant,
    pub(super) then: Then,
}

/// What goes on when the answer is there.
#[derive(Debug)]
pub(super) enum Then {
    /// Of SCRAM.
    Verifier(Box<ClientFirst>),
    Login(login::LoggingIn),
    Select(Selecting),
    Changes(After),
    List(Listing),
    StatusDetail(Details),
    MetadataDetail(Details),
    Status(StatusOf),
    Quota(QuotaAsked),
    /// The new mailbox's name: as the client has written it, and as it is stored.
    Create((Vec<u8>, Vec<u8>)),
    Folder(FolderDone),
    Metadata(MetadataWanted),
    SetMetadata,
    Follow(NotifySet),
    /// Of other mailboxes.
    News(Rest),
    Append(Box<append::Appending>),
    AppendCommit(append::Committing),
    Replaced,
    Fetch(Fetching),
    /// FETCH or SELECT that tells first what has gone.
    Vanished(Fetching),
    Store(Storing),
    Copy(Copying),
    Expunge,
    Close,
    Search(Searching),
    /// A search that is kept up.
    Update(Updating),
    Sort(Searching),
    /// ESEARCH asks which mailboxes there are.
    MultisearchList(Multisearching),
    Multisearch(Multisearching),
    /// SEARCH or SORT that has found something, but for its mod-sequence.
    ModSeq(Searching, Found),
    Thread(Threading),
}

impl Then {
    /// Whether no command is in progress: the session asks for what it tells of its own accord.
    fn rests(&self) -> bool {
        matches!(self, Then::Changes(After::Rest(_)) | Then::News(_))
            || matches!(self, Then::Update(updating) if updating.after().rests())
            || matches!(self, Then::Fetch(fetching) if fetching.rests())
    }

    /// Whether the answer is a matter of the disk, which may stall.
    fn touches_disk(&self) -> bool {
        match self {
            Then::Verifier(_) | Then::Login(_) => false,
            Then::Select(_)
            | Then::Changes(_)
            | Then::List(_)
            | Then::StatusDetail(_)
            | Then::MetadataDetail(_)
            | Then::Status(_)
            | Then::Quota(_)
            | Then::Create(_)
            | Then::Folder(_)
            | Then::Metadata(_)
            | Then::SetMetadata
            | Then::Follow(_)
            | Then::News(_)
            | Then::Append(_)
            | Then::AppendCommit(_)
            | Then::Replaced
            | Then::Fetch(_)
            | Then::Vanished(_)
            | Then::Store(_)
            | Then::Copy(_)
            | Then::Expunge
            | Then::Close
            | Then::Search(_)
            | Then::Update(_)
            | Then::Sort(_)
            | Then::MultisearchList(_)
            | Then::Multisearch(_)
            | Then::ModSeq(..)
            | Then::Thread(_) => true,
        }
    }
}

/// The command in progress.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// The client's name for it.
    pub(super) tag: Vec<u8>,
    /// FETCH, STORE, SEARCH by sequence number: no EXPUNGE may be told (RFC 9051 §7.5.1).
    pub(super) hides_expunges: bool,
    /// NOOP, CHECK: changes are looked for on disk.
    pub(super) rescan: bool,
    /// It has taken messages away.
    pub(super) removes: bool,
}

impl Running {
    /// Another command begins, or none is in progress; the tag stays.
    fn forget(&mut self) {
        *self = Running { tag: core::mem::take(&mut self.tag), ..Running::default() };
    }
}

impl Session {
    /// A session at its greeting, which is written to `tx`.
    pub fn new(setup: Setup, now: Now, tx: &mut SendQueue) -> Self {
        let session = Session {
            tls: setup.tls.is_some(),
            idle_until: now.instant.plus(setup.limits.imap_login),
            setup,
            scanner: CommandScanner::new(),
            state: State::Command,
            command: Running::default(),
            account: None,
            enabled: Enabled::default(),
            client: None,
            mailbox: None,
            lost_selects: Vec::new(),
            notify: None,
            news: false,
            failed_logins: 0,
            errors: 0,
            ending: None,
            eof: false,
            compressed: false,
            unpacking: None,
            more_to_unpack: false,
            tickets: TicketSource::default(),
            actions: VecDeque::new(),
            now,
            unsent: 0,
        };
        let (list, text) = (session.capabilities(), format!("{} ready", session.setup.hostname));
        tx.write_with(|out| write_untagged(out, Status::Ok, Some(&Code::Capability(&list)), &text));
        session
    }

    /// What is offered now, separated by spaces.
    pub(super) fn capabilities(&self) -> String {
        capability::list(self.moment(), |name| self.hides(name))
    }

    /// Whether a capability is offered now.
    pub(super) fn offers(&self, name: &str) -> bool {
        !self.hides(name) && capability::shown(self.moment()).any(|shown| shown == name)
    }

    fn moment(&self) -> Moment {
        Moment {
            logged_in: self.account.is_some(),
            starttls: self.setup.starttls && !self.tls,
            offered: self.offered(),
            append_limit: self.setup.limits.message_bytes_max,
        }
    }
}

impl Machine for Session {
    type Ask = Ask;
    type Answer = Answer;
    type Notice = Notice;
    type Event = Event;

    fn handle_input<'i>(
        &mut self,
        now: Now,
        input: Input<'i, Answer, Notice>,
        tx: &mut SendQueue,
    ) -> Option<StepOf<'i, Self>> {
        self.now = now;
        match input {
            Input::Bytes(rx) => return self.pump(rx, tx),
            Input::Answer(answer) => self.handle_answer(answer, tx),
            Input::Notice(Notice::Changed) => self.handle_changed(tx),
            Input::Notice(Notice::News) => self.handle_news_notice(tx),
            Input::Notice(Notice::Shutdown) => self.handle_ending("The server is shutting down", tx),
            Input::Notice(Notice::AccountGone) => self.handle_ending("The account was removed", tx),
            Input::TlsStarted(info) => self.handle_tls_started(info),
            Input::Timeout => self.handle_timeout(tx),
            Input::Eof => self.eof = true,
        }
        self.actions.pop_front().map(|action| Step { consumed: 0, action: Some(action) })
    }

    fn poll_timeout(&self) -> Option<(Instant, TimerKind)> {
        match &self.state {
            State::Waiting(waiting) => Some((waiting.until.min(waiting.progress), TimerKind::Answer)),
            State::Closed => None,
            State::Command
            | State::Sasl(_)
            | State::Fetch(_)
            | State::List(_)
            | State::Search(_)
            | State::Message(_)
            | State::Idle
            | State::Handshake => Some((self.idle_until, TimerKind::Idle)),
        }
    }

    fn wants_bytes(&self) -> bool {
        !matches!(self.state, State::Closed)
    }
}

/// The pump.
impl Session {
    fn pump<'i>(&mut self, rx: &'i [u8], tx: &mut SendQueue) -> Option<StepOf<'i, Self>> {
        match self.unpacking {
            Some(_) if !matches!(self.state, State::Closed) => self.pump_packed(rx, tx),
            Some(_) | None => self.pump_plain(rx, tx),
        }
    }

    pub(super) fn pump_plain<'i>(&mut self, rx: &'i [u8], tx: &mut SendQueue) -> Option<StepOf<'i, Self>> {
        if let Some(action) = self.actions.pop_front() {
            return Some(Step { consumed: 0, action: Some(action) });
        }
        if tx.is_above_high_water() && !matches!(self.state, State::Closed) {
            return None;
        }
        match self.state {
            State::Command => self.pump_command(rx, tx),
            State::Sasl(_) => sasl::pump_response(self, rx, tx),
            State::Message(_) => append::pump_message(self, rx, tx),
            State::Idle => idle::pump(self, rx, tx),
            State::Fetch(_) => self.resume_fetch(),
            State::List(_) => self.resume_list(tx),
            State::Search(_) => self.resume_multisearch(tx),
            State::Waiting(_) => None,
            State::Handshake => login::pump_handshake(self, rx),
            State::Closed => (!rx.is_empty()).then(|| Step::consumed(rx.len())),
        }
    }

    /// A step that consumed so many octets, with the first action they led to.
    pub(super) fn step(&mut self, consumed: usize) -> Option<StepOf<'static, Self>> {
        self.keep_alive();
        Some(Step { consumed, action: self.actions.pop_front() })
    }

    fn pump_command<'i>(&mut self, rx: &'i [u8], tx: &mut SendQueue) -> Option<StepOf<'i, Self>> {
        if let Some(what) = login::foreign_protocol(self, rx) {
            self.abuse(what, tx);
            return self.step(0);
        }
        let limits = self.scan_limits();
        match self.scanner.scan(rx, &limits) {
            Scan::Incomplete => self.starve(),
            Scan::Continue => {
                tx.write_with(|out| write_continuation(out, "OK"));
                self.step(0)
            }
            Scan::Complete { len } => {
                let line = rx.get(..len).unwrap_or_default();
                self.start_command(line, rx.len() > len, None, tx);
                self.step(len)
            }
            Scan::Append { head_len, size, sync } => {
                let head = rx.get(..head_len).unwrap_or_default();
                self.start_command(head, false, Some((size, sync)), tx);
                self.step(head_len)
            }
            Scan::Refused { len, why } => {
                let start = rx.get(..len).unwrap_or_default();
                self.refuse_scanned(start, why, tx);
                self.step(len)
            }
            Scan::Skipped { len } => self.step(len),
        }
    }

    pub(super) fn scan_limits(&self) -> ScanLimits {
        let command_bytes = match self.account {
            Some(_) => self.setup.limits.imap_command_bytes_max,
            None => self.setup.limits.imap_greeting_bytes_max,
        };
        ScanLimits { command_bytes, literal_bytes: command_bytes as u64 }
    }

    /// Nothing more can be done with what has come. After the end of the input that is the end.
    pub(super) fn starve(&mut self) -> Option<StepOf<'static, Self>> {
        if !self.eof || self.more_to_unpack {
            return None;
        }
        self.close(CloseReason::PeerClosed);
        self.step(0)
    }

    /// A literal that the client sends unasked and that is not worth being swallowed: somebody who has not logged in,
    /// or a number nobody means.
    pub(super) fn is_endless(&self, size: u64) -> bool {
        size == u64::MAX || (self.account.is_none() && size > self.scan_limits().literal_bytes)
    }

    /// A command too long to be looked at.
    pub(super) fn refuse_scanned(&mut self, start: &[u8], why: ScanRefusal, tx: &mut SendQueue) {
        self.begin(start);
        match why {
            ScanRefusal::CommandTooLong => {
                self.end(Status::Bad, Some(&Code::Limit), "The command is too long", tx);
            }
            ScanRefusal::LiteralTooLarge { size, sync: false } if self.is_endless(size) => {
                self.abuse("a huge literal that cannot be stopped", tx);
            }
            ScanRefusal::LiteralTooLarge { .. } => {
                self.end(Status::Bad, Some(&Code::Limit), "The literal is too long", tx);
            }
        }
    }
}

/// Beginning and end of commands.
impl Session {
    /// Takes the tag of a command; `*` for one that has none, which makes its BAD untagged.
    pub(super) fn begin(&mut self, line: &[u8]) {
        let tag = tag_of(line).unwrap_or(b"*");
        self.command.tag.clear();
        self.command.tag.extend_from_slice(tag);
        self.command.forget();
    }

    /// Asks and waits.
    pub(super) fn ask<V>(&mut self, then: Then, ask: impl FnOnce(Ticket<V>) -> Ask) {
        let limits = &self.setup.limits;
        let patience = if then.touches_disk() { limits.commit } else { limits.answer };
        let ticket = self.tickets.issue();
        let (id, until) = (ticket.id(), self.now.instant.plus(patience));
        let progress = self.now.instant.plus(limits.imap_progress);
        self.state = State::Waiting(Waiting { id, until, progress, then });
        self.push_ask(ask(ticket));
    }

    pub(super) fn push_ask(&mut self, ask: Ask) {
        self.actions.push_back(Action::Ask(ask));
    }

    pub(super) fn push_event(&mut self, event: Event) {
        self.actions.push_back(Action::Event(event));
    }

    pub(super) fn push_cancel(&mut self, id: TicketId) {
        self.actions.push_back(Action::Cancel(id));
    }

    pub(super) fn push_start_tls(&mut self) {
        self.actions.push_back(Action::StartTls);
    }

    /// Ends the command in progress: changes first if there are any, then the tagged reply.
    pub(super) fn end(&mut self, status: Status, code: Option<&Code<'_>>, text: &str, tx: &mut SendQueue) {
        match status {
            Status::Bad => self.errors += 1,
            Status::Ok | Status::No | Status::Bye | Status::PreAuth => self.errors = 0,
        }
        if self.wants_changes() {
            let mut line = Vec::new();
            write_tagged(&mut line, &self.command.tag, status, code, text);
            return self.ask_changes(After::Reply(line));
        }
        self.tell_untold(tx);
        if self.wants_updates() {
            let mut line = Vec::new();
            write_tagged(&mut line, &self.command.tag, status, code, text);
            return self.ask_update(After::Reply(line));
        }
        tx.write_with(|out| write_tagged(out, &self.command.tag, status, code, text));
        self.between_commands(tx);
    }

    /// Ends the command with the NO of a refusal.
    pub(super) fn end_refused(&mut self, refusal: &Refusal, tx: &mut SendQueue) {
        let (code, text) = of_refusal(refusal);
        self.end(Status::No, Some(&code), text, tx);
    }

    /// The tagged reply is written; the next command may come.
    pub(super) fn between_commands(&mut self, tx: &mut SendQueue) {
        self.state = State::Command;
        self.keep_alive();
        if self.ending.is_none() && self.errors >= self.setup.limits.errors_max {
            return self.abuse("too many errors in a row", tx);
        }
        self.command.forget();
        match self.notify {
            Some(_) => self.rest(Rest::Command, tx),
            None => _ = self.end_if_ending(tx),
        }
    }

    /// Says BYE if that waits for the end of what was in progress.
    pub(super) fn end_if_ending(&mut self, tx: &mut SendQueue) -> bool {
        if let Some(why) = self.ending {
            self.bye(why, CloseReason::Shutdown, tx);
        }
        self.ending.is_some()
    }

    /// Says BYE and closes, if that has not been done by the end of the command.
    pub(super) fn bye(&mut self, text: &str, reason: CloseReason, tx: &mut SendQueue) {
        if matches!(self.state, State::Closed) {
            return;
        }
        tx.write_with(|out| write_untagged(out, Status::Bye, None, text));
        self.close(reason);
    }

    pub(super) fn abuse(&mut self, what: &'static str, tx: &mut SendQueue) {
        self.push_event(Event::Abuse { what });
        self.bye(what, CloseReason::Abuse, tx);
    }

    /// Closes without a word; once.
    pub(super) fn close(&mut self, reason: CloseReason) {
        match &self.state {
            State::Closed => return,
            State::Message(message) => {
                if let Some(id) = message.appending.id {
                    self.push_cancel(id);
                }
            }
            State::Waiting(waiting) => {
                let id = match &waiting.then {
                    Then::Append(appending) => appending.id.unwrap_or(waiting.id),
                    _ => waiting.id,
                };
                self.push_cancel(id);
            }
            State::Command
            | State::Sasl(_)
            | State::Fetch(_)
            | State::List(_)
            | State::Search(_)
            | State::Idle
            | State::Handshake => {}
        }
        self.leave_mailbox();
        self.actions.push_back(Action::Close(reason));
        self.state = State::Closed;
    }
}

/// Timers and notices.
impl Session {
    /// The client has done something. Before login that does not count: the login has its own limit.
    pub(super) fn keep_alive(&mut self) {
        if self.account.is_some() {
            self.idle_until = self.now.instant.plus(self.setup.limits.imap_idle);
            self.unsent = 0;
        }
    }

    /// Nobody is logged in: the login has its own limit.
    pub(super) fn await_login(&mut self) {
        self.idle_until = self.now.instant.plus(self.setup.limits.imap_login);
    }

    fn handle_timeout(&mut self, tx: &mut SendQueue) {
        match &self.state {
            State::Closed => {}
            State::Waiting(waiting) if waiting.until <= self.now.instant => self.handle_lost_answer(tx),
            State::Waiting(_) => self.tell_progress(tx),
            State::Command
            | State::Sasl(_)
            | State::Fetch(_)
            | State::List(_)
            | State::Search(_)
            | State::Message(_)
            | State::Idle
            | State::Handshake
                if self.now.instant < self.idle_until => {}
            State::Handshake => self.close(CloseReason::IdleTimeout),
            State::Command
            | State::Sasl(_)
            | State::Fetch(_)
            | State::List(_)
            | State::Search(_)
            | State::Message(_)
            | State::Idle => {
                if self.account.is_some() && tx.pending() != self.unsent {
                    // It is still reading what it asked for.
                    self.keep_alive();
                    self.unsent = tx.pending();
                } else {
                    self.bye("Nothing was said for too long", CloseReason::IdleTimeout, tx);
                }
            }
        }
    }

    /// RFC 9585: a command that takes long is not lost, and its connection is not dead.
    fn tell_progress(&mut self, tx: &mut SendQueue) {
        let next = self.now.instant.plus(self.setup.limits.imap_progress);
        let State::Waiting(waiting) = &mut self.state else { return };
        if waiting.progress > self.now.instant {
            return;
        }
        waiting.progress = next;
        if self.account.is_some() && !waiting.then.rests() {
            let code = Code::InProgress(&self.command.tag);
            tx.write_with(|out| write_untagged(out, Status::Ok, Some(&code), "Still at it"));
        }
    }

    /// BYE comes after the command in progress, unless that one waits for the client.
    fn handle_ending(&mut self, why: &'static str, tx: &mut SendQueue) {
        self.ending = Some(why);
        match &self.state {
            State::Closed | State::Fetch(_) | State::List(_) | State::Search(_) => {}
            State::Waiting(waiting) if waiting.then.rests() => self.bye(why, CloseReason::Shutdown, tx),
            State::Command | State::Sasl(_) | State::Message(_) | State::Idle => {
                self.bye(why, CloseReason::Shutdown, tx)
            }
            State::Waiting(_) => {}
            State::Handshake => self.close(CloseReason::Shutdown),
        }
    }
}
