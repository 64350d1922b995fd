//! The queue on disk: two files for each message, changed so that the power may go at any moment.
//!
//! ```text
//! nothing ─write, sync─▶ tmp/<unique>                             the message is whole
//! tmp/<unique> ─rename─▶ mail/<id>.m                              it has no envelope: nobody was promised anything
//! mail/<id>.m ─write mail/<id>.t, sync, rename, sync mail/─▶ + mail/<id>.e     queued: the answer is 250
//! mail/<id>.e ─write mail/<id>.t, sync, rename over, sync mail/─▶ mail/<id>.e  an outcome is noted
//! mail/<id>.e ─the same, one of our mailboxes has failed─▶ mail/<id>.e         its copy is queued, too, before the 250
//! mail/<id>.e ─unlink, sync mail/─▶ mail/<id>.m alone ─unlink─▶ nothing        every recipient is decided
//! ```
//!
//! After a crash [`recover`] finds: files in `tmp/` and `.t` files, half written: removed; a message without an envelope,
//! which is not queued yet or not any more: removed; both: queued. An envelope without its message, or one that cannot be
//! read, is damage that no crash of ours makes: both are left where they are and reported. Only names are looked at before
//! the server serves; envelopes are read when their turn comes, by [`load`].
//!
//! ```
//! # use std::sync::Arc;
//! # use postier_core::disk::{Op, Resume, Task, TaskInput, TaskStep};
//! # use postier_core::maildir::context::{HostFacts, Root, StoreContext};
//! use postier_core::queue::envelope::{Envelope, Recipient};
//! use postier_core::queue::spool::spool;
//! # let facts = HostFacts { host: b"mx".to_vec(), pid: 7, ..HostFacts::default() };
//! # let context = Arc::new(StoreContext::new(facts));
//! let envelope = Envelope { recipients: vec![Recipient::new("bob@example.net")], ..Envelope::default() };
//! let root = Root::new(b"/var/lib/postier/queue");
//! let mut task = Task::new(|disk| spool(disk, context, root, "4f3a".into(), envelope, None, vec![]));
//! task.push_input(TaskInput::Chunk(b"Subject: hello\n\nhow are you?\n".to_vec()));
//! task.push_input(TaskInput::Commit);
//! assert!(matches!(task.resume(Resume::Start), TaskStep::Op(Op::OpenRoot { create: true, .. })));
//! ```

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::envelope::{Envelope, Recipient};
use crate::disk::{Disk, Errno, Handle};
use crate::dkim::Keys;
use crate::dkim::signer::{Signed, Unsigned};
use crate::maildir::body::{Body, Source};
use crate::maildir::context::{At, Root, StoreContext, StoreError, StoreErrorKind};
use crate::maildir::deliver::{
    DeliveryTarget, Each, Message, deliver_each, deliver_to, has_had, take_back_each,
};

use crate::maildir::durable::make_above_sure;
use crate::maildir::scope::Scope;

/// Octets of an envelope that are read; the largest transaction stays far below.
const ENVELOPE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Names a queued message: letters, digits and `-`, the name of its transaction.
pub type QueueId = Arc<str>;

/// What [`recover`] found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// What is queued, in the order of names; when it is to be tried its envelope says.
    pub queued: Vec<QueueId>,
    /// Files that should not be there as they are, for a person to look at.
    pub damaged: Vec<Box<[u8]>>,
}

#[derive(Clone, Copy)]
struct Place {
    top: Handle,
    tmp: Handle,
    mail: Handle,
}

/// Signs a message that leaves.
#[derive(Clone, Debug)]
pub struct Signing {
    /// With the author's domain's.
    pub keys: Arc<Keys>,
    /// In seconds since 1970 (UTC).
    pub now: i64,
}

/// A copy for a mailbox of ours.
#[derive(Clone, Debug)]
pub struct LocalCopy {
    /// Where it goes.
    pub target: DeliveryTarget,
    /// The recipient in the queue, if the mailbox cannot be had now: the account's address, and when to tell the sender.
    pub recipient: Recipient,
}

/// What has been queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spooled {
    /// With its sizes, and the signature.
    pub envelope: Envelope,
    /// What came of signing it, where that was wanted.
    pub signed: Option<Result<Signed, Unsigned>>,
    /// Mailboxes of ours that could not be had, and why: their copies are queued.
    pub late: Vec<Late>,
}

