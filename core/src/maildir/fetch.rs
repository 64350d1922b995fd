//! FETCH: what a client asks of messages, read from their files and written as IMAP has it.
//!
//! A [`fetch`] makes one page: it goes through the messages it is given until the page holds [`PAGE_BYTES`],
//! or a part of a file is to be sent as it lies on the disk, or 16 MiB or [`PAGE_FILES_MAX`] files have been read, and says where to
//! go on. It reads no more of a message than is asked for:
//!
//! | asked for | read |
//! |---|---|
//! | FLAGS, UID, sizes and dates that are known | nothing ([`render_known`]) |
//! | INTERNALDATE, and SAVEDATE where neither the name nor the uidlist tells it | a stat |
//! | ENVELOPE, BODY, BODYSTRUCTURE, PREVIEW, `BODY[HEADER.FIELDS (…)]` a second time | [the cache](super::cache) |
//! | ENVELOPE, `BODY[HEADER…]` | the header |
//! | PREVIEW | the first 64 KiB |
//! | anything else of a message of at most 64 KiB | the file, once |
//! | the parts of a larger message | the file, in chunks, none of which is kept |
//! | a text of more than 64 KiB | nothing: it becomes a [`FileRange`](crate::send_queue::FileRange) |
//!
//! Literals have the size the octets have. Where a file is sent as it lies on the disk that size is the one in
//! its name (`,W=`), unless the name is wrong about the size of the file; then it is counted.
//!
//! Large texts are fetched in pieces. A page leaves a [`Memo`] of the last large message it was about; given to
//! the next one, it has pieces that come in order cost linear time in total.
//!
//! A message whose file is gone is left out, and [`FetchPage::gone`] says so; so is one that the system does not let
//! us read, for a program that runs as root leaves one now and then, and the rest of the mailbox is none the worse. Any other
//! error of the disk ends the page before the message it happened at; it is reported when that message is the
//! first.
//!
//! Line ends are CRLF, a NUL is sent as `\x80` (RFC 9051 §4.3), other octets as they are; but a bare CR among
//! filtered header fields becomes a space.

mod binary;
mod cached;
mod item;
mod memo;
pub(super) mod source;
pub(super) mod splice;

use super::cache::Directory;
use super::cache_file::Hit;
use super::context::{Root, StoreError, StoreErrorKind};
use super::folder::FolderName;
use super::mailbox::{Message, Messages};
use super::reader::{Failure, Reader};
use crate::disk::Disk;
use crate::imap::fetch::FetchItem;
use crate::imap::flag::SystemFlag;
use crate::imap::sequence::UidSet;
use crate::imap::server::{FetchPage, FetchRequest, FetchRow};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use cached::Cached;
use item::{Known, Needs, Output};
pub use memo::Memo;
use source::Source;
pub use splice::Splice;

/// A page with so many octets is full.
pub const PAGE_BYTES: usize = 256 * 1024;
/// The most octets one message may have in a page, not counting parts of files. Only a request that names
/// very many sections comes near.
pub const ROW_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most parts of files one message may have in a page. Larger texts beyond are read into memory.
pub const ROW_FILES_MAX: usize = 16;
/// A page for which the files of so many messages were looked at is full.
pub const PAGE_FILES_MAX: usize = 128;

/// What one page is to be made of.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The messages, in ascending UID order.
    pub messages: Vec<Message>,
    /// Names of keywords a to z, by index.
    pub keywords: Arc<Vec<String>>,
    /// What of each.
    pub request: Arc<FetchRequest>,
    /// UIDs whose flags this FETCH has changed: FLAGS is told of them whether asked for or not.
    pub changed: UidSet,
    /// What the last page of the same mailbox left.
    pub memo: Option<Memo>,
    /// Where the cache file has what; `None`: it is neither read nor written.
    pub cache: Option<Arc<Directory>>,
}

/// A page, and what else came of making it.
#[derive(Debug, Default)]
pub struct Fetched {
    /// The answer. Its files are open; whoever takes it closes them.
    pub page: FetchPage,
    /// What had to be looked up.
    pub learned: Vec<Learned>,
    /// For the next page of the same mailbox.
    pub memo: Option<Memo>,
    /// What is known of the cache file, if it was looked at.
    pub cache: Option<Arc<Directory>>,
}

/// Facts about a message that were not known and had to be looked up, or were known wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The message's UID.
    pub uid: u32,
    /// Octets of its file.
    pub size: Option<u64>,
    /// RFC822.SIZE
    pub wire_size: Option<u64>,
    /// INTERNALDATE in seconds since 1970.
    pub internal_date: Option<i64>,
}

