//! The office: deliveries, logins, mailboxes. Exactly one per process.
//!
//! It decides, and never touches the disk itself: it makes [`Task`]s and gives them to the adapter
//! ([`OfficeAction::Run`]), which drives them on worker threads and brings them back ([`OfficeInput::Ran`]).
//!
//! * [`outbound`]: the queue, its connections, its lookups.
//! * `pickup`: mail of local programs.
//! * `uploads`: bodies on their way into a delivery or an APPEND, many at the same time.
//! * `mailboxes`: open mailboxes. All that changes one goes through its queue of work, one task
//!   at a time; what reads works on a snapshot and runs beside it.
//! * `logins`: who has shown who they are, and who has to wait before they may.
//! * `selections`: who has which mailbox selected, and how far they have been told.
//! * `followers`, `tree`: who is told what happens in mailboxes they have not selected, and to their names.
//!
//! A change is adopted, told and answered only when its task says it is durable.

mod answers;
mod caching;
mod changes;
mod folders;
#[cfg(test)]
mod follow_tests;
mod followers;
#[cfg(test)]
mod lock_tests;
mod logins;
mod mailboxes;
pub mod outbound;
mod pickup;
mod quota;
mod reading;
mod selections;
mod table;
mod tree;
mod uploads;
mod work;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use self::followers::Follower;
use self::logins::Login;
use self::mailboxes::MailboxKey;
use self::outbound::{Outbound, QueueCommand};
use self::pickup::Pickup;
use self::selections::Selection;
use self::table::Mailboxes;
use self::tree::Tree;
use self::uploads::Upload;
use self::work::Done;
use super::throttle::Throttle;
use super::{Call, Caller, ConnId, FromOffice, FrontIndex, ToOffice};
use crate::auth::{Password, Proof};
use crate::disk::{Task, TaskInput};
use crate::dns::mta_sts::https::{self, Fetch, FetchId};
use crate::dns::resolver::{ExchangeId, Transport};
use crate::event::Event;
use crate::imap::server::SelectionId;
use crate::machine::{Instant, Now};
use crate::maildir::context::{Root, StoreContext};
use crate::site::{Account, Site};

/// A store operation of the office.
pub type StoreTask = Task<Done>;

/// Numbers a task or a password check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// Numbers a watched mailbox directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchId(pub u64);

/// How a task came back from its worker.
#[derive(Debug)]
pub enum Ended {
    /// It needs an input that only the office can give.
    NeedsInput(StoreTask),
    /// It wants to go on after this long.
    Waits(StoreTask, Duration),
    /// It is finished.
    Done(Done),
}

/// What goes into the office.
#[derive(Debug)]
pub enum OfficeInput {
    /// A message of a front.
    Front(ToOffice),
    /// A task is back.
    Ran {
        /// Which.
        job: JobId,
        /// How.
        ended: Ended,
    },
    /// A password is checked.
    PasswordChecked {
        /// Which check.
        job: JobId,
        /// It is right.
        right: bool,
    },
    /// Something happened in a watched directory.
    DirectoryChanged {
        /// Which.
        watch: WatchId,
    },
    /// The directory cannot be watched: the office looks at it now and then.
    WatchFailed {
        /// Which.
        watch: WatchId,
    },
    /// A datagram, or the next octets of a stream, from a DNS server.
    Received {
        /// Which exchange it is of.
        exchange: ExchangeId,
        /// What.
        octets: Vec<u8>,
    },
    /// The socket of an exchange failed, or its stream is at its end.
    ExchangeFailed(ExchangeId),
    /// What has come of [`OfficeAction::FetchPolicy`].
    Policy {
        /// Which.
        fetch: FetchId,
        /// The policy's text, or why there is none.
        outcome: https::Outcome,
    },
    /// An operator wants something of the queue.
    Queue(QueueCommand),
    /// A new configuration.
    Reload(Arc<Site>),
    /// The process ends: nothing new is begun.
    Shutdown,
    /// The instant of [`Office::poll_timeout`] has come.
    Timeout,
}

