//! The items of a FETCH response, one function for those that need no file and one for those that do.

use super::source::{Extent, Source};
use super::{ROW_FILES_MAX, binary};
use crate::imap::fetch::{FetchItem, FetchSection, FieldNames, Partial, Section, SectionKind};
use crate::imap::flag::FlagSet;
use crate::imap::objectid::EmailId;
use crate::imap::response::{write_literal_head, write_number, write_string};
use crate::imap::server::FetchRequest;
use crate::maildir::mailbox::Message;
use crate::maildir::reader::{Failure, Reader};
use crate::mime::bodystructure;
use crate::mime::date::format_internaldate;
use crate::mime::envelope::Envelope;
use crate::mime::preview::preview;
use crate::mime::structure::Piece;
use crate::mime::text::write_header;
use crate::send_queue::FileRange;
use crate::wire::eol::{ToCrlf, crlf_len};
use crate::wire::outgoing::hide_nuls;
use alloc::string::String;
use alloc::vec::Vec;

/// So many names of a filter are looked through one by one.
const FEW_NAMES: usize = 24;

/// What a request needs to know of each message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    /// FLAGS
    pub(super) flags: bool,
    /// INTERNALDATE
    pub(super) date: bool,
    /// SAVEDATE
    pub(super) saved: bool,
    /// RFC822.SIZE
    pub(super) size: bool,
    /// The header of the message.
    pub(super) header: bool,
    /// What is behind the header.
    pub(super) text: bool,
}

impl Needs {
    pub(super) fn of<'i>(items: impl IntoIterator<Item = &'i FetchItem>) -> Needs {
        let mut needs = Needs::default();
        for item in items {
            match item {
                FetchItem::Uid | FetchItem::EmailId | FetchItem::ThreadId | FetchItem::ModSeq => {}
                FetchItem::SaveDate => needs.saved = true,
                FetchItem::Flags => needs.flags = true,
                FetchItem::InternalDate => needs.date = true,
                FetchItem::Rfc822Size => needs.size = true,
                FetchItem::Envelope | FetchItem::Rfc822Header => needs.header = true,
                FetchItem::Body
                | FetchItem::BodyStructure
                | FetchItem::Rfc822
                | FetchItem::Rfc822Text
                | FetchItem::Preview => {
                    needs.text = true;
                }
                FetchItem::Section(FetchSection { section, .. })
                | FetchItem::Binary(FetchSection { section, .. })
                | FetchItem::BinarySize(FetchSection { section, .. }) => match section.kind {
                    SectionKind::Header | SectionKind::HeaderFields { .. } if section.part.is_empty() => {
                        needs.header = true;
                    }
                    SectionKind::Header
                    | SectionKind::HeaderFields { .. }
                    | SectionKind::Full
                    | SectionKind::Text
                    | SectionKind::Mime => needs.text = true,
                },
            }
        }
        needs
    }

    /// Whether a file has to be opened even if all facts are known.
    pub(super) fn file(&self) -> bool {
        self.header || self.text
    }

    /// The items without those that are one word and come a second time.
    pub(super) fn each_once<'i>(
        &self,
        items: &'i [FetchItem],
    ) -> impl Iterator<Item = &'i FetchItem> + use<'i> {
        let mut seen = 0u16;
        items.iter().filter(move |item| {
            let bit = word_bit(item);
            let first = seen & bit == 0;
            seen |= bit;
            first
        })
    }
}

/// One bit for each item that is one word; none for sections.
fn word_bit(item: &FetchItem) -> u16 {
    match item {
        FetchItem::Flags => 1,
        FetchItem::Uid => 1 << 1,
        FetchItem::InternalDate => 1 << 2,
        FetchItem::Rfc822Size => 1 << 3,
        FetchItem::Envelope => 1 << 4,
        FetchItem::Body => 1 << 5,
        FetchItem::BodyStructure => 1 << 6,
        FetchItem::Rfc822 => 1 << 7,
        FetchItem::Rfc822Header => 1 << 8,
        FetchItem::Rfc822Text => 1 << 9,
        FetchItem::Preview => 1 << 10,
        FetchItem::SaveDate => 1 << 11,
        FetchItem::EmailId => 1 << 12,
        FetchItem::ThreadId => 1 << 13,
        FetchItem::ModSeq => 1 << 14,
        FetchItem::Section(_) | FetchItem::Binary(_) | FetchItem::BinarySize(_) => 0,
    }
}

/// The facts about a message that are known by now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) flags: FlagSet,
    pub(super) wire_size: Option<u64>,
    pub(super) internal_date: Option<i64>,
    /// SAVEDATE in seconds since 1970.
    pub(super) saved: Option<i64>,
}

impl Known {
    pub(super) fn of(message: &Message) -> Known {
        let Message { flags, wire_size, internal_date, .. } = *message;
        Known { flags, wire_size, internal_date, saved: message.save_date() }
    }