/// A mailbox that could not be had when its mail came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// Whose.
    pub root: Root,
    /// The account's address.
    pub address: String,
    /// What was wrong.
    pub error: StoreError,
}

/// Queues the message that comes as input (LF line ends), and delivers it to mailboxes of ours, if any. A mailbox that
/// cannot be had now gets its copy from the queue. Success means that all is durable; the envelope comes back with its
/// sizes. A Return-Path field in front is for the mailboxes only, a signature for what leaves.
///
/// # Errors
/// [`StoreError`], of a mailbox too if it is the only one and has no room; nothing is left of anything, as far as removing
/// it works.
pub async fn spool(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
    id: QueueId,
    envelope: Envelope,
    signing: Option<Signing>,
    copies: Vec<LocalCopy>,
) -> Result<Spooled, StoreError> {
    let body = Body::gather(&disk).await?;
    let mut scope = Scope::new(disk);
    let mail = Spooling { id: &id, envelope, signing, copies };
    let result = spool_mail(&mut scope, &context, &root, mail, body).await;
    scope.finish().await;
    result
}

/// A mail that is to be queued, and delivered to mailboxes of ours.
pub(crate) struct Spooling<'s> {
    pub(crate) id: &'s str,
    pub(crate) envelope: Envelope,
    pub(crate) signing: Option<Signing>,
    pub(crate) copies: Vec<LocalCopy>,
}

/// Queues and delivers a message as [`spool`] does.
///
/// # Errors
/// As [`spool`].
pub(crate) async fn spool_mail(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    mail: Spooling<'_>,
    mut body: Body,
) -> Result<Spooled, StoreError> {
    let Spooling { id, envelope, signing, copies } = mail;
    let (field, named) = (body.take_return_path(), body.name());
    let named = named.unwrap_or_else(|| context.named_base(envelope.arrived, id));
    let mut spooled = spool_body(scope, context, root, id, envelope, signing, body).await?;
    if copies.is_empty() {
        return Ok(spooled);
    }
    let copied = async {
        let targets = copies.iter().map(|copy| copy.target.clone()).collect();
        let (dir, name) = (open_place(scope, root).await?.mail, message_name(id));
        let source = source(dir, &name, &spooled.envelope, &field, &named);
        let each = deliver_each(scope, context, targets, &source).await?;
        queue_late(scope, context, root, id, &mut spooled, &copies, each, &named).await
    };
    if let Err(error) = copied.await {
        // Nobody knows of it yet; what stays behind is sent at the next start.
        let _ = remove_in(scope, root, id).await;
        return Err(error);
    }
    Ok(spooled)
}

/// A queued message as what a mailbox gets: with `field` in front, under the name `named`.
fn source<'s>(
    dir: Handle,
    name: &'s [u8],
    envelope: &Envelope,
    field: &'s [u8],
    named: &'s [u8],
) -> Source<'s> {
    let Envelope { size, wire_size, eight_bit, .. } = *envelope;
    Source { dir, name, size, wire_size, eight_bit, field, named: Some(named) }
}

/// Queues the copies of mailboxes that have failed, durably.
#[expect(clippy::too_many_arguments, reason = "all of one mail")]
async fn queue_late(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    id: &str,
    spooled: &mut Spooled,
    copies: &[LocalCopy],
    each: Each,
    named: &[u8],
) -> Result<(), StoreError> {
    for (target, error) in &each.failed {
        let Some(copy) = copies.iter().find(|copy| copy.target.root == target.root) else { continue };
        let mailbox = Some(String::from_utf8_lossy(named).into_owned());
        spooled.envelope.recipients.push(Recipient { mailbox, ..copy.recipient.clone() });
        let address = copy.recipient.forward_path.clone();
        spooled.late.push(Late { root: target.root.clone(), address, error: error.clone() });
    }
    if spooled.late.is_empty() {
        return Ok(());
    }
    let noted = note_in(scope, root, id, &spooled.envelope).await;
    if noted.is_err() {
        take_back_each(scope, context, &each).await;
    }
    noted
}

/// Delivers a queued message to the mailbox of one of its recipients.
///
/// # Errors
/// [`StoreError`]; nothing is left visible, as far as removing it works.
pub(crate) async fn deliver_queued(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
    id: QueueId,
    envelope: Arc<Envelope>,
    target: DeliveryTarget,
    named: String,
) -> Result<(), StoreError> {
    let mut scope = Scope::new(disk);
    let result =
        deliver_queued_in(&mut scope, &context, &root, &id, &envelope, target, named.as_bytes()).await;
    scope.finish().await;
    result
}