/// What the adapter is to do.
#[derive(Debug)]
pub enum OfficeAction {
    /// Bring this to a front.
    Answer(FrontIndex, FromOffice),
    /// Drive this task until it is done or wants something.
    Run(JobId, StoreTask),
    /// Check a password; without an account take as long and say no.
    CheckPassword {
        /// To answer with.
        job: JobId,
        /// The address that the login means, whether anybody has it or not.
        name: Arc<[u8]>,
        /// Whose.
        account: Option<Arc<Account>>,
        /// The password.
        password: Password,
    },
    /// Tell when `cur` or `new` in this directory changes.
    Watch {
        /// To name it by.
        watch: WatchId,
        /// The mailbox directory.
        path: Vec<u8>,
    },
    /// No longer.
    Unwatch {
        /// Which.
        watch: WatchId,
    },
    /// Connect to another server; then [`Front::call`](super::front::Front::call), or
    /// [`LinkNews::Unconnected`](super::LinkNews::Unconnected).
    Call(Box<Call>),
    /// Open a socket to a DNS server, send these octets, hand in what comes.
    OpenExchange {
        /// To name it by.
        exchange: ExchangeId,
        /// The server.
        server: SocketAddr,
        /// How.
        transport: Transport,
        /// What to send.
        octets: Vec<u8>,
    },
    /// That socket is not needed any more.
    CloseExchange(ExchangeId),
    /// Ask a web server for a domain's policy, with [`https`]; then [`OfficeInput::Policy`], in any case.
    FetchPolicy(Fetch),
    /// Log this; the connection it comes from, if it comes from one.
    Event(Option<ConnId>, Event),
}

/// The one office of a process.
#[derive(Debug)]
pub struct Office {
    context: Arc<StoreContext>,
    last_id: u64,
    throttle: Throttle,
    /// Attempts to log in whose password is being checked.
    logins: BTreeMap<JobId, Login>,
    /// Those whose turn has not come.
    held: BTreeMap<(Instant, JobId), (Login, Proof)>,
    held_by: BTreeMap<Caller, (Instant, JobId)>,
    uploads: BTreeMap<JobId, Upload>,
    upload_of: BTreeMap<Caller, JobId>,
    mailboxes: Mailboxes,
    selections: BTreeMap<SelectionId, Selection>,
    followers: BTreeMap<Caller, Follower>,
    /// Followers with news, and when they may be noticed.
    news_due: BTreeSet<(Instant, Caller)>,
    /// The trees of mailboxes that somebody follows.
    trees: BTreeMap<Root, Tree>,
    trees_due: BTreeSet<(Instant, Root)>,
    /// Mailboxes that are saved and forgotten, with their highest mod-sequences.
    closed: BTreeMap<MailboxKey, u64>,
    watches: BTreeMap<WatchId, MailboxKey>,
    /// The mailboxes of the tasks that work on one.
    works: BTreeMap<JobId, MailboxKey>,
    waiting: BTreeMap<(Instant, JobId), StoreTask>,
    /// Accounts whose Maildir has been seen or made.
    prepared: BTreeSet<Vec<u8>>,
    /// Mail for other servers, where it is sent.
    outbound: Option<Box<Outbound>>,
    /// Mail of local programs, where it is taken.
    pickup: Option<Box<Pickup>>,
}

/// What a call has to work with: the time, and where actions go.
struct Desk<'o> {
    now: Now,
    out: &'o mut Vec<OfficeAction>,
}

impl Desk<'_> {
    fn answer(&mut self, caller: Caller, message: FromOffice) {
        self.out.push(OfficeAction::Answer(caller.front, message));
    }

    fn imap(&mut self, caller: Caller, answer: crate::imap::server::Answer) {
        self.answer(caller, FromOffice::Imap { conn: caller.conn, answer: Box::new(answer) });
    }

    fn event(&mut self, conn: Option<ConnId>, event: Event) {
        self.out.push(OfficeAction::Event(conn, event));
    }
}

impl Office {
    /// An office for the Maildirs of this host.
    pub fn new(context: Arc<StoreContext>) -> Self {
        Office {
            context,
            last_id: 0,
            throttle: Throttle::default(),
            logins: BTreeMap::new(),
            held: BTreeMap::new(),
            held_by: BTreeMap::new(),
            uploads: BTreeMap::new(),
            upload_of: BTreeMap::new(),
            mailboxes: Mailboxes::default(),
            selections: BTreeMap::new(),
            followers: BTreeMap::new(),
            news_due: BTreeSet::new(),
            trees: BTreeMap::new(),
            trees_due: BTreeSet::new(),
            closed: BTreeMap::new(),
            watches: BTreeMap::new(),
            works: BTreeMap::new(),
            waiting: BTreeMap::new(),
            prepared: BTreeSet::new(),
            outbound: None,
            pickup: None,
        }
    }

