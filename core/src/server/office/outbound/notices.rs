//! What senders are told, and where that goes: into a Maildir of ours, or to another server.
//!
//! A notice has no reverse-path, so the queue tells nobody about it; and a sender who is nobody any more is not told.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Done, Outbound, Todo};
use crate::disk::Disk;
use crate::maildir::body::Body;
use crate::maildir::context::{Root, StoreContext, StoreError};
use crate::maildir::deliver::{DeliveryTarget, Message, deliver_to};
use crate::maildir::folder::FolderName;
use crate::maildir::scope::Scope;
use crate::queue::envelope::{Envelope, Recipient, State};
use crate::queue::machine::QueueInput;
use crate::queue::notice::{About, Action, Notice, Returned};
use crate::queue::spool::{self, QueueId, Signing, Spooled};
use crate::site::{AccountId, Resolution, Site};
use crate::smtp::address::Mailbox;

/// Octets of the original that come back with a notice; of a longer one its header does.
pub(in crate::server::office) const RETURNED_BYTES_MAX: usize = 256 * 1024;

/// What has become of a notice.
#[derive(Debug)]
pub(in crate::server::office) struct Delivery {
    pub(super) about: QueueId,
    pub(super) to: String,
    pub(super) what: &'static str,
    /// The notice lies in the spool.
    pub(super) queued: Option<(QueueId, Spooled)>,
    /// It lies in these Maildirs.
    pub(super) roots: Vec<Root>,
}

/// Where the mail of an address goes.
#[derive(Debug, Default)]
pub(in crate::server::office) struct Goal {
    pub(in crate::server::office) targets: Vec<DeliveryTarget>,
    pub(in crate::server::office) remote: Vec<Recipient>,
}

impl Goal {
    pub(in crate::server::office) fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.remote.is_empty()
    }
}

/// A notice on its way.
struct Parcel {
    about: QueueId,
    to: String,
    what: &'static str,
    head: Vec<u8>,
    tail: Vec<u8>,
    whole: bool,
    letter: Letter,
}

/// A notice that is written.
pub(in crate::server::office) struct Letter {
    /// Its name.
    pub(in crate::server::office) id: String,
    pub(in crate::server::office) goal: Goal,
    /// In seconds since 1970.
    pub(in crate::server::office) now: i64,
    pub(in crate::server::office) signing: Option<Signing>,
    /// The base name it gets in mailboxes, if it is not to be one of its own.
    pub(in crate::server::office) named: Option<Box<[u8]>>,
}

impl Outbound {
    pub(super) fn tell(
        &mut self,
        now: i64,
        id: QueueId,
        envelope: &Envelope,
        action: Action,
        recipients: &[usize],
        host: Option<&str>,
    ) {
        let goal = goal(&self.site, &envelope.reverse_path);
        if goal.is_empty() {
            return self.todo.push_back(Todo::Queue(QueueInput::Told { id, durable: true }));
        }
        self.last_notice += 1;
        let notice_id = format!("{id}n{now:x}x{:x}x{}", self.life, self.last_notice);
        let whole = envelope.return_full == Some(true)
            && action == Action::Failed
            && envelope.size <= RETURNED_BYTES_MAX as u64;
        let told = recipients.iter().filter_map(|n| envelope.recipients.get(*n));
        let notice = Notice {
            host: self.site.hostname(),
            to: &envelope.reverse_path,
            id: &notice_id,
            now,
            arrived: envelope.arrived,
            envelope_id: envelope.envelope_id.as_deref(),
            utf8: envelope.smtputf8,
            action,
            recipients: told
                .map(|recipient| About {
                    forward_path: &recipient.forward_path,
                    original: recipient.original.as_ref().map(|(kind, address)| (&**kind, &**address)),
                    remote: host,
                    reply: words(&recipient.state),
                })
                .collect(),
            returned: if whole { Returned::Full } else { Returned::Header },
        };
        let (head, tail) = (notice.head(), notice.tail());
        let what = match action {
            Action::Failed => "failed",
            Action::Delayed { .. } => "delayed",
            Action::Relayed => "relayed",
        };
        let to = envelope.reverse_path.clone();
        let signing = self.signing(now);
        let letter = Letter { id: notice_id, goal, now, signing, named: None };
        let parcel = Parcel { about: id.clone(), to, what, head, tail, whole, letter };
        let context = self.context.clone();
        self.task(move |disk, root| async move {
            Done::Told(id, deliver_notice(disk, context, root, parcel).await)
        });
    }
}