async fn deliver_queued_in(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    id: &str,
    envelope: &Envelope,
    target: DeliveryTarget,
    named: &[u8],
) -> Result<(), StoreError> {
    if has_had(scope, &target.root, named).await? {
        return Ok(());
    }
    let field = format!("Return-Path: <{}>\n", envelope.reverse_path).into_bytes();
    let (dir, name) = (open_place(scope, root).await?.mail, message_name(id));
    let source = source(dir, &name, envelope, &field, named);
    deliver_to(scope, context, [target].into(), Message::File(source)).await.map(|_| ())
}

/// Queues a message that is in memory.
///
/// # Errors
/// As [`spool`].
pub(crate) async fn spool_whole(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    id: &str,
    envelope: Envelope,
    signing: Option<Signing>,
    message: Vec<u8>,
) -> Result<Spooled, StoreError> {
    spool_body(scope, context, root, id, envelope, signing, Body::whole(message)).await
}

async fn spool_body(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    id: &str,
    mut envelope: Envelope,
    signing: Option<Signing>,
    mut body: Body,
) -> Result<Spooled, StoreError> {
    let place = open_place(scope, root).await?;
    if signing.is_some() {
        body.watch();
    }
    let staged = body.store(scope, context, place.tmp, None).await?;
    (envelope.size, envelope.wire_size) = (staged.size, staged.wire_size);
    envelope.eight_bit |= staged.eight_bit;
    let signed =
        signing.zip(body.take_signer()).map(|(signing, signer)| signer.finish(&signing.keys, signing.now));
    if let Some(Ok(signed)) = &signed {
        envelope.signature.clone_from(&signed.fields);
    }
    let result = show(scope, place, &staged.temporary, id, &envelope).await;
    if result.is_err() {
        // An envelope that cannot be removed keeps its message, and is sent at the next start.
        let _ = unlink_both(&scope.disk, place, id).await;
        let _ = scope.disk.unlink(place.tmp, &staged.temporary).await;
    }
    result.map(|()| Spooled { envelope, signed, late: Vec::new() })
}

async fn show(
    scope: &mut Scope,
    place: Place,
    temporary: &[u8],
    id: &str,
    envelope: &Envelope,
) -> Result<(), StoreError> {
    scope.disk.rename(place.tmp, temporary, place.mail, &message_name(id)).await.at(temporary)?;
    write_envelope(scope, place, id, envelope).await
}

/// Replaces the envelope of a queued message, durably.
///
/// # Errors
/// [`StoreError`]; the old one stands.
pub async fn note(disk: Disk, root: Root, id: QueueId, envelope: Envelope) -> Result<(), StoreError> {
    let mut scope = Scope::new(disk);
    let result = note_in(&mut scope, &root, &id, &envelope).await;
    scope.finish().await;
    result
}

async fn note_in(scope: &mut Scope, root: &Root, id: &str, envelope: &Envelope) -> Result<(), StoreError> {
    let place = open_place(scope, root).await?;
    write_envelope(scope, place, id, envelope).await
}

/// Writes an envelope, or a new one over the old, durably. One message has one writer at a time.
async fn write_envelope(
    scope: &mut Scope,
    place: Place,
    id: &str,
    envelope: &Envelope,
) -> Result<(), StoreError> {
    let temporary = format!("{id}.t").into_bytes();
    scope.replace_file(place.mail, &temporary, &envelope_name(id), envelope.to_file()).await?;
    scope.disk.sync_dir(place.mail).await.at(b"mail")
}

/// Removes a message all of whose recipients are decided.
///
/// # Errors
/// [`StoreError`]; if the envelope is still there the message is, too.
pub async fn remove(disk: Disk, root: Root, id: QueueId) -> Result<(), StoreError> {
    let mut scope = Scope::new(disk);
    let result = remove_in(&mut scope, &root, &id).await;
    scope.finish().await;
    result
}

async fn remove_in(scope: &mut Scope, root: &Root, id: &str) -> Result<(), StoreError> {
    let place = open_place(scope, root).await?;
    unlink_both(&scope.disk, place, id).await
}

