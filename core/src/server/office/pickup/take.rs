//! One drop, from its file to queue and mailboxes; and the look for drops. Tasks over file operations.
//!
//! The order on disk: the queue's files, the copies in mailboxes, the notice about recipients that cannot be had, each
//! durable before the next, and the drop removed last. A crash in between leaves the drop, and what was done bears its
//! name:
//!
//! * The queue has recovered a message of this name, if it was queued: it is not queued again.
//! * A mailbox that has a file of this name, in `new/` or `cur/` and whatever its flags, has had its copy. (One that its
//!   owner has deleted or moved since comes again.)
//! * The notice has a name made of it, and is known in the same way.
//!
//! Nothing in the file is believed: it must be a plain file with one name, and whose it is the file system says.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::outbound::notices::{self, Goal, Letter, RETURNED_BYTES_MAX};
use super::super::uploads::{Shown, is_late};
use crate::disk::{Disk, Errno, Handle, Kind, Stat};
use crate::maildir::body::Body;
use crate::maildir::context::{At, Root, StoreContext, StoreError, StoreErrorKind};
use crate::maildir::deliver::{DeliveryTarget, Message, deliver_to, has_had};
use crate::maildir::folder::FolderName;
use crate::maildir::scope::Scope;
use crate::mime::date::format_rfc5322;
use crate::pickup::reader::{Completing, Reader};
use crate::pickup::{Drop, compose, is_name};
use crate::queue::envelope::{Envelope, Recipient};
use crate::queue::notice::{About, Action, Notice, Returned};
use crate::queue::spool::{LocalCopy, QueueId, Signing, Spooled, Spooling, spool_mail};
use crate::site::{Account, Resolution, Site};
use crate::smtp::address::Mailbox;
use crate::smtp::reply::Reply;
use crate::smtp::server::message::{Completion, Message as Passing, MessageSetup};
use crate::smtp::trace::{Protocol, Received, write_return_path};
use crate::wire::eol::ToLf;

/// What lies in `tmp/` this long is nobody's any more.
const DEBRIS_SECONDS: i64 = 36 * 3600;
/// Octets that are read for the envelope at first.
const ENVELOPE_BYTES: usize = 16 * 1024;