    /// Whether nothing has to be looked up but texts.
    pub(super) fn has(&self, needs: &Needs) -> bool {
        let date = !needs.date || self.internal_date.is_some();
        date && (!needs.size || self.wire_size.is_some()) && (!needs.saved || self.saved.is_some())
    }
}

/// The page as it is made.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    pub(super) files: Vec<(usize, FileRange)>,
    row_start: usize,
    /// Texts that are put together before their size is known.
    pub(super) scratch: Vec<u8>,
    /// Some part has a transfer encoding that cannot be undone.
    pub(super) unknown_encoding: bool,
}

impl Output {
    pub(super) fn start_row(&mut self) {
        self.row_start = self.bytes.len();
    }

    pub(super) fn row_bytes(&self) -> usize {
        self.bytes.len().saturating_sub(self.row_start)
    }

    /// A literal of stored octets, line ends made CRLF; `partial` counts the octets the client sees.
    fn literal(&mut self, stored: &[u8], partial: Option<Partial>) {
        if partial.is_none() {
            write_literal_head(&mut self.bytes, crlf_len(stored));
            let start = self.bytes.len();
            ToCrlf::new().feed(stored, &mut self.bytes);
            hide_nuls(self.bytes.get_mut(start..).unwrap_or_default());
            return;
        }
        self.scratch.clear();
        ToCrlf::new().feed(stored, &mut self.scratch);
        self.literal_of_scratch(partial);
    }

    /// A literal of what is in `scratch`.
    fn literal_of_scratch(&mut self, partial: Option<Partial>) {
        let all = &self.scratch[..];
        let octets = partial.map_or(all, |partial| {
            let skip = usize::try_from(partial.offset).unwrap_or(usize::MAX);
            let take = usize::try_from(partial.length).unwrap_or(usize::MAX);
            let rest = all.get(skip..).unwrap_or_default();
            rest.get(..take).unwrap_or(rest)
        });
        write_literal_head(&mut self.bytes, octets.len() as u64);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(octets);
        hide_nuls(self.bytes.get_mut(start..).unwrap_or_default());
    }

    /// A literal that is sent as it lies on the disk.
    fn range(&mut self, range: FileRange) {
        write_literal_head(&mut self.bytes, range.emit);
        self.files.push((self.bytes.len(), range));
    }
}

/// Writes the name of an item, and a space before it unless it is the first after `row_start`.
pub(super) fn start(item: &FetchItem, row_start: usize, out: &mut Vec<u8>) {
    if out.len() > row_start {
        out.push(b' ');
    }
    item.write_name(out);
    out.push(b' ');
}

/// Writes the value of an item that needs no file; false for others.
pub(super) fn write_known(
    item: &FetchItem,
    message: &Message,
    known: &Known,
    keywords: &[String],
    request: &FetchRequest,
    out: &mut Vec<u8>,
) -> bool {
    match item {
        FetchItem::Flags => known.flags.write(out, keywords, request.recent.contains(message.uid)),
        FetchItem::Uid => write_number(out, u64::from(message.uid)),
        FetchItem::InternalDate | FetchItem::SaveDate => {
            let saved = *item == FetchItem::SaveDate;
            let Some(seconds) = (if saved { known.saved } else { known.internal_date }) else { return false };
            out.push(b'"');
            out.extend_from_slice(format_internaldate(seconds, 0).as_bytes());
            out.push(b'"');
        }
        FetchItem::EmailId => {
            out.push(b'(');
            EmailId::of(message.base()).write(out);
            out.push(b')');
        }
        // RFC 8474 §5.2: a server without threads says so.
        FetchItem::ThreadId => out.extend_from_slice(b"NIL"),
        FetchItem::ModSeq => {
            out.push(b'(');
            write_number(out, message.modseq);
            out.push(b')');
        }
        FetchItem::Rfc822Size => {
            let Some(size) = known.wire_size else { return false };
            write_number(out, size);
        }
        FetchItem::Envelope
        | FetchItem::Body
        | FetchItem::BodyStructure
        | FetchItem::Rfc822
        | FetchItem::Rfc822Header
        | FetchItem::Rfc822Text
        | FetchItem::Section(_)
        | FetchItem::Binary(_)
        | FetchItem::BinarySize(_)
        | FetchItem::Preview => return false,
    }
    true
}