impl Learned {
    /// Takes the facts over. Of a file that does not have the octets that its name says, RFC822.SIZE is not known by
    /// that name either: unless it was counted, the next who asks for it has it counted.
    pub(crate) fn correct(&self, message: &mut Message) {
        if message.size.is_some() && self.size.is_some() {
            message.wire_size = None;
        }
        message.size = self.size.or(message.size);
        message.wire_size = self.wire_size.or(message.wire_size);
        message.internal_date = self.internal_date.or(message.internal_date);
    }
}

/// Writes the items of one message from what is known of it; false, and nothing written, if its file has to be
/// looked at.
///
/// ```
/// use postier_core::imap::fetch::FetchItem;
/// use postier_core::imap::flag::FlagSet;
/// use postier_core::imap::server::FetchRequest;
/// use postier_core::maildir::fetch::render_known;
/// use postier_core::maildir::mailbox::Message;
///
/// let flags = FlagSet::from_bits(u32::MAX);
/// let message = Message::new(7, Box::from(&b"1.a,S=9,W=10:2,S"[..]), false, flags, 1);
/// let items = vec![FetchItem::Uid, FetchItem::Flags, FetchItem::Rfc822Size];
/// let mut request = FetchRequest { items, ..FetchRequest::default() };
/// let mut out = Vec::new();
/// assert!(render_known(&message, &[], &request, &mut out));
/// assert_eq!(out, br"UID 7 FLAGS (\Seen) RFC822.SIZE 10");
/// request.items.push(FetchItem::Envelope);
/// assert!(!render_known(&message, &[], &request, &mut out));
/// ```
pub fn render_known(
    message: &Message,
    keywords: &[String],
    request: &FetchRequest,
    out: &mut Vec<u8>,
) -> bool {
    let needs = Needs::of(&request.items);
    let known = Known::of(message);
    if needs.file() || !known.has(&needs) {
        return false;
    }
    let start = out.len();
    for item in needs.each_once(&request.items) {
        item::start(item, start, out);
        if !item::write_known(item, message, &known, keywords, request, out) {
            out.truncate(start);
            return false;
        }
    }
    true
}

/// Makes a page. At least one message is done.
///
/// # Errors
/// What the file system says of the mailbox, or of the first message. [`StoreErrorKind::Cannot`] for a request
/// that wants more of one message than [`ROW_BYTES_MAX`].
pub async fn fetch(
    disk: Disk,
    root: Root,
    folder: FolderName,
    wanted: Wanted,
) -> Result<Fetched, StoreError> {
    fetch_with(Reader::new(disk, root, folder), wanted).await
}

async fn fetch_with(mut reader: Reader, mut wanted: Wanted) -> Result<Fetched, StoreError> {
    let mut fetched = Fetched { memo: wanted.memo.take(), ..Fetched::default() };
    let mut cached = match wanted.cache.take() {
        Some(cache) => Cached::open(&mut reader, cache, &wanted.request.items, &wanted.messages).await,
        None => None,
    };
    let result = fill(&mut reader, &wanted, &mut cached, &mut fetched).await;
    if let Some(cached) = cached {
        fetched.cache = Some(cached.close(&mut reader).await);
    }
    reader.finish().await;
    result.map(|()| fetched)
}

/// The sums of sizes that STATUS tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TotalSizes {
    /// RFC822.SIZE of all messages, in octets (RFC 8438).
    pub wire: u64,
    /// Of those with `\Deleted`, in octets as they are stored (RFC 9208 §4.1.4).
    pub deleted: u64,
}

/// The sums of sizes; messages whose sizes are not known are read, those that are gone or that the system does not let
/// us read count nothing.
///
/// # Errors
/// What the file system says.
pub async fn total_sizes(
    disk: Disk,
    root: Root,
    folder: FolderName,
    messages: Messages,
) -> Result<TotalSizes, StoreError> {
    let mut reader = Reader::new(disk, root, folder);
    let total = add_sizes(&mut reader, &messages).await;
    reader.finish().await;
    total
}

/// The same, if all sizes are known.
pub fn known_total_sizes(messages: &Messages) -> Option<TotalSizes> {
    let mut total = TotalSizes::default();
    for message in messages.iter() {
        total.wire = total.wire.saturating_add(message.wire_size?);
        if message.flags.contains(SystemFlag::Deleted) {
            total.deleted = total.deleted.saturating_add(message.size?);
        }
    }
    Some(total)
}