/// What a look has found.
#[derive(Debug, Default)]
pub(in crate::server::office) struct Looked {
    /// Drops, in the order of their names.
    pub(super) names: Vec<QueueId>,
    /// Names that cannot be of drops, which have been set aside, and why.
    pub(super) strange: Vec<(String, &'static str)>,
}

/// What is to be taken, and how.
#[derive(Debug)]
pub(in crate::server::office) struct Job {
    pub(super) drop: Root,
    pub(super) id: QueueId,
    pub(super) site: Arc<Site>,
    pub(super) spool: Root,
    /// There is no room in the queue.
    pub(super) queue_full: bool,
    pub(super) signing: Option<Signing>,
    /// A try before this one may have delivered some of it.
    pub(super) suspect: bool,
    /// It has been queued by a former process.
    pub(super) queued_before: bool,
    /// Its notice has.
    pub(super) told_before: bool,
    /// In seconds since 1970.
    pub(super) now: i64,
}

/// What has become of a drop.
#[derive(Debug)]
pub(in crate::server::office) enum PickedUp {
    /// It is not there any more.
    Gone,
    /// It is no mail; whether it could be moved out of the way.
    SetAside {
        why: &'static str,
        moved: bool,
    },
    Taken(Box<Story>),
}

/// What has become of a mail.
#[derive(Debug, Default)]
pub(in crate::server::office) struct Story {
    pub(super) user: u32,
    pub(super) from: String,
    pub(super) shown: Shown,
    pub(super) size: u64,
    pub(super) queued: Option<Spooled>,
    /// The recipients in the queue.
    pub(super) remote: Vec<String>,
    pub(super) delivered: Vec<Arc<Account>>,
    /// Recipients that cannot be had, and why.
    pub(super) failed: Vec<(String, String)>,
    pub(super) told: Option<Told>,
    /// The drop is still there.
    pub(super) left_behind: Option<StoreError>,
}

/// Somebody has been told of a failure.
#[derive(Debug)]
pub(in crate::server::office) struct Told {
    pub(super) to: String,
    pub(super) queued: Option<(QueueId, Spooled)>,
    pub(super) roots: Vec<Root>,
}

/// The name of the notice about a drop.
pub(super) fn notice_id(id: &str) -> QueueId {
    format!("{id}n").into()
}

/// Looks for drops. With a time (seconds since 1970), what has been in `tmp/` for too long is removed.
///
/// # Errors
/// [`StoreError`] if the directory cannot be listed.
pub(super) async fn look(disk: Disk, root: Root, clean: Option<i64>) -> Result<Looked, StoreError> {
    let mut scope = Scope::new(disk);
    let result = look_in(&mut scope, &root, clean).await;
    scope.finish().await;
    result
}

async fn look_in(scope: &mut Scope, root: &Root, clean: Option<i64>) -> Result<Looked, StoreError> {
    let top = scope.open_root(root).await?;
    let new = scope.open_dir(top, b"new").await.at(b"new")?;
    let mut looked = Looked::default();
    for entry in scope.disk.list(new).await.at(b"new")? {
        match core::str::from_utf8(&entry.name) {
            // A directory cannot be moved away by who does not own it; it is no drop, and harms nobody.
            _ if entry.kind == Kind::Directory => {}
            Ok(name) if is_name(&entry.name) => looked.names.push(name.into()),
            Ok(_) | Err(_) => {
                if set_aside(scope, top, new, &entry.name).await {
                    let name = String::from_utf8_lossy(&entry.name).into_owned();
                    looked.strange.push((name, "its name is not that of a drop"));
                }
            }
        }
    }
    looked.names.sort();
    if let Some(now) = clean
        && let Ok(tmp) = scope.open_dir(top, b"tmp").await
    {
        for entry in scope.disk.list(tmp).await.unwrap_or_default() {
            let stat = scope.disk.stat(tmp, &entry.name).await;
            if stat.is_ok_and(|stat| seconds(stat.ctime_ns) < now - DEBRIS_SECONDS) {
                let _ = scope.disk.unlink(tmp, &entry.name).await;
            }
        }
    }
    Ok(looked)
}

/// Takes one drop.
///
/// # Errors
/// [`StoreError`]; the drop is still there, to be tried again.
pub(super) async fn take(disk: Disk, context: Arc<StoreContext>, job: Job) -> Result<PickedUp, StoreError> {
    let mut scope = Scope::new(disk);
    let result = take_in(&mut scope, &context, &job).await;
    scope.finish().await;
    result
}

async fn take_in(scope: &mut Scope, context: &StoreContext, job: &Job) -> Result<PickedUp, StoreError> {
    let top = scope.open_root(&job.drop).await?;
    let new = scope.open_dir(top, b"new").await.at(b"new")?;
    let name = job.id.as_bytes();
    let opened = scope.disk.open_file(new, name).await;
    let refused = match opened {
        Ok((file, stat)) => {
            let file = scope.hold(file);
            match read_drop(&scope.disk, file, stat, job).await? {
                Ok((drop, offset)) => {
                    let letter = Letterbox { file, stat, offset, drop };
                    let mut story = deliver(scope, context, job, &letter).await?;
                    let removed = match scope.disk.unlink(new, name).await {
                        Ok(()) | Err(Errno::NotFound) => scope.disk.sync_dir(new).await,
                        Err(errno) => Err(errno),
                    };
                    story.left_behind = removed.at(name).err();
                    return Ok(PickedUp::Taken(Box::new(story)));
                }
                Err(why) => why,
            }
        }
        Err(Errno::NotFound) => return Ok(PickedUp::Gone),
        Err(Errno::Loop | Errno::IsDirectory | Errno::Access | Errno::Other(_)) => {
            "it is no plain file that can be read"
        }
        Err(errno) => return Err(errno).at(name),
    };
    let moved = set_aside(scope, top, new, name).await;
    Ok(PickedUp::SetAside { why: refused, moved })
}

/// Moves a file out of the way.
async fn set_aside(scope: &mut Scope, top: Handle, new: Handle, name: &[u8]) -> bool {
    match scope.open_dir(top, b"cur").await {
        Ok(cur) => scope.disk.rename(new, name, cur, name).await.is_ok(),
        Err(_) => false,
    }
}

/// An open drop, its envelope read.
struct Letterbox {
    file: Handle,
    stat: Stat,
    /// Where the message begins.
    offset: u64,
    drop: Drop,
}

async fn read_drop(
    disk: &Disk,
    file: Handle,
    stat: Stat,
    job: &Job,
) -> Result<Result<(Drop, u64), &'static str>, StoreError> {
    if stat.links != 1 {
        return Ok(Err("it has other names, too"));
    }
    let limits = job.site.limits.pickup;
    for len in [ENVELOPE_BYTES, limits.envelope_bytes_max] {
        let beginning = disk.read(file, 0, len).await.at(job.id.as_bytes())?;
        if let Some((drop, at)) = Drop::from_file(&beginning, limits.recipients_max) {
            return Ok(Ok((drop, at as u64)));
        }
        if beginning.len() < len {
            break;
        }
    }
    Ok(Err("it has no envelope of this version"))
}