/// Writes the value of an item that needs the file.
pub(super) async fn write(
    item: &FetchItem,
    reader: &mut Reader,
    source: &mut Source<'_>,
    output: &mut Output,
) -> Result<(), Failure> {
    let whole = |kind| Section { part: Vec::new(), kind };
    match item {
        // Loaded by now, and written from what is known.
        FetchItem::Flags
        | FetchItem::Uid
        | FetchItem::InternalDate
        | FetchItem::Rfc822Size
        | FetchItem::SaveDate
        | FetchItem::EmailId
        | FetchItem::ThreadId
        | FetchItem::ModSeq => Ok(()),
        FetchItem::Preview => {
            let words = preview(source.first_octets(reader).await?);
            write_string(&mut output.bytes, words.as_bytes());
            Ok(())
        }
        FetchItem::Binary(item) => binary::write(item, reader, source, output).await,
        FetchItem::BinarySize(item) => binary::write_size(item, reader, source, output).await,
        FetchItem::Envelope => {
            source.load_header(reader).await?;
            Envelope::from_header(source.header()).write(&mut output.bytes);
            Ok(())
        }
        FetchItem::Body | FetchItem::BodyStructure => {
            let extended = *item == FetchItem::BodyStructure;
            let structure = source.structure(reader).await?;
            bodystructure::write(&mut output.bytes, structure, extended);
            Ok(())
        }
        FetchItem::Rfc822 => section(&whole(SectionKind::Full), None, reader, source, output).await,
        FetchItem::Rfc822Header => section(&whole(SectionKind::Header), None, reader, source, output).await,
        FetchItem::Rfc822Text => section(&whole(SectionKind::Text), None, reader, source, output).await,
        FetchItem::Section(item) => section(&item.section, item.partial, reader, source, output).await,
    }
}

/// Writes the text of a section as a literal, or NIL if the message has no such section.
pub(super) async fn section(
    section: &Section,
    partial: Option<Partial>,
    reader: &mut Reader,
    source: &mut Source<'_>,
    output: &mut Output,
) -> Result<(), Failure> {
    let (piece, filter) = match &section.kind {
        SectionKind::Full => (Piece::Full, None),
        SectionKind::Header => (Piece::Header, None),
        SectionKind::HeaderFields { not, names } => (Piece::Header, Some((*not, names))),
        SectionKind::Text => (Piece::Text, None),
        SectionKind::Mime => (Piece::Mime, None),
    };
    let Some(extent) = source.extent(reader, &section.part, piece).await? else {
        output.bytes.extend_from_slice(b"NIL");
        return Ok(());
    };
    if let Some((not, names)) = filter {
        let block = source.block(reader, &extent).await?;
        write_fields(&block, (not, names), partial, output);
        return Ok(());
    }
    if let Some(stored) = source.loaded(&extent) {
        output.literal(stored, partial);
        return Ok(());
    }
    from_disk(&extent, partial, reader, source, output).await
}

/// Writes the fields of a header that a filter has, or has not, as a literal.
pub(super) fn write_fields(
    header: &[u8],
    (not, names): (bool, &FieldNames),
    partial: Option<Partial>,
    output: &mut Output,
) {
    output.scratch.clear();
    let names = Names::new(names);
    write_header(&mut output.scratch, header, |name| names.contains(name) != not);
    output.literal_of_scratch(partial);
}

/// The names of a filter; many are sorted, so that a long header asked for by many names costs no more than both.
struct Names<'n> {
    names: &'n FieldNames,
    /// In lower case; empty if there are few.
    sorted: Vec<Vec<u8>>,
}

impl<'n> Names<'n> {
    fn new(names: &'n FieldNames) -> Names<'n> {
        let mut sorted = Vec::new();
        if names.iter().nth(FEW_NAMES).is_some() {
            sorted.extend(names.iter().map(|name| name.as_bytes().to_ascii_lowercase()));
            sorted.sort_unstable();
        }
        Names { names, sorted }
    }

    fn contains(&self, name: &[u8]) -> bool {
        if self.sorted.is_empty() {
            return self.names.contains(name);
        }
        self.sorted.binary_search(&name.to_ascii_lowercase()).is_ok()
    }
}

/// Writes octets that are not in memory: a short text by reading it, a long one as a part of the file.
async fn from_disk(
    extent: &Extent,
    partial: Option<Partial>,
    reader: &mut Reader,
    source: &mut Source<'_>,
    output: &mut Output,
) -> Result<(), Failure> {
    let Partial { offset, length } = partial.unwrap_or(Partial { offset: 0, length: u64::MAX });
    let small = reader.sizes.small as u64;
    // Line ends make it at most twice as long.
    let short = length <= small || extent.end.saturating_sub(extent.start) <= small / 2;
    let place = source.seek(reader, extent, offset).await?;
    if short || output.files.len() >= ROW_FILES_MAX {
        let most = place.skip.saturating_add(length).min(extent.end.saturating_sub(place.offset));
        let end = place.offset.saturating_add(most);
        let room = super::ROW_BYTES_MAX.saturating_sub(output.row_bytes()) as u64;
        if most.saturating_sub(place.skip) > room {
            return Err(source.too_much());
        }
        let stored = source.read_range(reader, place.offset, end).await?;
        output.scratch.clear();
        ToCrlf::new().feed(&stored, &mut output.scratch);
        output.literal_of_scratch(Some(Partial { offset: place.skip, length }));
        return Ok(());
    }
    let total = source.wire_bytes(reader, extent).await?;
    let emit = total.saturating_sub(offset).min(length);
    if emit == 0 {
        write_literal_head(&mut output.bytes, 0);
        return Ok(());
    }
    let file = source.give_away(reader).await?;
    output.range(FileRange::text(file, place.offset, place.skip, emit));
    Ok(())
}