/// In this order, for an envelope never stands without its message.
async fn unlink_both(disk: &Disk, place: Place, id: &str) -> Result<(), StoreError> {
    for name in [envelope_name(id), message_name(id)] {
        match disk.unlink(place.mail, &name).await {
            Ok(()) | Err(Errno::NotFound) => {}
            Err(errno) => return Err(errno).at(&name),
        }
        if name.ends_with(b".e") {
            disk.sync_dir(place.mail).await.at(b"mail")?;
        }
    }
    Ok(())
}

/// Reads the envelope of a queued message.
///
/// # Errors
/// [`StoreErrorKind::NotFound`], also for one that is damaged.
pub async fn load(disk: Disk, root: Root, id: QueueId) -> Result<Envelope, StoreError> {
    let mut scope = Scope::new(disk);
    let result = load_in(&mut scope, &root, &id).await;
    scope.finish().await;
    result
}

async fn load_in(scope: &mut Scope, root: &Root, id: &str) -> Result<Envelope, StoreError> {
    let place = open_place(scope, root).await?;
    let name = envelope_name(id);
    let (file, _) = scope.disk.read_file(place.mail, &name, ENVELOPE_BYTES_MAX).await.at(&name)?;
    Envelope::from_file(&file).ok_or(StoreError::new(StoreErrorKind::NotFound, &name))
}

/// Reads the beginning of a queued message: its header with the blank line behind it, or all of it, of either no more than
/// `bytes_max` octets, cut behind a line end.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn read_beginning(
    scope: &mut Scope,
    root: &Root,
    id: &str,
    whole: bool,
    bytes_max: usize,
) -> Result<Vec<u8>, StoreError> {
    let mut octets = read_in(scope, root, id, 0, bytes_max).await?;
    let header = memchr::memmem::find(&octets, b"\n\n").map(|end| end + 1).filter(|_| !whole);
    let last_line = || memchr::memrchr(b'\n', &octets).map_or(0, |end| end + 1);
    let end = header.unwrap_or_else(|| if octets.len() < bytes_max { octets.len() } else { last_line() });
    octets.truncate(end);
    Ok(octets)
}

/// Reads up to `len` octets of a queued message; none at its end.
///
/// # Errors
/// [`StoreError`].
pub async fn read(
    disk: Disk,
    root: Root,
    id: QueueId,
    offset: u64,
    len: usize,
) -> Result<Vec<u8>, StoreError> {
    let mut scope = Scope::new(disk);
    let result = read_in(&mut scope, &root, &id, offset, len).await;
    scope.finish().await;
    result
}

async fn read_in(
    scope: &mut Scope,
    root: &Root,
    id: &str,
    offset: u64,
    len: usize,
) -> Result<Vec<u8>, StoreError> {
    let place = open_place(scope, root).await?;
    let name = message_name(id);
    let (file, _) = scope.disk.open_file(place.mail, &name).await.at(&name)?;
    let file = scope.hold(file);
    scope.disk.read(file, offset, len).await.at(&name)
}

/// Looks at what a former process, or a crash, has left: see the module's manual.
///
/// # Errors
/// [`StoreError`] if the directories cannot be listed.
pub async fn recover(disk: Disk, root: Root) -> Result<Recovered, StoreError> {
    let mut scope = Scope::new(disk);
    let result = recover_in(&mut scope, &root).await;
    scope.finish().await;
    result
}

async fn recover_in(scope: &mut Scope, root: &Root) -> Result<Recovered, StoreError> {
    let place = open_place(scope, root).await?;
    let disk = &scope.disk;
    // A former process may have made them and then have had no time to sync.
    disk.sync_dir(place.top).await.at(&root.path)?;
    make_above_sure(disk, root).await?;
    for debris in disk.list(place.tmp).await.at(b"tmp")? {
        let _ = disk.unlink(place.tmp, &debris.name).await;
    }
    let mut names = disk.list(place.mail).await.at(b"mail")?;
    // The two files of a message come together, and the envelope first.
    names.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let mut recovered = Recovered::default();
    let mut envelope: Option<QueueId> = None;
    for entry in names {
        let name = core::str::from_utf8(&entry.name).ok().and_then(|name| name.rsplit_once('.'));
        match name {
            Some((id, "m")) => match envelope.take_if(|of| **of == *id) {
                Some(id) => recovered.queued.push(id),
                None => {
                    let _ = disk.unlink(place.mail, &entry.name).await;
                }
            },
            Some((id, "e")) => {
                recovered.damaged.extend(envelope.replace(id.into()).map(|id| envelope_name(&id).into()));
            }
            Some((_, "t")) => {
                let _ = disk.unlink(place.mail, &entry.name).await;
            }
            _ => recovered.damaged.push(entry.name),
        }
    }
    recovered.damaged.extend(envelope.map(|id| envelope_name(&id).into()));
    Ok(recovered)
}