/// One recipient, and where its mail goes.
struct Addressee {
    address: String,
    accounts: Vec<Arc<Account>>,
    remote: Vec<Arc<str>>,
}

/// Brings a mail to everybody who can be had, and tells of the others.
async fn deliver(
    scope: &mut Scope,
    context: &StoreContext,
    job: &Job,
    letter: &Letterbox,
) -> Result<Story, StoreError> {
    let Letterbox { stat, drop, .. } = letter;
    let site = &job.site;
    let from = match drop.from.as_deref() {
        Some("") => String::new(),
        Some(from) => qualified(site, from).unwrap_or_default(),
        None => qualified(site, &drop.user).unwrap_or_default(),
    };
    let mut story = Story { user: stat.owner, from, ..Story::default() };
    let mut addressees = Vec::new();
    for recipient in &drop.recipients {
        match resolve(site, recipient) {
            Ok(addressee) => addressees.push(addressee),
            Err(reply) => story.failed.push((recipient.clone(), words(reply))),
        }
    }
    let size_max = site.limits.message_bytes_max;
    let fault = (stat.size.saturating_sub(letter.offset) > size_max).then_some(Reply::MessageTooBig);
    let result = match fault {
        Some(reply) => Err(reply),
        None => store(scope, context, job, letter, &mut addressees, &mut story).await?,
    };
    if let Err(reply) = result {
        let all = addressees.into_iter().map(|addressee| (addressee.address, words(reply)));
        story.failed.extend(all);
    }
    if !story.failed.is_empty() && drop.notify.is_none_or(|notify| notify.failure) {
        story.told = tell(scope, context, job, letter, &story).await?;
    }
    Ok(story)
}

/// A refusal of the whole message.
fn refusal(error: &StoreError) -> Option<Reply> {
    match error.kind {
        StoreErrorKind::TooBig => Some(Reply::MessageTooBig),
        StoreErrorKind::Cannot => Some(Reply::MailLoop),
        _ => None,
    }
}

/// Queues and delivers; `Ok(Err(…))` where nobody may have it.
async fn store(
    scope: &mut Scope,
    context: &StoreContext,
    job: &Job,
    letter: &Letterbox,
    addressees: &mut Vec<Addressee>,
    story: &mut Story,
) -> Result<Result<(), Reply>, StoreError> {
    loop {
        match attempt(scope, context, job, letter, addressees, story).await {
            Ok(()) => return Ok(Ok(())),
            // Where there is a mailbox that has no room there is only this one: the others get the mail.
            Err(error)
                if matches!(error.kind, StoreErrorKind::MailboxFull | StoreErrorKind::MailboxTooSmall) =>
            {
                let full = match error.kind {
                    StoreErrorKind::MailboxFull => Reply::MailboxFull,
                    _ => Reply::MailboxTooSmall,
                };
                let before = story.failed.len();
                for addressee in addressees.iter_mut().filter(|addressee| !addressee.accounts.is_empty()) {
                    addressee.accounts.clear();
                    story.failed.push((addressee.address.clone(), words(full)));
                }
                if story.failed.len() == before {
                    return Err(error);
                }
                addressees.retain(|addressee| !addressee.remote.is_empty());
            }
            Err(error) => match refusal(&error) {
                Some(reply) => return Ok(Err(reply)),
                None => return Err(error),
            },
        }
    }
}

