//! A message's octets on their way into `tmp/`: gathered from the owner of the task, written, counted, and sure to be on
//! the disk when the name is that the file gets next ([`Disk::sync_with_name`]).
//!
//! A small message comes whole before the first file operation, so it is written in one piece; of a large one
//! at most [`GATHER_BYTES`] and one chunk are in memory.

use super::context::{At, StoreContext, StoreError, StoreErrorKind};
use super::fetch::splice::{Splice, Splicing};
use super::name::push_sizes;
use super::scope::Scope;
use crate::disk::{Disk, Errno, Handle, TaskInput};
use crate::dkim::signer::Signer;
use crate::machine::Now;
use crate::pickup::reader::Reader;
use crate::wire::eol::CrlfLen;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// How much is gathered before it is written, in octets.
pub(super) const GATHER_BYTES: usize = 128 * 1024;

/// A message that is whole in `tmp/`, waiting to be made visible by another name: durable when that is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Staged {
    /// Its name in `tmp/`.
    pub(crate) temporary: Box<[u8]>,
    /// The base name it gets, sizes included.
    pub(super) base: Box<[u8]>,
    /// Octets of the file.
    pub size: u64,
    /// Octets with CRLF line ends (RFC822.SIZE).
    pub wire_size: u64,
    /// INTERNALDATE in seconds since 1970.
    pub(super) internal_date: i64,
    /// It has octets over 127.
    pub(crate) eight_bit: bool,
}

/// The octets that have come and are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Body {
    buffered: Vec<u8>,
    size: u64,
    wire: CrlfLen,
    eight_bit: bool,
    /// What it may become, with CRLF line ends; known when there are splices in it.
    wire_bytes_max: Option<u64>,
    /// What follows the buffered octets.
    splice: Option<Box<Splice>>,
    /// Where octets come from, if not from the task's owner.
    reader: Option<Box<Reader>>,
    /// The base name it gets, without sizes, if that is not to be one of its own.
    named: Option<Box<[u8]>>,
    committed: bool,
    /// Watches the octets pass, where the message is to be signed.
    signer: Option<Box<Signer>>,
}

impl Body {
    /// Takes the first octets, without any file operation: the whole message, if it is small.
    ///
    /// # Errors
    /// [`StoreErrorKind::Aborted`].
    pub(crate) async fn gather(disk: &Disk) -> Result<Body, StoreError> {
        let mut body = Body::default();
        body.gather_more(disk).await?;
        Ok(body)
    }

    /// A message that is whole already.
    pub(crate) fn whole(octets: Vec<u8>) -> Body {
        let mut body = Body { committed: true, ..Body::default() };
        body.take(octets);
        body
    }

