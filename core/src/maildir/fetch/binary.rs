//! BINARY (RFC 3516): sections with their transfer encoding undone.
//!
//! What is undone is the encoding of a part that is no message and no multipart, named by its number alone; every other
//! section is given as BODY gives it. A part in memory is decoded there; of a larger one the octets are counted first,
//! for the literal's size comes before it, and then decoded on their way out. Parts of such a part that are fetched in
//! order cost linear time in total: a memo keeps the size and a place from which decoding can begin. A literal8 is used where there is a NUL.

use super::item::{Output, section};
use super::memo::Decoded;
use super::source::{Extent, Source};
use super::{ROW_BYTES_MAX, ROW_FILES_MAX};
use crate::imap::fetch::{FetchSection, Partial, SectionKind};
use crate::imap::response::{write_literal_head, write_number};
use crate::maildir::reader::{Failure, Reader};
use crate::mime::content::Transfer;
use crate::mime::structure::{Kind, Piece};
use crate::send_queue::FileRange;
use crate::wire::base64;
use crate::wire::outgoing::{Transform, Transformer};
use alloc::vec::Vec;
use memchr::{memchr, memrchr};

/// So much of a file is decoded at a time on the way to a place in it: what is too much of the last one is decoded
/// again when it is sent.
const SEEK_BYTES: u64 = 16 * 1024;

/// What is to be done with a section.
enum Wanted {
    /// The same as BODY does.
    AsBody,
    Decode(Extent, Transform),
    /// There is no such part.
    Missing,
    /// UNKNOWN-CTE
    Unknown,
}

async fn wanted(
    item: &FetchSection,
    reader: &mut Reader,
    source: &mut Source<'_>,
) -> Result<Wanted, Failure> {
    let section = &item.section;
    let whole = section.kind == SectionKind::Full;
    if !whole {
        return Ok(Wanted::AsBody);
    }
    if let Some((extent, decoded)) = source.decoded(&section.part) {
        return Ok(Wanted::Decode(extent, decoded.transform));
    }
    if section.part.is_empty() {
        return Ok(match source.extent(reader, &section.part, Piece::Full).await? {
            Some(extent) => Wanted::Decode(extent, Transform::Octets),
            None => Wanted::Missing,
        });
    }
    let part = source.structure(reader).await?.part(&section.part);
    let transfer = part.map(|part| match part.kind {
        Kind::Leaf => part.content.transfer(),
        Kind::Multipart | Kind::Message => Transfer::Identity,
    });
    let Some(extent) = source.extent(reader, &section.part, Piece::Full).await? else {
        return Ok(Wanted::Missing);
    };
    Ok(match transfer {
        Some(Transfer::Identity) => Wanted::Decode(extent, Transform::Octets),
        Some(Transfer::Base64) => Wanted::Decode(extent, Transform::Base64),
        Some(Transfer::QuotedPrintable) => Wanted::Decode(extent, Transform::QuotedPrintable),
        Some(Transfer::Unknown) => Wanted::Unknown,
        None => Wanted::Missing,
    })
}

/// Writes the octets of a section as a literal or a literal8, or NIL.
pub(super) async fn write(
    item: &FetchSection,
    reader: &mut Reader,
    source: &mut Source<'_>,
    output: &mut Output,
) -> Result<(), Failure> {
    let (extent, transform) = match wanted(item, reader, source).await? {
        Wanted::AsBody => return section(&item.section, item.partial, reader, source, output).await,
        Wanted::Decode(extent, transform) => (extent, transform),
        Wanted::Missing => {
            output.bytes.extend_from_slice(b"NIL");
            return Ok(());
        }
        Wanted::Unknown => {
            // RFC 3516 §4.3: the tagged NO says why.
            output.unknown_encoding = true;
            output.bytes.extend_from_slice(b"NIL");
            return Ok(());
        }
    };
    if source.loaded(&extent).is_some() || output.files.len() >= ROW_FILES_MAX {
        return write_from_memory(&extent, transform, item.partial, reader, source, output).await;
    }
    let counted = counted(item, &extent, transform, reader, source).await?;
    let Decoded { size, has_nul, .. } = counted;
    let Partial { offset, length } = item.partial.unwrap_or(Partial { offset: 0, length: u64::MAX });
    let emit = size.saturating_sub(offset).min(length);
    if has_nul {
        output.bytes.push(b'~');
    }
    write_literal_head(&mut output.bytes, emit);
    if emit > 0 {
        let near = seek(&extent, counted, offset, reader, source).await?;
        let file = source.give_away(reader).await?;
        let skip = offset.saturating_sub(near.at);
        let range = FileRange { file, offset: near.offset, skip, emit, end: extent.end, transform };
        output.files.push((output.bytes.len(), range));
    }
    Ok(())
}

/// Writes how many octets that would be.
pub(super) async fn write_size(
    item: &FetchSection,
    reader: &mut Reader,
    source: &mut Source<'_>,
    output: &mut Output,
) -> Result<(), Failure> {
    let size = match wanted(item, reader, source).await? {
        Wanted::Decode(extent, Transform::Octets) => source.wire_bytes(reader, &extent).await?,
        Wanted::Decode(extent, transform) => counted(item, &extent, transform, reader, source).await?.size,
        Wanted::Missing => 0,
        Wanted::Unknown => {
            output.unknown_encoding = true;
            0
        }
        Wanted::AsBody => size_as_body(item, reader, source, output).await?,
    };
    write_number(&mut output.bytes, size);
    Ok(())
}