async fn attempt(
    scope: &mut Scope,
    context: &StoreContext,
    job: &Job,
    letter: &Letterbox,
    addressees: &[Addressee],
    story: &mut Story,
) -> Result<(), StoreError> {
    let base = context.named_base(seconds(letter.stat.mtime_ns), &job.id);
    let mut accounts: Vec<Arc<Account>> = Vec::new();
    for account in addressees.iter().flat_map(|addressee| &addressee.accounts) {
        if !accounts.iter().any(|known| known.maildir == account.maildir) {
            accounts.push(account.clone());
        }
    }
    let all = accounts.iter().map(|account| DeliveryTarget {
        root: Root::new(&account.maildir),
        folder: FolderName::inbox(),
        quota: account.quota,
    });
    let mut targets: Vec<DeliveryTarget> = all.collect();
    targets.sort();
    if job.suspect {
        targets = those_without(scope, targets, &base).await?;
    }
    let remote = recipients(addressees, &letter.drop);
    story.remote = remote.iter().map(|recipient| recipient.forward_path.clone()).collect();
    let queues = !remote.is_empty() && !job.queued_before;
    if queues && job.queue_full {
        return Err(StoreError::new(StoreErrorKind::NoSpace, b"queue"));
    }
    let body = Body::read_from(&scope.disk, reader(job, letter, story), base).await?;
    story.shown = Shown::of(body.beginning());
    if queues {
        let ascii = |text: &str| text.is_ascii();
        let utf8 = !ascii(&story.from) || !story.remote.iter().all(|to| ascii(to));
        let envelope = Envelope {
            arrived: job.now,
            reverse_path: story.from.clone(),
            smtputf8: utf8,
            return_full: letter.drop.return_full,
            envelope_id: letter.drop.envelope_id.clone(),
            recipients: remote,
            ..Envelope::default()
        };
        let copies = copies(targets, &accounts, &letter.drop);
        let mail = Spooling { id: &job.id, envelope, signing: job.signing.clone(), copies };
        let spooled = spool_mail(scope, context, &job.spool, mail, body).await?;
        story.size = spooled.envelope.size;
        accounts.retain(|account| !is_late(&spooled.late, account));
        story.queued = Some(spooled);
    } else if !targets.is_empty() {
        story.size = deliver_to(scope, context, targets, Message::Body(body)).await?.size;
    }
    story.delivered = accounts;
    Ok(())
}

/// The recipients elsewhere, each once.
fn recipients(addressees: &[Addressee], drop: &Drop) -> Vec<Recipient> {
    let mut found: Vec<Recipient> = Vec::new();
    for address in addressees.iter().flat_map(|addressee| &addressee.remote) {
        if !found.iter().any(|known| *known.forward_path == **address) {
            found.push(Recipient { notify: drop.notify, ..Recipient::new(address) });
        }
    }
    found
}

/// The copies for these mailboxes of ours.
fn copies(targets: Vec<DeliveryTarget>, accounts: &[Arc<Account>], drop: &Drop) -> Vec<LocalCopy> {
    let copy = |target: DeliveryTarget| {
        let account = accounts.iter().find(|account| *account.maildir == *target.root.path)?;
        let address = String::from_utf8_lossy(&account.address);
        Some(LocalCopy { target, recipient: Recipient { notify: drop.notify, ..Recipient::new(&address) } })
    };
    targets.into_iter().filter_map(copy).collect()
}

/// The mailboxes that have not had the mail of this base name. What a try that was cut off has left of it is removed.
async fn those_without(
    scope: &mut Scope,
    targets: Vec<DeliveryTarget>,
    base: &[u8],
) -> Result<Vec<DeliveryTarget>, StoreError> {
    let mut without = Vec::new();
    for target in targets {
        let mut scope = Scope::new(scope.disk.clone());
        let has = has_had(&mut scope, &target.root, base).await;
        scope.finish().await;
        if !has? {
            without.push(target);
        }
    }
    Ok(without)
}

/// The message as it is stored: trace fields, completed header, body.
fn reader(job: &Job, letter: &Letterbox, story: &Story) -> Reader {
    let Letterbox { file, stat, offset, drop } = letter;
    let site = &job.site;
    let only = match drop.recipients.as_slice() {
        [only] => qualified(site, only),
        _ => None,
    };
    let mut trace = Vec::with_capacity(512);
    write_return_path(&mut trace, &story.from);
    let protocol = Protocol { extended: false, tls: false, authenticated: false, utf8: false };
    Received {
        client_name: "",
        client_host: None,
        client_address: None,
        host: site.hostname(),
        protocol,
        local_user: Some(stat.owner),
        tls: None,
        id: &job.id,
        recipient: only.as_deref(),
        date: &format_rfc5322(job.now, 0),
    }
    .write(&mut trace);
    // When it was written: the server may have been down since.
    let unix_seconds = seconds(stat.mtime_ns).min(job.now);
    let setup = MessageSetup {
        id: job.id.clone(),
        trace,
        completion: Some(Completion { unix_seconds, hostname: site.hostname().into() }),
        bytes_max: site.limits.message_bytes_max,
        received_fields_max: site.limits.received_fields_max,
        refuse_bare_newlines: false,
    };
    let author = qualified(site, &drop.user).unwrap_or_default();
    let completing = Completing {
        address: if story.from.is_empty() { author } else { story.from.clone() },
        name: drop.name.clone(),
        domain: first_domain(site),
        header_bytes_max: site.limits.pickup.header_bytes_max,
    };
    Reader {
        file: *file,
        name: job.id.as_bytes().into(),
        offset: *offset,
        author: Some(completing),
        message: Passing::new(setup, None),
        eol: ToLf::new(),
        over: false,
    }
}

