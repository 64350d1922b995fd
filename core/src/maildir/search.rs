//! SEARCH (RFC 9051 §6.4.4): which messages of a snapshot match.
//!
//! Each message is judged as cheaply as possible: first by what the snapshot says (flags, UIDs, sizes, dates),
//! and only if that decides nothing by its file, step by step: its stat, its header, its text. What is decided
//! needs no next step. A file is read in chunks of at most 256 KiB and never kept whole, whatever its size.
//!
//! | key | compared with |
//! |---|---|
//! | BEFORE, ON, SINCE, OLDER, YOUNGER | INTERNALDATE, days being those of UTC |
//! | SAVEDBEFORE and its like | SAVEDATE, days being those of UTC |
//! | SENTBEFORE and its like | the day in the last `Date` field, in that field's own zone; without one nothing matches |
//! | LARGER, SMALLER | RFC822.SIZE |
//! | MODSEQ | the mod-sequence of the message; of a time of which nothing is known all may have changed |
//! | FROM, HEADER and its like | values of all fields of that name in the header of the message, encoded words decoded; an empty text asks whether there is such a field |
//! | FROM, TO, CC, BCC | the same, and the addresses without comments and blanks |
//! | BODY | the text of all text parts, decoded to Unicode, and the headers of messages inside |
//! | TEXT | the same, and the headers of the message and its parts, as `Name: value` with encoded words decoded |
//!
//! Texts match as substrings by the collation i;unicode-casemap (RFC 5255 §4.3), so in any case. A text that
//! goes over the end of a line or a part is not found, but one that goes over the folding of a header field is.
//!
//! A message whose file is gone does not match, nor does one that the system does not let us read. Any other error of
//! the disk ends the search.

mod program;
mod text;

use super::cache::Directory;
use super::context::{Root, StoreError, StoreErrorKind};
use super::fetch::source::Source;
use super::folder::FolderName;
use super::headers::Headers;
use super::history::History;
use super::mailbox::Messages;
use super::reader::{Failure, Reader};
use crate::disk::Disk;
use crate::imap::sequence::UidSet;
use crate::imap::server::SearchQuery;
use crate::machine::WallTime;
use crate::mime::structure::{Kind, Part};
use crate::mime::text::TextDecoder;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use program::{Facts, Program};
use text::{Needles, Text, Where};

/// What is searched.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The messages of the mailbox.
    pub messages: Messages,
    /// Names of keywords a to z, by index.
    pub keywords: Arc<Vec<String>>,
    /// What is known of the mailbox's past.
    pub history: Arc<History>,
    /// Only these of them.
    pub within: UidSet,
    /// Where the cache file has what; `None`: it is neither read nor written.
    pub cache: Option<Arc<Directory>>,
    /// The time, for OLDER and YOUNGER.
    pub now: WallTime,
}

/// The UIDs that match.
///
/// Sequence sets of the query hold UIDs. Its texts are Unicode: a charset that is not known was refused when
/// the command was read.
///
/// # Errors
/// What the file system says of the mailbox, or of a message that had to be read.
///
/// ```
/// use postier_core::disk::{Resume, Task, TaskStep};
/// use postier_core::imap::flag::FlagSet;
/// use postier_core::imap::search::SearchKey;
/// use postier_core::imap::server::SearchQuery;
/// use postier_core::maildir::{context::Root, folder::FolderName, mailbox::{Message, Messages}};
/// use postier_core::maildir::search::{Scope, search};
///
/// let mut messages = Messages::default();
/// for (uid, file) in [(1, &b"1.a:2,S"[..]), (2, b"2.a:2,"), (3, b"3.a:2,")] {
///     messages.push(Message::new(uid, file.into(), false, FlagSet::from_bits(u32::MAX), 1));
/// }
/// let within = [1, 2].into_iter().collect();
/// let scope = Scope { messages, within, ..Scope::default() };
/// let query = SearchQuery { key: SearchKey::Unseen, recent: Default::default(), saved: Default::default() };
/// let mut task =
///     Task::new(|disk| search(disk, Root::new(b"/mail"), FolderName::inbox(), scope, query.into()));
/// // Flags are known: no file is looked at.
/// let TaskStep::Done(Ok(found)) = task.resume(Resume::Start) else { panic!() };
/// assert_eq!(found.iter().collect::<Vec<_>>(), [2]);
/// ```
pub async fn search(
    disk: Disk,
    root: Root,
    folder: FolderName,
    scope: Scope,
    query: Arc<SearchQuery>,
) -> Result<UidSet, StoreError> {
    let mut reader = Reader::new(disk, root, folder);
    let found = search_with(&mut reader, &scope, &query).await;
    reader.finish().await;
    found
}

/// The same, for whoever reads on.
pub(super) async fn search_with(
    reader: &mut Reader,
    scope: &Scope,
    query: &SearchQuery,
) -> Result<UidSet, StoreError> {
    let program = Program::new(query, scope);
    let needles = Needles::new(&program.texts);
    let fields =
        program.texts.iter().filter_map(Text::field).chain(program.wants.sent.then_some(&b"date"[..]));
    let mut headers = Headers::open(reader, scope.cache.as_ref(), fields, &scope.within).await;
    let found = search_among(reader, scope, &program, &needles, &mut headers).await;
    headers.close(reader).await;
    found
}

