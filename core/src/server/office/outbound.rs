//! Mail for other servers: the queue at work.
//!
//! ```text
//! queue ─Connect─▶ route ─lookups─▶ resolver ─datagrams─▶ adapter
//!   ▲                │ first host, next host …
//!   │                ▼
//!   │              Call ─▶ adapter ─▶ a front's client session ─asks─┐
//!   └─────── jobs, outcomes, ends ◀──────────────────────────────────┘
//! ```
//!
//! What the queue wants of the disk are tasks like those of the store. A mail's outcome is noted, durably, before its
//! connection goes on, and notices to senders are durable before the envelope says that they were told.
//!
//! | file | what |
//! |---|---|
//! | `mailboxes` | mailboxes of ours that could not be had when their mail came |
//! | `links` | a connection: its way, the hosts tried and what they must show, its session's questions |
//! | `notices` | what senders are told, and where that goes |
//! | `policies` | what domains say of their mail servers by HTTPS: MTA-STS |

mod links;
mod mailboxes;
pub(super) mod notices;
mod policies;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use self::links::Link;
use self::notices::Delivery;
use self::policies::Policies;
use super::answers::trouble;
use super::mailboxes::MailboxKey;
use super::work::Outcome;
use super::{Desk, Office, OfficeAction, StoreTask};
use crate::disk::{Disk, Task};
use crate::dkim::signer::{Signed, Unsigned};
use crate::dns::mta_sts::Kept;
use crate::dns::mta_sts::https::{self, FetchId};
use crate::dns::name::DomainName;
use crate::dns::resolver::{self, ExchangeId, LookupId, Resolver, ResolverAction, ResolverInput};
use crate::event::Event;
use crate::machine::{Instant, Now};
use crate::maildir::context::{Root, StoreContext, StoreError, StoreErrorKind};
use crate::maildir::folder::FolderName;
use crate::pickup;
use crate::queue::envelope::{Envelope, Recipient};
use crate::queue::machine::{Job, LinkId, Queue, QueueAction, QueueInput, Unreadable};
use crate::queue::notice;
use crate::queue::spool::{self, Late, QueueId, Recovered, Signing, Spooled};
use crate::server::{Caller, ConnId, LinkNews};
use crate::site::{Sending, Site};
use crate::smtp::client::ReadVerdict;
use crate::smtp::server::Transaction;
use crate::ticket::Ticket;

/// The clock is looked at this often at least, for it may be set while a message sleeps.
const WAKE_MAX: Duration = Duration::from_secs(60);

/// What the office needs to send.
#[derive(Debug)]
pub struct Setup {
    /// Names, addresses, and how to send ([`Site::sending`]).
    pub site: Arc<Site>,
    /// The queue on disk.
    pub spool: Root,
    /// What was found there.
    pub recovered: Recovered,
    /// Where the policies of domains are kept (MTA-STS),
    pub policies: Root,
    /// and those that were found there, by [`files::load`](crate::dns::mta_sts::files::load).
    pub kept: Vec<(DomainName, Kept)>,
    /// Whom to ask for addresses.
    pub dns: resolver::Config,
    /// Secret randomness.
    pub seed: [u8; 32],
}

/// What an operator wants of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueCommand {
    /// Try everything that sleeps, or one message.
    Flush(Option<QueueId>),
    /// Hold a message, or release it.
    Hold(QueueId, bool),
    /// Forget a message; its sender is not told.
    Remove(QueueId),
}

/// See the module's manual.
#[derive(Debug)]
pub(super) struct Outbound {
    context: Arc<StoreContext>,
    site: Arc<Site>,
    sending: Arc<Sending>,
    spool: Root,
    queue: Queue,
    resolver: Resolver,
    policies: Policies,
    links: BTreeMap<LinkId, Link>,
    /// Of mailboxes: what is being delivered.
    mailbox_links: BTreeMap<LinkId, Option<Job>>,
    lookups: BTreeMap<LookupId, Asker>,
    last_lookup: u64,
    last_notice: u64,
    /// Tells the notices of this process from those of another in the same second.
    life: u32,
    /// Decides the order of equal hosts.
    seed: u64,
    /// When the queue has something to do.
    wake: Option<Instant>,
    /// The process ends: no more connections.
    stopping: bool,
    /// What a former process has queued for local programs: its drops may still be there.
    recovered: BTreeSet<QueueId>,
    todo: VecDeque<Todo>,
    /// To be run.
    tasks: Vec<StoreTask>,
}