/// Tells the sender, or the postmaster where there is no sender who could be told.
async fn tell(
    scope: &mut Scope,
    context: &StoreContext,
    job: &Job,
    letter: &Letterbox,
    story: &Story,
) -> Result<Option<Told>, StoreError> {
    let site = &job.site;
    let mut to = story.from.clone();
    let mut goal = if to.is_empty() { Goal::default() } else { notices::goal(site, &to) };
    if goal.is_empty() {
        to = format!("postmaster@{}", first_domain(site));
        goal = notices::goal(site, &to);
    }
    let id = notice_id(&job.id);
    let base = context.named_base(seconds(letter.stat.mtime_ns), &id);
    if job.suspect {
        goal.targets = those_without(scope, goal.targets, &base).await?;
    }
    if job.told_before {
        goal.remote.clear();
    }
    if goal.is_empty() {
        return Ok(None);
    }
    let mut original =
        scope.disk.read(letter.file, letter.offset, RETURNED_BYTES_MAX).await.at(job.id.as_bytes())?;
    let whole = letter.drop.return_full == Some(true)
        && letter.stat.size.saturating_sub(letter.offset) <= RETURNED_BYTES_MAX as u64;
    if !whole {
        let end = compose::header_end(&original);
        original.truncate(end.unwrap_or_else(|| memchr::memrchr(b'\n', &original).map_or(0, |at| at + 1)));
    }
    let about = story.failed.iter().map(|(address, reply)| About {
        forward_path: address,
        original: None,
        remote: None,
        reply,
    });
    let notice = Notice {
        host: site.hostname(),
        to: &to,
        id: &id,
        now: job.now,
        arrived: seconds(letter.stat.mtime_ns).min(job.now),
        envelope_id: letter.drop.envelope_id.as_deref(),
        utf8: story.failed.iter().any(|(address, _)| !address.is_ascii()),
        action: Action::Failed,
        recipients: about.collect(),
        returned: if whole { Returned::Full } else { Returned::Header },
    };
    let mut lf = Vec::with_capacity(original.len());
    let mut eol = ToLf::new();
    eol.feed(&original, &mut lf);
    eol.finish(&mut lf);
    let message = [notice.head(), lf, notice.tail()].concat();
    let roots = goal.targets.iter().map(|target| target.root.clone()).collect();
    let letter =
        Letter { id: id.to_string(), goal, now: job.now, signing: job.signing.clone(), named: Some(base) };
    let queued = notices::post(scope, context, &job.spool, letter, message).await?;
    Ok(Some(Told { to, queued, roots }))
}

/// Where mail for an address goes.
fn resolve(site: &Site, text: &str) -> Result<Addressee, Reply> {
    let address = qualified(site, text).ok_or(Reply::UnknownUser)?;
    let mailbox = Mailbox::parse(&address).map_err(|_| Reply::UnknownUser)?;
    let (local, domain) = (mailbox.local.unquoted().into_owned(), mailbox.domain.to_string());
    let accounts = |ids: Vec<crate::site::AccountId>| {
        ids.into_iter().filter_map(|id| site.account(id).cloned()).collect::<Vec<_>>()
    };
    let (accounts, remote) = match site.resolve_recipient(local.as_bytes(), Some(domain.as_bytes())) {
        Resolution::Local(ids) => (accounts(ids), Vec::new()),
        Resolution::Forwarded { accounts: ids, remote } => (accounts(ids), remote),
        Resolution::NoSuchUser => return Err(Reply::UnknownUser),
        Resolution::NotLocal if site.is_local_domain(domain.as_bytes()) => return Err(Reply::RouteDenied),
        Resolution::NotLocal if site.sending.is_some() => (Vec::new(), Vec::from([Arc::from(&*address)])),
        Resolution::NotLocal => return Err(Reply::NoWayOut),
    };
    Ok(Addressee { address, accounts, remote })
}

/// An address with a domain; `None` where there is none to be made of it.
fn qualified(site: &Site, text: &str) -> Option<String> {
    let text = text.trim();
    if Mailbox::parse(text).is_ok() {
        return Some(text.into());
    }
    let address = format!("{text}@{}", first_domain(site));
    Mailbox::parse(&address).is_ok().then_some(address)
}

fn first_domain(site: &Site) -> String {
    site.domains().next().map(|domain| String::from_utf8_lossy(domain).into_owned()).unwrap_or_default()
}

fn words(reply: Reply) -> String {
    format!("{} {} {}", reply.code(), reply.enhanced(), reply.text())
}

fn seconds(nanoseconds: i64) -> i64 {
    nanoseconds.div_euclid(1_000_000_000)
}