fn words(state: &State) -> &str {
    match state {
        State::Waiting { last, .. } => last,
        State::Delivered { reply, .. } => reply,
        State::Failed { why, .. } => why,
    }
}

/// Where mail for this reverse-path goes.
pub(in crate::server::office) fn goal(site: &Site, address: &str) -> Goal {
    let Ok(mailbox) = Mailbox::parse(address) else { return Goal::default() };
    let (local, domain) = (mailbox.local.unquoted(), format!("{}", mailbox.domain));
    let targets = |ids: Vec<AccountId>| {
        let accounts = ids.into_iter().filter_map(|id| site.account(id));
        accounts
            // Who is told that a mail could not be sent is told so, full or not.
            .map(|account| DeliveryTarget {
                root: Root::new(&account.maildir),
                folder: FolderName::inbox(),
                quota: None,
            })
            .collect()
    };
    match site.resolve_recipient(local.as_bytes(), Some(domain.as_bytes())) {
        Resolution::Local(ids) => Goal { targets: targets(ids), remote: Vec::new() },
        Resolution::Forwarded { accounts, remote } => Goal {
            targets: targets(accounts),
            remote: remote.iter().map(|address| Recipient::new(address)).collect(),
        },
        Resolution::NoSuchUser => Goal::default(),
        Resolution::NotLocal if site.is_local_domain(domain.as_bytes()) => Goal::default(),
        Resolution::NotLocal => Goal { targets: Vec::new(), remote: [Recipient::new(address)].into() },
    }
}

async fn deliver_notice(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
    parcel: Parcel,
) -> Result<Delivery, StoreError> {
    let mut scope = Scope::new(disk);
    let result = deliver_in(&mut scope, &context, &root, parcel).await;
    scope.finish().await;
    result
}

async fn deliver_in(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    parcel: Parcel,
) -> Result<Delivery, StoreError> {
    let Parcel { about, to, what, head, tail, whole, letter } = parcel;
    let original = spool::read_beginning(scope, root, &about, whole, RETURNED_BYTES_MAX).await?;
    let roots = letter.goal.targets.iter().map(|target| target.root.clone()).collect();
    let queued = post(scope, context, root, letter, [head, original, tail].concat()).await?;
    Ok(Delivery { about, to, what, queued, roots })
}

/// Puts a notice into the queue, into mailboxes, or both.
///
/// # Errors
/// [`StoreError`]; part of it may be there.
pub(in crate::server::office) async fn post(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    letter: Letter,
    message: Vec<u8>,
) -> Result<Option<(QueueId, Spooled)>, StoreError> {
    let Letter { id, goal, now, signing, named } = letter;
    let mut queued = None;
    if !goal.remote.is_empty() {
        let envelope = Envelope { arrived: now, recipients: goal.remote, ..Envelope::default() };
        let spooled =
            spool::spool_whole(scope, context, root, &id, envelope, signing, message.clone()).await?;
        queued = Some((id.into(), spooled));
    }
    if !goal.targets.is_empty() {
        // RFC 5321 §4.4: the first line of what is delivered.
        let body = Body::whole([&b"Return-Path: <>\n"[..], &message].concat());
        let body = match named {
            Some(named) => body.named(named),
            None => body,
        };
        deliver_to(scope, context, goal.targets, Message::Body(body)).await?;
    }
    Ok(queued)
}