/// What follows from something else.
#[derive(Debug)]
enum Todo {
    Queue(QueueInput),
    /// The next step on the way to a host.
    Step(LinkId),
    /// The next step on the way to a policy.
    Fetch(FetchId),
}

/// For whom something is looked up.
#[derive(Clone, Copy, Debug)]
enum Asker {
    Link(LinkId),
    Fetch(FetchId),
}

/// What a task brings back.
#[derive(Debug)]
pub(super) enum Done {
    Loaded(QueueId, Result<Envelope, StoreError>),
    Noted(QueueId, Result<(), StoreError>),
    Removed(QueueId, Result<(), StoreError>),
    Read(LinkId, Ticket<ReadVerdict>, Result<Vec<u8>, StoreError>),
    Told(QueueId, Result<Delivery, StoreError>),
    PolicySaved(Result<(), StoreError>),
    Kept(LinkId, Root, Result<(), StoreError>),
}

impl Office {
    /// From now on it sends mail to other servers, and what is in the spool to begin with.
    pub fn send_mail(&mut self, now: Now, setup: Setup) {
        let Setup { site, spool, recovered, policies, kept, dns, seed } = setup;
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = seed;
        let number = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let sending = site.sending.clone().unwrap_or_default();
        let queue = Queue::new(sending.queue, number);
        // A drop's mail, or the notice about it.
        let dropped = |id: &QueueId| pickup::is_name(id.strip_suffix('n').unwrap_or(id).as_bytes());
        let of_drops = recovered.queued.iter().filter(|id| dropped(id)).cloned().collect();
        let todo = [Todo::Queue(QueueInput::Found(recovered.queued))].into();
        self.outbound = Some(Box::new(Outbound {
            context: self.context.clone(),
            site,
            sending,
            spool,
            queue,
            resolver: Resolver::new(dns, seed),
            policies: Policies::new(policies, kept, now.wall.secs),
            links: BTreeMap::new(),
            mailbox_links: BTreeMap::new(),
            lookups: BTreeMap::new(),
            last_lookup: 0,
            last_notice: 0,
            life: u32::from_le_bytes([i, j, k, l]),
            seed: number,
            // What was found is looked at with the first input.
            wake: Some(now.instant),
            stopping: false,
            recovered: of_drops,
            todo,
            tasks: Vec::new(),
        }));
    }