async fn search_among(
    reader: &mut Reader,
    scope: &Scope,
    program: &Program,
    needles: &Needles<'_>,
    headers: &mut Headers,
) -> Result<UidSet, StoreError> {
    let mut facts = Facts::new(program.texts.len());
    let mut found = UidSet::new();
    for range in scope.within.ranges() {
        for message in scope.messages.range(range.first, range.last) {
            facts.start(message);
            reader.spend(program.cost).await;
            let verdict = match program.judge(message, &facts) {
                Some(verdict) => Ok(verdict),
                None => {
                    let mut source = Source::new(message);
                    let verdict = look(reader, &mut source, program, needles, (headers, &mut facts)).await;
                    source.close(reader).await;
                    verdict
                }
            };
            match verdict {
                Ok(true) => found.push(message.uid),
                Ok(false) | Err(Failure::Gone) => {}
                Err(Failure::Store(error)) if error.kind == StoreErrorKind::Access => {}
                Err(Failure::Store(error)) => return Err(error),
            }
        }
    }
    Ok(found)
}

/// Judges a message by its file.
async fn look(
    reader: &mut Reader,
    source: &mut Source<'_>,
    program: &Program,
    needles: &Needles<'_>,
    (headers, facts): (&mut Headers, &mut Facts),
) -> Result<bool, Failure> {
    let message = source.message;
    let (wants, sizes) = (program.wants, reader.sizes);
    if (wants.saved && facts.saved.is_none()) || (wants.date && facts.internal_date.is_none()) {
        let stat = reader.stat(message).await?;
        facts.internal_date = Some(stat.mtime_ns.div_euclid(1_000_000_000));
        facts.saved = facts.saved.or(Some(stat.ctime_ns.div_euclid(1_000_000_000)));
        if let Some(verdict) = program.judge(message, facts) {
            return Ok(verdict);
        }
    }
    if wants.header || wants.text || wants.sent {
        let header = if wants.text {
            source.load_head(reader, sizes.small).await?;
            source.load_header(reader).await?;
            source.header()
        } else {
            headers.read(reader, source).await?
        };
        if wants.sent {
            facts.sent = Some(text::sent_day(header));
        }
        needles.look_into_header(header, facts);
        if let Some(verdict) = program.judge(message, facts) {
            return Ok(verdict);
        }
    }
    if wants.text {
        look_into_parts(reader, source, needles, facts).await?;
        if let Some(verdict) = program.judge(message, facts) {
            return Ok(verdict);
        }
    }
    if wants.size && facts.wire_size.is_none() {
        facts.wire_size = Some(source.count(reader).await?);
    }
    // All is known by now that a program can ask for.
    Ok(program.judge(message, facts).unwrap_or(false))
}

/// Looks for the texts that may be anywhere in the message.
async fn look_into_parts(
    reader: &mut Reader,
    source: &mut Source<'_>,
    needles: &Needles<'_>,
    facts: &mut Facts,
) -> Result<(), Failure> {
    let structure = source.take_structure(reader).await?;
    for (index, part) in structure.parts().iter().enumerate() {
        if needles.all_found(facts) {
            break;
        }
        if index > 0 {
            let range = part.header.file_range();
            let end = range.end.min(range.start.saturating_add(reader.sizes.header_max as u64));
            let header = source.octets(reader, range.start, end).await?;
            let place = if part.envelope.is_some() { Where::Body } else { Where::Header };
            needles.look_into_fields(&header, place, facts);
        }
        // What is in a message/delivery-status and its like is text, too.
        if part.kind == Kind::Leaf && (part.content.is_text() || part.content.is_type(b"message")) {
            look_into_text(reader, source, part, needles, facts).await?;
        }
    }
    needles.give_up(facts);
    Ok(())
}

/// Looks for the texts in the body of a text part.
async fn look_into_text(
    reader: &mut Reader,
    source: &mut Source<'_>,
    part: &Part,
    needles: &Needles<'_>,
    facts: &mut Facts,
) -> Result<(), Failure> {
    let mut decoder = TextDecoder::new(&part.content);
    let mut window = needles.window();
    let range = part.body.file_range();
    let mut at = range.start;
    while at < range.end && !needles.all_found(facts) {
        let end = range.end.min(at.saturating_add(reader.sizes.chunk as u64));
        let chunk = source.octets(reader, at, end).await?;
        if chunk.is_empty() {
            break;
        }
        at = at.saturating_add(chunk.len() as u64);
        decoder.feed(&chunk, &mut |piece: &str| window.feed(piece, Where::Body, facts));
    }
    decoder.finish(&mut |piece: &str| window.feed(piece, Where::Body, facts));
    Ok(())
}

#[cfg(test)]
mod tests;