async fn add_sizes(reader: &mut Reader, messages: &Messages) -> Result<TotalSizes, StoreError> {
    let mut total = TotalSizes::default();
    for message in messages.iter() {
        let size = match message.wire_size {
            Some(size) => size,
            None => {
                let mut source = Source::new(message);
                let counted = source.count(reader).await;
                source.close(reader).await;
                or_nothing(counted)?
            }
        };
        total.wire = total.wire.saturating_add(size);
        if message.flags.contains(SystemFlag::Deleted) {
            let size = match message.size {
                Some(size) => size,
                None => or_nothing(reader.stat(message).await.map(|stat| stat.size))?,
            };
            total.deleted = total.deleted.saturating_add(size);
        }
    }
    Ok(total)
}

fn or_nothing(size: Result<u64, Failure>) -> Result<u64, StoreError> {
    match size {
        Ok(size) => Ok(size),
        Err(Failure::Gone) => Ok(0),
        Err(Failure::Store(error)) if error.kind == StoreErrorKind::Access => Ok(0),
        Err(Failure::Store(error)) => Err(error),
    }
}

async fn fill(
    reader: &mut Reader,
    wanted: &Wanted,
    cached: &mut Option<Cached>,
    fetched: &mut Fetched,
) -> Result<(), StoreError> {
    let Fetched { page, learned, memo, .. } = fetched;
    let all = Needs::of(&wanted.request.items);
    let (mut output, mut looked_at) = (Output::default(), 0);
    for message in &wanted.messages {
        let start = output.bytes.len();
        let is_full = start >= PAGE_BYTES || !output.files.is_empty() || looked_at >= PAGE_FILES_MAX;
        if is_full || reader.spent >= reader.sizes.page {
            page.next = Some(message.uid);
            break;
        }
        let hit = match cached {
            Some(cached) => cached.look(reader, message).await,
            None => Hit::default(),
        };
        let needs = if cached.is_some() { cached::missing(&wanted.request.items, &hit) } else { all };
        let mut source = Source::new(message);
        looked_at += usize::from(needs.file() || !source.known().has(&needs));
        source.recall(memo);
        let mut row = Row { wanted, needs: &needs, cached: cached.as_mut(), hit: &hit };
        let result = row.render(reader, &mut source, &mut output).await;
        source.close(reader).await;
        match result {
            Ok(()) => {
                page.rows.push(FetchRow { uid: message.uid, end: output.bytes.len() });
                learned.extend(source.learned());
                *memo = source.memo().or(memo.take());
                cached.iter_mut().for_each(|cached| cached.keep(message));
            }
            Err(failure) => {
                output.bytes.truncate(start);
                for (_, range) in output.files.drain(..) {
                    reader.take_back(range.file);
                }
                match failure {
                    Failure::Gone => page.gone = true,
                    Failure::Store(error) if error.kind == StoreErrorKind::Access => {
                        page.unreadable.push(message.uid);
                    }
                    Failure::Store(error) if page.rows.is_empty() => return Err(error),
                    Failure::Store(_) => {
                        page.next = Some(message.uid);
                        break;
                    }
                }
            }
        }
    }
    page.unknown_encoding = output.unknown_encoding;
    (page.bytes, page.files) = (output.bytes, output.files);
    Ok(())
}

/// A row as it is made.
struct Row<'r> {
    wanted: &'r Wanted,
    /// What has to be looked up.
    needs: &'r Needs,
    cached: Option<&'r mut Cached>,
    /// What the cache has.
    hit: &'r Hit,
}

impl Row<'_> {
    async fn render(
        &mut self,
        reader: &mut Reader,
        source: &mut Source<'_>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let Row { wanted, needs, hit, .. } = *self;
        let request = &*wanted.request;
        source.load(reader, needs).await?;
        output.start_row();
        let start = output.bytes.len();
        let changed = wanted.changed.contains(source.message.uid);
        let flags = (changed && !needs.flags).then_some(&FetchItem::Flags);
        let modseq = changed && request.tells_modseq && !request.items.contains(&FetchItem::ModSeq);
        let modseq = modseq.then_some(&FetchItem::ModSeq);
        for item in needs.each_once(&request.items).chain(flags).chain(modseq) {
            item::start(item, start, &mut output.bytes);
            let (at, known) = (output.bytes.len(), source.known());
            let is_known =
                item::write_known(item, source.message, &known, &wanted.keywords, request, &mut output.bytes)
                    || self.cached.as_ref().is_some_and(|cached| cached.write(item, hit, output));
            if !is_known {
                item::write(item, reader, source, output).await?;
                if let Some(cached) = &mut self.cached {
                    let value = output.bytes.get(at..).unwrap_or_default();
                    cached.learn(item, value, reader, source).await;
                }
            }
            if output.row_bytes() > ROW_BYTES_MAX {
                return Err(source.too_much());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