/// The size of a section that is a header or a text.
async fn size_as_body(
    item: &FetchSection,
    reader: &mut Reader,
    source: &mut Source<'_>,
    output: &mut Output,
) -> Result<u64, Failure> {
    let piece = match &item.section.kind {
        SectionKind::HeaderFields { .. } => {
            // What passes the filter is known when it is written.
            let start = output.bytes.len();
            section(&item.section, None, reader, source, output).await?;
            let size = output.scratch.len() as u64;
            let missing = output.bytes.get(start..) == Some(b"NIL");
            output.bytes.truncate(start);
            return Ok(if missing { 0 } else { size });
        }
        SectionKind::Full => Piece::Full,
        SectionKind::Header => Piece::Header,
        SectionKind::Text => Piece::Text,
        SectionKind::Mime => Piece::Mime,
    };
    match source.extent(reader, &item.section.part, piece).await? {
        Some(extent) => source.wire_bytes(reader, &extent).await,
        None => Ok(0),
    }
}

async fn write_from_memory(
    extent: &Extent,
    transform: Transform,
    partial: Option<Partial>,
    reader: &mut Reader,
    source: &mut Source<'_>,
    output: &mut Output,
) -> Result<(), Failure> {
    if extent.end.saturating_sub(extent.start) > ROW_BYTES_MAX.saturating_sub(output.row_bytes()) as u64 {
        return Err(source.too_much());
    }
    let stored = source.octets(reader, extent.start, extent.end).await?;
    let (mut transformer, mut decoded) = (Transformer::new(transform), Vec::new());
    transformer.feed(&stored, &mut decoded);
    transformer.finish(&mut decoded);
    let Partial { offset, length } = partial.unwrap_or(Partial { offset: 0, length: u64::MAX });
    let rest = decoded.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
    let octets = rest.get(..usize::try_from(length).unwrap_or(usize::MAX)).unwrap_or(rest);
    if memchr(0, octets).is_some() {
        output.bytes.push(b'~');
    }
    write_literal_head(&mut output.bytes, octets.len() as u64);
    output.bytes.extend_from_slice(octets);
    Ok(())
}

/// What is known of a part that is decoded; it is counted once.
async fn counted(
    item: &FetchSection,
    extent: &Extent,
    transform: Transform,
    reader: &mut Reader,
    source: &mut Source<'_>,
) -> Result<Decoded, Failure> {
    if let Some((_, decoded)) = source.decoded(&item.section.part) {
        return Ok(decoded);
    }
    let decoded = count(extent, transform, reader, source).await?;
    source.mark_decoded(extent, decoded);
    Ok(decoded)
}

/// A place not far before an octet of the decoded part, at which decoding can begin. Linear in what lies between the
/// last place sought and this one, or in `offset` if this one is before it.
async fn seek(
    extent: &Extent,
    mut near: Decoded,
    offset: u64,
    reader: &mut Reader,
    source: &mut Source<'_>,
) -> Result<Decoded, Failure> {
    if near.at > offset {
        (near.at, near.offset) = (0, extent.start);
    }
    let mut decoded = Vec::new();
    while near.at < offset {
        let end = extent.end.min(near.offset.saturating_add(SEEK_BYTES));
        let stored = source.octets(reader, near.offset, end).await?;
        let stored = decodable(near.transform, &stored);
        decoded.clear();
        let mut transformer = Transformer::new(near.transform);
        transformer.feed(stored, &mut decoded);
        let whole = decoded.len();
        transformer.finish(&mut decoded);
        let at = near.at.saturating_add(whole as u64);
        if stored.is_empty() || decoded.len() != whole || at > offset {
            break;
        }
        (near.at, near.offset) = (at, near.offset.saturating_add(stored.len() as u64));
    }
    source.mark_decoded(extent, near);
    Ok(near)
}

/// What can be decoded without what comes after it.
fn decodable(transform: Transform, stored: &[u8]) -> &[u8] {
    let lines = memrchr(b'\n', stored).map_or(0, |at| at + 1);
    let len = match transform {
        Transform::Base64 => base64::whole_groups(stored),
        Transform::QuotedPrintable => lines,
        // In a line without an end it is only a CR that waits for what follows.
        Transform::Text | Transform::Octets if lines == 0 => {
            stored.strip_suffix(b"\r").map_or(stored.len(), <[u8]>::len)
        }
        Transform::Text | Transform::Octets => lines,
    };
    stored.get(..len).unwrap_or_default()
}

/// Decodes a stretch of the file in chunks, none of which is kept.
async fn count(
    extent: &Extent,
    transform: Transform,
    reader: &mut Reader,
    source: &mut Source<'_>,
) -> Result<Decoded, Failure> {
    let (mut transformer, mut decoded) = (Transformer::new(transform), Vec::new());
    let mut counted = Decoded { transform, size: 0, has_nul: false, offset: extent.start, at: 0 };
    let mut at = extent.start;
    loop {
        decoded.clear();
        let end = extent.end.min(at.saturating_add(reader.sizes.chunk as u64));
        let stored = source.octets(reader, at, end).await?;
        at = at.saturating_add(stored.len() as u64);
        let last = stored.is_empty() || at >= extent.end;
        transformer.feed(&stored, &mut decoded);
        if last {
            transformer.finish(&mut decoded);
        }
        counted.size = counted.size.saturating_add(decoded.len() as u64);
        counted.has_nul |= memchr(0, &decoded).is_some();
        if last {
            return Ok(counted);
        }
    }
}