    /// Lets the sending side do something, and runs the tasks that follow.
    pub(super) fn outbound(&mut self, desk: &mut Desk<'_>, act: impl FnOnce(&mut Outbound, &mut Desk<'_>)) {
        let Some(mut outbound) = self.outbound.take() else { return };
        act(&mut outbound, desk);
        outbound.settle(desk);
        for task in outbound.tasks.drain(..) {
            self.run(task, desk);
        }
        self.outbound = Some(outbound);
    }

    pub(super) fn handle_link(
        &mut self,
        caller: Option<Caller>,
        link: LinkId,
        news: LinkNews,
        desk: &mut Desk<'_>,
    ) {
        self.outbound(desk, |outbound, desk| outbound.link_news(caller, link, news, desk));
    }

    pub(super) fn handle_exchange(
        &mut self,
        exchange: ExchangeId,
        octets: Option<&[u8]>,
        desk: &mut Desk<'_>,
    ) {
        let input = match octets {
            Some(octets) => ResolverInput::Received { exchange, octets },
            None => ResolverInput::Failed { exchange },
        };
        self.outbound(desk, |outbound, desk| outbound.resolve(input, desk));
    }

    pub(super) fn handle_policy(&mut self, fetch: FetchId, outcome: https::Outcome, desk: &mut Desk<'_>) {
        self.outbound(desk, |outbound, desk| outbound.fetched(fetch, outcome, desk));
    }

    pub(super) fn handle_queue_command(&mut self, command: QueueCommand, desk: &mut Desk<'_>) {
        let input = match command {
            QueueCommand::Flush(id) => QueueInput::Flush(id),
            QueueCommand::Hold(id, held) => QueueInput::Hold { id, held },
            QueueCommand::Remove(id) => QueueInput::Remove(id),
        };
        self.outbound(desk, |outbound, _| outbound.todo.push_back(Todo::Queue(input)));
    }

    /// What a task of the sending side has brought back.
    pub(super) fn finish_outbound(&mut self, done: Done, desk: &mut Desk<'_>) {
        let mut roots = Vec::new();
        self.outbound(desk, |outbound, desk| roots = outbound.finish(done, desk));
        for root in roots {
            self.look_if_wanted(MailboxKey { root, folder: FolderName::inbox() }, desk);
        }
    }

    /// The envelope of the recipients that are elsewhere, and the spool it goes to; nothing where all are ours.
    pub(super) fn envelope_of(&self, transaction: &Transaction, now: Now) -> Option<(Root, Envelope)> {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let mut recipients: Vec<Recipient> = Vec::new();
        for recipient in &transaction.recipients {
            for address in &recipient.remote {
                if recipients.iter().any(|known| *known.forward_path == **address) {
                    continue;
                }
                recipients.push(Recipient {
                    notify: recipient.dsn_notify,
                    original: recipient.dsn_original.as_ref().map(|(kind, at)| (text(kind), at.clone())),
                    ..Recipient::new(address)
                });
            }
        }
        let outbound = self.outbound.as_ref().filter(|_| !recipients.is_empty())?;
        let envelope = Envelope {
            arrived: now.wall.secs,
            reverse_path: text(&transaction.reverse_path),
            smtputf8: transaction.smtputf8,
            return_full: transaction.dsn_return_full,
            envelope_id: transaction.dsn_envelope_id.clone(),
            recipients,
            ..Envelope::default()
        };
        Some((outbound.spool.clone(), envelope))
    }

    /// How a message is signed when it leaves: what our users and machines send is. Others' mail that an alias sends on
    /// stays as it came.
    pub(super) fn signing(&self, transaction: &Transaction, now: Now) -> Option<Signing> {
        let ours = transaction.submitter.is_some() || transaction.trusted;
        self.outbound.as_ref().filter(|_| ours)?.signing(now.wall.secs)
    }

    /// It has recipients elsewhere, and the queue is full, or there is none: the configuration has changed, and this process
    /// not yet.
    pub(super) fn has_no_room(&self, transaction: &Transaction) -> bool {
        self.outbound.as_deref().is_none_or(Outbound::is_full)
            && transaction.recipients.iter().any(|recipient| !recipient.remote.is_empty())
    }

    /// Tells the log of mailboxes of ours that could not be had.
    pub(super) fn tell_late(&self, id: &QueueId, late: &[Late], desk: &mut Desk<'_>) {
        let host = self.outbound.as_ref().map_or("", |outbound| outbound.site.hostname());
        for Late { root, address, error } in late {
            trouble(&String::from_utf8_lossy(&root.path), error, desk);
            mailboxes::report_late(id, address, host, error.kind, desk);
        }
    }

    /// A message lies in the spool.
    pub(super) fn queued(&mut self, id: QueueId, desk: &mut Desk<'_>) {
        self.outbound(desk, |outbound, _| outbound.todo.push_back(Todo::Queue(QueueInput::Queued(id))));
    }
}

/// Tells the log what has come of signing a message.
pub(super) fn tell_signed(
    conn: Option<ConnId>,
    id: &QueueId,
    signed: Option<Result<Signed, Unsigned>>,
    desk: &mut Desk<'_>,
) {
    let id = id.clone();
    match signed {
        Some(Ok(Signed { domain, selectors, .. })) => {
            desk.event(conn, Event::Signed { id, domain, selectors });
        }
        None | Some(Err(Unsigned::NoKey)) => {}
        Some(Err(why)) => desk.event(conn, Event::NotSigned { id, why: why.text() }),
    }
}

impl Outbound {
    pub(super) fn site(&self) -> &Arc<Site> {
        &self.site
    }