    /// One input; what follows from it is appended to `out`.
    pub fn handle(&mut self, now: Now, input: OfficeInput, out: &mut Vec<OfficeAction>) {
        let desk = &mut Desk { now, out };
        match input {
            OfficeInput::Front(message) => self.handle_front(message, desk),
            OfficeInput::Ran { job, ended } => self.handle_ran(job, ended, desk),
            OfficeInput::PasswordChecked { job, right } => self.handle_password(job, right, desk),
            OfficeInput::DirectoryChanged { watch } => self.handle_directory(watch, desk),
            OfficeInput::WatchFailed { watch } => self.handle_unwatchable(watch, desk),
            OfficeInput::Received { exchange, octets } => self.handle_exchange(exchange, Some(&octets), desk),
            OfficeInput::ExchangeFailed(exchange) => self.handle_exchange(exchange, None, desk),
            OfficeInput::Policy { fetch, outcome } => self.handle_policy(fetch, outcome, desk),
            OfficeInput::Queue(command) => self.handle_queue_command(command, desk),
            OfficeInput::Reload(site) => self.outbound(desk, |outbound, _| outbound.reload(site)),
            OfficeInput::Shutdown => {
                self.pickup.iter_mut().for_each(|pickup| pickup.stop());
                self.outbound(desk, |outbound, _| outbound.stop());
            }
            OfficeInput::Timeout => self.handle_timeout(desk),
        }
        self.mailboxes.plan();
    }

    /// When to hand in [`OfficeInput::Timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let task = self.waiting.first_key_value().map(|((instant, _), _)| *instant);
        let mailbox = self.mailboxes.poll_timeout();
        let outbound = self.outbound.as_ref().and_then(|outbound| outbound.poll_timeout());
        let news = self.news_due.first().map(|(instant, _)| *instant);
        let tree = self.trees_due.first().map(|(instant, _)| *instant);
        let pickup = self.pickup.as_ref().and_then(|pickup| pickup.poll_timeout());
        let of_mail = task.into_iter().chain(mailbox).chain(news).chain(tree);
        of_mail.chain(outbound).chain(pickup).chain(self.next_login()).min()
    }

    /// Nothing is under way: everything that was accepted is durable or refused.
    pub fn is_idle(&self) -> bool {
        let pickup = self.pickup.as_ref().is_none_or(|pickup| pickup.is_idle());
        self.uploads.is_empty() && self.mailboxes.are_idle() && pickup
    }

    fn handle_front(&mut self, message: ToOffice, desk: &mut Desk<'_>) {
        match message {
            ToOffice::Authenticate { caller, ticket, account, who, limits, proof } => {
                self.start_login(Login { caller, ticket, account, who, limits }, proof, desk);
            }
            ToOffice::Deliver { caller, transaction, body, commit } => {
                self.start_delivery(caller, *transaction, body, commit, desk);
            }
            ToOffice::Chunk { caller, body } => self.upload_input(caller, TaskInput::Chunk(body), desk),
            ToOffice::Commit { caller, ticket } => self.commit_delivery(caller, ticket, desk),
            ToOffice::Abort { caller } => self.upload_input(caller, TaskInput::Abort, desk),
            ToOffice::Room { caller, ticket, verdict, size } => {
                self.gate_recipients(caller, ticket, verdict, size, desk);
            }
            ToOffice::Imap { caller, account, ask } => self.gate_imap(caller, account, *ask, desk),
            ToOffice::Link { caller, link, news } => self.handle_link(caller, link, news, desk),
            ToOffice::Gone { caller } => {
                self.forget_login(caller);
                self.abandon_upload(caller, desk);
                self.leave_all(caller, desk);
                self.forget_waiting(caller);
                self.stop_following(caller, desk);
            }
        }
    }

    fn handle_ran(&mut self, job: JobId, ended: Ended, desk: &mut Desk<'_>) {
        match ended {
            Ended::Waits(task, duration) => {
                self.waiting.insert((desk.now.instant.plus(duration), job), task);
                self.handle_waiting(job, desk);
            }
            Ended::NeedsInput(task) => self.upload_hungry(job, task, desk),
            Ended::Done(done) => self.handle_done(job, done, desk),
        }
    }

    fn handle_timeout(&mut self, desk: &mut Desk<'_>) {
        while let Some(entry) = self.waiting.first_entry()
            && entry.key().0 <= desk.now.instant
        {
            let ((_, job), task) = entry.remove_entry();
            self.wake(job, task, desk);
        }
        self.resume_logins(desk);
        self.look_after_mailboxes(desk);
        self.look_at_trees(desk);
        self.notice_due(desk);
        self.look_for_drops_when_due(desk);
        self.outbound(desk, Outbound::handle_timeout);
    }

    /// A number for a task, a check, a watch or a selection.
    fn id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn job(&mut self) -> JobId {
        JobId(self.id())
    }

    fn run(&mut self, task: StoreTask, desk: &mut Desk<'_>) {
        let job = self.job();
        desk.out.push(OfficeAction::Run(job, task));
    }
}