async fn open_place(scope: &mut Scope, root: &Root) -> Result<Place, StoreError> {
    let top = scope.disk.open_root(&root.path, true).await.at(&root.path)?;
    let top = scope.hold(top);
    Ok(Place {
        top,
        tmp: scope.open_or_make_dir(top, b"tmp").await?,
        mail: scope.open_or_make_dir(top, b"mail").await?,
    })
}

fn message_name(id: &str) -> Vec<u8> {
    format!("{id}.m").into_bytes()
}

fn envelope_name(id: &str) -> Vec<u8> {
    format!("{id}.e").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::TaskInput;
    use crate::maildir::memdisk::{MemDisk, context};
    use crate::queue::envelope::{Recipient, State};
    use alloc::string::String;

    fn root() -> Root {
        Root::new(b"/q")
    }

    fn disk() -> MemDisk {
        let mut disk = MemDisk::empty();
        disk.make_root(b"/q");
        disk.put_dir("/q/tmp");
        disk.put_dir("/q/mail");
        disk.settle();
        disk
    }

    fn envelope() -> Envelope {
        Envelope {
            arrived: 1_700_000_000,
            reverse_path: "me@us.test".into(),
            recipients: Vec::from([Recipient::new("bob@them.test")]),
            ..Envelope::default()
        }
    }

    const TEXT: &[u8] = b"Subject: x\n\nhello\n";

    fn put(disk: &mut MemDisk, id: &str) -> Option<Result<Envelope, StoreError>> {
        let inputs = Vec::from([TaskInput::Chunk(TEXT.to_vec()), TaskInput::Commit]);
        let id: QueueId = id.into();
        let put = disk
            .run(inputs, |disk| spool(disk, Arc::new(context()), root(), id, envelope(), None, Vec::new()));
        put.map(|result| result.map(|spooled| spooled.envelope))
    }

    fn look(disk: &mut MemDisk) -> Recovered {
        disk.run(Vec::new(), |disk| recover(disk, root())).unwrap().unwrap()
    }

    /// When the only message is to be tried next.
    fn next(disk: &mut MemDisk, recovered: &Recovered) -> Option<i64> {
        let [id] = recovered.queued.as_slice() else { panic!("{recovered:?}") };
        let id = id.clone();
        disk.run(Vec::new(), |disk| load(disk, root(), id)).unwrap().unwrap().next()
    }

    fn ids(recovered: &Recovered) -> Vec<&str> {
        recovered.queued.iter().map(|id| &**id).collect()
    }

    #[test]
    fn a_message_goes_in_is_read_noted_and_removed() {
        let mut disk = disk();
        let stored = put(&mut disk, "a1").unwrap().unwrap();
        assert_eq!((stored.size, stored.wire_size), (18, 21));
        assert_eq!(disk.names("/q/mail"), ["a1.e", "a1.m"]);
        assert!(disk.names("/q/tmp").is_empty());
        let loaded = disk.run(Vec::new(), |disk| load(disk, root(), "a1".into())).unwrap().unwrap();
        assert_eq!(loaded, stored);
        let octets = disk.run(Vec::new(), |disk| read(disk, root(), "a1".into(), 9, 4)).unwrap().unwrap();
        assert_eq!(octets, b"x\n\nh");
        let mut noted = loaded;
        noted.recipients[0].state = State::Delivered { at: 1, reply: "250 ok".into() };
        let wanted = noted.clone();
        disk.run(Vec::new(), |disk| note(disk, root(), "a1".into(), noted)).unwrap().unwrap();
        let loaded = disk.run(Vec::new(), |disk| load(disk, root(), "a1".into())).unwrap().unwrap();
        assert_eq!(loaded, wanted);
        disk.run(Vec::new(), |disk| remove(disk, root(), "a1".into())).unwrap().unwrap();
        assert!(disk.names("/q/mail").is_empty());
    }

    #[test]
    fn an_error_at_any_step_leaves_nothing() {
        let steps = {
            let mut disk = disk();
            put(&mut disk, "a1").unwrap().unwrap();
            disk.ops
        };
        for step in 0..steps {
            for errno in [Errno::NoSpace, Errno::Io] {
                let mut disk = disk();
                disk.fail_at = Some((step, errno));
                let result = put(&mut disk, "a1").unwrap();
                if result.is_err() {
                    assert!(disk.names("/q/mail").is_empty(), "step {step}: {:?}", disk.names("/q/mail"));
                    assert!(disk.names("/q/tmp").is_empty(), "step {step}: {:?}", disk.names("/q/tmp"));
                }
                assert_eq!(disk.open_handles(), 0);
            }
        }
    }

    #[test]
    fn errors_that_last_leave_no_envelope_without_its_message() {
        let mut left = 0;
        for step in 0..20 {
            for count in 1..6 {
                let mut disk = disk();
                (disk.fail_at, disk.fail_count) = (Some((step, Errno::Stale)), count);
                let refused = put(&mut disk, "a1").unwrap().is_err();
                disk.kill();
                let recovered = look(&mut disk);
                assert!(recovered.damaged.is_empty(), "{count} from step {step}: {recovered:?}");
                assert!(refused || ids(&recovered) == ["a1"]);
                left += usize::from(refused && ids(&recovered) == ["a1"]);
            }
        }
        assert!(left > 0, "an envelope that could not be removed again");
    }

    #[test]
    fn the_power_may_go_at_any_step_of_coming() {
        for step in 0..40 {
            let mut disk = disk();
            disk.crash_at = Some(step);
            let acknowledged = put(&mut disk, "a1").is_some();
            disk.restart();
            let recovered = look(&mut disk);
            assert!(recovered.damaged.is_empty(), "step {step}: {recovered:?}");
            assert!(disk.names("/q/tmp").is_empty());
            match ids(&recovered).as_slice() {
                [] => assert!(!acknowledged && disk.names("/q/mail").is_empty(), "step {step}"),
                ["a1"] => assert_eq!(disk.read("/q/mail/a1.m").unwrap(), TEXT, "step {step}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_power_may_go_at_any_step_of_noting_and_going() {
        for step in 0..30 {
            let mut disk = disk();
            put(&mut disk, "a1").unwrap().unwrap();
            let mut noted = envelope();
            noted.recipients[0].state = State::Waiting { next: 77, attempts: 1, last: "450 later".into() };
            disk.crash_at = Some(disk.ops + step);
            let done = disk.run(Vec::new(), |disk| note(disk, root(), "a1".into(), noted)).is_some();
            disk.restart();
            let recovered = look(&mut disk);
            assert!(recovered.damaged.is_empty());
            let next = next(&mut disk, &recovered);
            assert!(next == Some(77) || (!done && next == Some(0)), "step {step}: {next:?}");
            let mut decided = envelope();
            decided.recipients[0].state = State::Delivered { at: 1, reply: "250 ok".into() };
            disk.run(Vec::new(), |disk| note(disk, root(), "a1".into(), decided)).unwrap().unwrap();
            assert_eq!(ids(&look(&mut disk)), ["a1"], "it is to be woken, and to go");

            disk.crash_at = Some(disk.ops + step);
            let done = disk.run(Vec::new(), |disk| remove(disk, root(), "a1".into())).is_some();
            disk.restart();
            let recovered = look(&mut disk);
            assert!(recovered.damaged.is_empty());
            assert!(!done || recovered.queued.is_empty());
        }
    }

    #[test]
    fn damage_is_left_for_a_person_to_look_at() {
        let mut disk = disk();
        disk.put_file("/q/mail/a.e", &envelope().to_file());
        disk.put_file("/q/mail/b.e", b"postier-envelope 1\n");
        disk.put_file("/q/mail/b.m", TEXT);
        disk.put_file("/q/mail/stray", b"");
        let recovered = look(&mut disk);
        assert_eq!(ids(&recovered), ["b"], "what an envelope says is read later");
        let error = disk.run(Vec::new(), |disk| load(disk, root(), "b".into())).unwrap().unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::NotFound);
        let damaged: Vec<String> =
            recovered.damaged.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        assert_eq!(damaged, ["a.e", "stray"]);
        assert_eq!(disk.names("/q/mail").len(), 4);
    }
}