    pub(super) fn spool_root(&self) -> &Root {
        &self.spool
    }

    /// There is no room for another message.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= self.sending.queue.messages_max
    }

    /// A message of this name was in the queue when the process began.
    pub(super) fn has_recovered(&self, id: &QueueId) -> bool {
        self.recovered.contains(id)
    }

    /// With the keys of the configuration, if there are any.
    pub(super) fn signing(&self, now: i64) -> Option<Signing> {
        let keys = &self.site.dkim_keys;
        (!keys.is_empty()).then(|| Signing { keys: keys.clone(), now })
    }

    /// When there is something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.wake.into_iter().chain(self.resolver.poll_timeout()).min()
    }

    pub(super) fn handle_timeout(&mut self, desk: &mut Desk<'_>) {
        if self.resolver.poll_timeout().is_some_and(|due| due <= desk.now.instant) {
            self.resolve(ResolverInput::Timeout, desk);
        }
        if self.wake.is_some_and(|due| due <= desk.now.instant) {
            self.todo.push_back(Todo::Queue(QueueInput::Timeout));
        }
    }

    /// Names, ways and patience mean what the new configuration says; bounds stay until a restart.
    pub(super) fn reload(&mut self, site: Arc<Site>) {
        self.sending = site.sending.clone().unwrap_or_default();
        self.site = site;
    }

    /// The process ends.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Does everything that follows from something that has been done.
    fn settle(&mut self, desk: &mut Desk<'_>) {
        while let Some(todo) = self.todo.pop_front() {
            match todo {
                Todo::Queue(input) => {
                    let mut actions = Vec::new();
                    self.queue.handle(desk.now.wall.secs, input, &mut actions);
                    for action in actions {
                        self.carry_out(action, desk);
                    }
                }
                Todo::Step(link) => self.step(link, desk),
                Todo::Fetch(fetch) => self.fetch_step(fetch, desk),
            }
        }
        self.save_policies();
        self.wake = self.queue.poll_timeout().map(|due| {
            let left = u64::try_from(due.saturating_sub(desk.now.wall.secs)).unwrap_or(0);
            desk.now.instant.plus(Duration::from_secs(left).min(WAKE_MAX))
        });
    }

    fn carry_out(&mut self, action: QueueAction, desk: &mut Desk<'_>) {
        match action {
            QueueAction::Load(id) => self.task(|disk, root| async move {
                let result = spool::load(disk, root, id.clone()).await;
                Done::Loaded(id, result)
            }),
            QueueAction::Note(id, envelope) => self.task(|disk, root| async move {
                let result = spool::note(disk, root, id.clone(), *envelope).await;
                Done::Noted(id, result)
            }),
            QueueAction::Remove(id) => self.task(|disk, root| async move {
                let result = spool::remove(disk, root, id.clone()).await;
                Done::Removed(id, result)
            }),
            QueueAction::Connect { link, destination } => match mailboxes::is_line(&destination) {
                true => self.open_mailbox(link),
                false => self.connect(link, destination),
            },
            QueueAction::Job { link, job } => match self.mailbox_links.contains_key(&link) {
                true => self.give_mailbox_job(link, job, desk),
                false => self.give_job(link, job, desk),
            },
            QueueAction::GoOn(link) => match self.mailbox_links.contains_key(&link) {
                true => self.mailbox_ready(link),
                false => self.go_on(link, desk),
            },
            QueueAction::Report { id, to, host, fate, why } => {
                desk.event(None, Event::Sent { id, to, host, fate, reply: why, tls: String::new() });
            }
            QueueAction::Tell { id, envelope, action, recipients, host } => {
                self.tell(desk.now.wall.secs, id, &envelope, action, &recipients, host.as_deref());
            }
        }
    }

    /// Runs something in the spool.
    fn task<F, Fut>(&mut self, operation: F)
    where
        F: FnOnce(Disk, Root) -> Fut + Send + 'static,
        Fut: Future<Output = Done> + Send + 'static,
    {
        let root = self.spool.clone();
        let task = Task::new(move |disk| async move {
            super::work::Done::new(Outcome::Outbound(operation(disk, root).await))
        });
        self.tasks.push(task);
    }

    /// Says in which Maildirs a notice has been put.
    fn finish(&mut self, done: Done, desk: &mut Desk<'_>) -> Vec<Root> {
        let mut roots = Vec::new();
        let input = match done {
            Done::Loaded(id, result) => {
                let why = match &result {
                    Err(error) if error.kind == StoreErrorKind::NotFound => Unreadable::Gone,
                    Ok(_) | Err(_) => Unreadable::Now,
                };
                let envelope = self.checked(&id, result, desk).map(Box::new).ok_or(why);
                let recipients = envelope.iter().flat_map(|envelope| &envelope.recipients);
                let line = |recipient: &Recipient| match recipient.mailbox {
                    Some(_) => mailboxes::line(&recipient.forward_path),
                    None => self.sending.line(&recipient.domain().to_ascii_lowercase()),
                };
                let destinations = recipients.map(|recipient| line(recipient).into()).collect();
                QueueInput::Loaded { id, envelope, destinations }
            }
            Done::Noted(id, result) => {
                let durable = self.checked(&id, result, desk).is_some();
                QueueInput::Noted { id, durable }
            }
            Done::Removed(id, result) => {
                let durable = self.checked(&id, result, desk).is_some();
                if durable {
                    desk.event(None, Event::Dequeued { id: id.clone() });
                }
                QueueInput::Removed { id, durable }
            }
            Done::Read(link, ticket, result) => {
                let octets = self.checked("", result, desk);
                self.answer_read(link, ticket, octets, desk);
                return roots;
            }
            Done::Kept(link, root, result) => {
                return self.mailbox_done(link, root, result, desk);
            }
            Done::PolicySaved(result) => {
                self.policy_saved(result, desk);
                return roots;
            }
            Done::Told(id, result) => {
                let delivery = self.checked(&id, result, desk);
                let durable = delivery.is_some();
                if let Some(Delivery { about, to, what, queued, roots: delivered }) = delivery {
                    desk.event(None, Event::Told { id: about, to: to.clone(), what });
                    roots = delivered;
                    if let Some((id, Spooled { envelope, signed, .. })) = queued {
                        let (from, to, size) = (String::new(), [to].into(), envelope.size);
                        let message_id = notice::message_id(&id, self.site.hostname()).into();
                        desk.event(None, Event::Queued { id: id.clone(), from, to, size, message_id });
                        tell_signed(None, &id, signed, desk);
                        self.todo.push_back(Todo::Queue(QueueInput::Queued(id)));
                    }
                }
                QueueInput::Told { id, durable }
            }
        };
        self.todo.push_back(Todo::Queue(input));
        roots
    }

    /// The result, or a word in the log.
    fn checked<T>(&self, id: &str, result: Result<T, StoreError>, desk: &mut Desk<'_>) -> Option<T> {
        result
            .map_err(|error| {
                let path = String::from_utf8_lossy(&self.spool.path);
                let place = alloc::format!("{path}/mail/{id}");
                if error.kind == StoreErrorKind::NotFound {
                    let what = alloc::format!("{error}; the message cannot be read, and is not sent");
                    desk.event(None, Event::StoreTrouble { place, what });
                } else {
                    trouble(&place, &error, desk);
                }
            })
            .ok()
    }

    fn resolve(&mut self, input: ResolverInput<'_>, desk: &mut Desk<'_>) {
        let mut actions = Vec::new();
        self.resolver.handle(desk.now, input, &mut actions);
        for action in actions {
            match action {
                ResolverAction::Open { exchange, server, transport, octets } => {
                    desk.out.push(OfficeAction::OpenExchange { exchange, server, transport, octets });
                }
                ResolverAction::Close { exchange } => desk.out.push(OfficeAction::CloseExchange(exchange)),
                ResolverAction::Answer { lookup, outcome } => match self.lookups.remove(&lookup) {
                    Some(Asker::Link(id)) => {
                        if let Some(link) = self.links.get_mut(&id) {
                            link.answer(outcome);
                            self.todo.push_back(Todo::Step(id));
                        }
                    }
                    Some(Asker::Fetch(id)) => self.fetch_answer(id, outcome),
                    None => {}
                },
            }
        }
    }
}