    /// Takes the first octets of a message that another file holds. Its base name is `named`, of which there must be no
    /// other file.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub(crate) async fn read_from(disk: &Disk, reader: Reader, named: Box<[u8]>) -> Result<Body, StoreError> {
        let mut body = Body { reader: Some(Box::new(reader)), named: Some(named), ..Body::default() };
        body.gather_more(disk).await?;
        Ok(body)
    }

    /// Gives it a base name, of which there must be no other file.
    pub(crate) fn named(self, named: Box<[u8]>) -> Body {
        Body { named: Some(named), ..self }
    }

    /// The first octets, before anything of it is stored.
    pub(crate) fn beginning(&self) -> &[u8] {
        &self.buffered
    }

    /// The base name it was given.
    pub(crate) fn name(&self) -> Option<Box<[u8]>> {
        self.named.clone()
    }

    /// Takes the Return-Path field off a message that begins with one: it is for mailboxes (RFC 5321 §4.4). Nothing of
    /// the message may be stored yet.
    pub(crate) fn take_return_path(&mut self) -> Vec<u8> {
        if !self.buffered.starts_with(b"Return-Path:") {
            return Vec::new();
        }
        let end = memchr::memchr(b'\n', &self.buffered).map_or(self.buffered.len(), |end| end + 1);
        let rest = self.buffered.split_off(end);
        let field = core::mem::take(&mut self.buffered);
        (self.size, self.wire, self.eight_bit) = (0, CrlfLen::default(), false);
        self.take(rest);
        field
    }

    /// From now on its octets are watched, those that have come included. Nothing of the message may be stored yet.
    pub(crate) fn watch(&mut self) {
        let mut signer = Box::new(Signer::new());
        signer.feed(&self.buffered);
        self.signer = Some(signer);
    }

    /// Who has watched the octets that are stored.
    pub(crate) fn take_signer(&mut self) -> Option<Box<Signer>> {
        self.signer.take()
    }

    async fn gather_more(&mut self, disk: &Disk) -> Result<(), StoreError> {
        while !self.committed && self.splice.is_none() && self.buffered.len() < GATHER_BYTES {
            if let Some(mut reader) = self.reader.take() {
                match reader.next(disk).await? {
                    Some(octets) => self.take(octets),
                    None => self.committed = true,
                }
                self.reader = Some(reader);
                continue;
            }
            match disk.input().await {
                TaskInput::Chunk(bytes) => self.take(bytes),
                TaskInput::Splice(splice) => self.splice = Some(splice),
                TaskInput::Commit => self.committed = true,
                TaskInput::Abort => return Err(StoreError::new(StoreErrorKind::Aborted, b"")),
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: Vec<u8>) {
        self.size = self.size.saturating_add(bytes.len() as u64);
        self.wire.feed(&bytes);
        self.eight_bit |= !bytes.is_ascii();
        if let Some(signer) = &mut self.signer {
            signer.feed(&bytes);
        }
        if self.buffered.is_empty() {
            self.buffered = bytes;
        } else {
            self.buffered.extend_from_slice(&bytes);
        }
    }

    /// Writes these octets and those that follow into a new file in `tmp`, to be synced with the name it gets next. On
    /// an error the file is gone.
    ///
    /// `internal_date` becomes the file's modification time, in seconds since 1970; without one it is now.
    pub(crate) async fn store(
        &mut self,
        scope: &mut Scope,
        context: &StoreContext,
        tmp: Handle,
        internal_date: Option<i64>,
    ) -> Result<Staged, StoreError> {
        let disk = scope.disk.clone();
        let now = disk.now().await;
        let temporary = base_name(self.named.as_deref(), context, now);
        let file = disk.create(tmp, &temporary).await.at(&temporary)?;
        let file = scope.hold(file);
        if let Err(error) = self.fill(&disk, tmp, file, &temporary, internal_date).await {
            let _ = disk.unlink(tmp, &temporary).await;
            return Err(error);
        }
        scope.close(file).await;
        let mut base = temporary.clone();
        push_sizes(&mut base, self.size, self.wire.len());
        Ok(Staged {
            temporary: temporary.into(),
            base: base.into(),
            size: self.size,
            wire_size: self.wire.len(),
            internal_date: internal_date.unwrap_or(now.wall.secs),
            eight_bit: self.eight_bit,
        })
    }

    async fn fill(
        &mut self,
        disk: &Disk,
        tmp: Handle,
        file: Handle,
        name: &[u8],
        internal_date: Option<i64>,
    ) -> Result<(), StoreError> {
        loop {
            self.check_size(name)?;
            if !self.buffered.is_empty() {
                disk.write(file, core::mem::take(&mut self.buffered)).await.at(name)?;
            }
            if let Some(splice) = self.splice.take() {
                self.copy_from(disk, &splice, file, name).await?;
            } else if self.committed {
                break;
            }
            self.gather_more(disk).await?;
        }
        if let Some(seconds) = internal_date {
            disk.set_time(tmp, name, seconds.saturating_mul(1_000_000_000)).await.at(name)?;
        }
        disk.sync_with_name(file).await.at(name)
    }
}

impl Body {
    /// Writes octets of another message.
    async fn copy_from(
        &mut self,
        disk: &Disk,
        splice: &Splice,
        file: Handle,
        name: &[u8],
    ) -> Result<(), StoreError> {
        self.wire_bytes_max = Some(splice.wire_bytes_max);
        let mut splicing = Splicing::new(disk.clone(), splice);
        let result = loop {
            match splicing.next().await {
                Ok(Some(octets)) => self.take(octets),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
            if let Err(error) = self.check_size(name) {
                break Err(error);
            }
            if self.buffered.len() >= GATHER_BYTES
                && let Err(errno) = disk.write(file, core::mem::take(&mut self.buffered)).await
            {
                break Err(errno).at(name);
            }
        };
        splicing.finish().await;
        result
    }

    fn check_size(&self, name: &[u8]) -> Result<(), StoreError> {
        match self.wire_bytes_max {
            Some(max) if self.wire.len() > max => Err(StoreError::new(StoreErrorKind::TooBig, name)),
            Some(_) | None => Ok(()),
        }
    }
}

/// Makes a staged message out of a file that lies elsewhere, with a field in front: a copy of its own, for what is in a
/// mailbox may be changed by others. `size` and `wire_size` are the file's, in octets.
pub(super) async fn stage_from(
    scope: &mut Scope,
    context: &StoreContext,
    from: &Source<'_>,
    tmp: Handle,
) -> Result<Staged, StoreError> {
    let disk = scope.disk.clone();
    let now = disk.now().await;
    let temporary = base_name(from.named, context, now);
    copy_file(scope, (from.dir, from.name), (tmp, &temporary), from.field).await?;
    let mut wire = CrlfLen::default();
    wire.feed(from.field);
    let (size, wire_size) = (from.size + from.field.len() as u64, from.wire_size + wire.len());
    let mut base = temporary.clone();
    push_sizes(&mut base, size, wire_size);
    let (temporary, base) = (temporary.into(), base.into());
    let eight_bit = from.eight_bit || !from.field.is_ascii();
    Ok(Staged { temporary, base, size, wire_size, internal_date: now.wall.secs, eight_bit })
}

/// A base name without sizes: what is wanted, or one that no other file has.
fn base_name(wanted: Option<&[u8]>, context: &StoreContext, now: Now) -> Vec<u8> {
    wanted.map_or_else(|| context.unique_name(now).base(context.host()), <[u8]>::to_vec)
}

/// A whole message in a file somewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'s> {
    pub(crate) dir: Handle,
    pub(crate) name: &'s [u8],
    /// Octets of the file.
    pub(crate) size: u64,
    /// Octets with CRLF line ends.
    pub(crate) wire_size: u64,
    pub(crate) eight_bit: bool,
    /// To stand in front of it, with its line end; may be empty.
    pub(crate) field: &'s [u8],
    /// The base name it gets in a mailbox, without sizes, if that is not to be one of its own.
    pub(crate) named: Option<&'s [u8]>,
}

/// Gives a file a second name in another directory, as a hard link where that is possible, else as a copy with
/// the same modification time, to be synced with the name it gets next.
pub(super) async fn link_or_copy(
    scope: &mut Scope,
    dir: Handle,
    name: &[u8],
    to_dir: Handle,
    to_name: &[u8],
) -> Result<(), StoreError> {
    let disk = scope.disk.clone();
    match disk.link(dir, name, to_dir, to_name).await {
        Ok(()) => return Ok(()),
        // Another file system, another owner (`protected_hardlinks`), a file system without links, too many
        // of them.
        Err(Errno::CrossDevice | Errno::Access | Errno::TooManyLinks | Errno::Other(_)) => {}
        Err(errno) => return Err(errno).at(name),
    }
    copy_file(scope, (dir, name), (to_dir, to_name), b"").await
}

/// Copies a file, with the same modification time and `field` in front. On an error nothing is left.
async fn copy_file(
    scope: &mut Scope,
    (dir, name): (Handle, &[u8]),
    (to_dir, to_name): (Handle, &[u8]),
    field: &[u8],
) -> Result<(), StoreError> {
    let disk = scope.disk.clone();
    let (from, stat) = disk.open_file(dir, name).await.at(name)?;
    let from = scope.hold(from);
    let to = disk.create(to_dir, to_name).await.at(to_name)?;
    let to = scope.hold(to);
    let result = match field {
        [] => Ok(()),
        field => disk.write(to, field.to_vec()).await,
    };
    let result = match result {
        Ok(()) => copy_octets(&disk, from, to, to_dir, to_name, stat.mtime_ns).await,
        Err(errno) => Err(errno),
    };
    scope.close(from).await;
    scope.close(to).await;
    if result.is_err() {
        let _ = disk.unlink(to_dir, to_name).await;
    }
    result.at(to_name)
}

async fn copy_octets(
    disk: &Disk,
    from: Handle,
    to: Handle,
    to_dir: Handle,
    to_name: &[u8],
    mtime_ns: i64,
) -> Result<(), Errno> {
    let mut offset = 0u64;
    loop {
        let bytes = disk.read(from, offset, GATHER_BYTES).await?;
        if bytes.is_empty() {
            break;
        }
        offset = offset.saturating_add(bytes.len() as u64);
        disk.write(to, bytes).await?;
    }
    disk.set_time(to_dir, to_name, mtime_ns).await?;
    disk.sync_with_name(to).await
}
