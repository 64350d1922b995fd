//! One message as it is being read: its first octets in memory, its parts, and the way to the rest.

use super::Learned;
use super::item::{Known, Needs};
use super::memo::{Decoded, Memo, Place};
use crate::disk::{Handle, Stat};
use crate::maildir::context::{StoreError, StoreErrorKind};
use crate::maildir::mailbox::Message;
use crate::maildir::reader::{Failure, Reader};
use crate::mime::header::header_bytes;
use crate::mime::structure::{Piece, Structure};
use crate::mime::structure_parser::StructureParser;
use crate::wire::eol::{CrlfLen, crlf_len, crlf_prefix};
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// A message that is being read.
#[derive(Debug)]
pub(in crate::maildir) struct Source<'m> {
    pub(in crate::maildir) message: &'m Message,
    /// The first octets of the file, maybe all.
    head: Vec<u8>,
    /// The size of the file, from the file system.
    size: Option<u64>,
    internal_date: Option<i64>,
    /// When its directory entry was last changed, in seconds since 1970.
    saved: Option<i64>,
    /// The size with CRLF line ends, counted.
    counted: Option<u64>,
    header: Header,
    structure: Option<Structure>,
    /// What this and the last reading of it found out about where its sections are.
    memo: Memo,
    /// Open when more than `head` had to be read.
    file: Option<Handle>,
}

#[derive(Clone, Copy, Debug)]
enum Header {
    Unknown,
    /// So many octets of `head`, with the empty line.
    Ends(usize),
    /// It is longer than what is looked at.
    Endless,
}

/// A stretch of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Its first octet, as stored.
    pub(super) start: u64,
    /// After its last octet, as stored.
    pub(super) end: u64,
    wire: Length,
}

/// How many octets a stretch has with CRLF line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known(u64),
    /// It goes to the end of the message; so many are before it.
    AllBut(u64),
}

impl<'m> Source<'m> {
    /// Nothing is read yet.
    pub(in crate::maildir) fn new(message: &'m Message) -> Source<'m> {
        Source {
            message,
            head: Vec::new(),
            size: None,
            internal_date: None,
            saved: None,
            counted: None,
            header: Header::Unknown,
            structure: None,
            memo: Memo::new(message.uid),
            file: None,
        }
    }

    /// What the last reading of the message found out is used, if its file is the same.
    pub(super) fn recall(&mut self, memo: &mut Option<Memo>) {
        if let Some(memo) = memo.take_if(|memo| memo.uid() == self.message.uid) {
            self.memo = memo;
        }
    }

    /// What spares the next reading of the message some work, if there is such.
    pub(super) fn memo(self) -> Option<Memo> {
        Some(self.memo).filter(|memo| !memo.is_empty())
    }

    /// Reads what every message of the request is read for, and looks up the facts that are missing.
    pub(super) async fn load(&mut self, reader: &mut Reader, needs: &Needs) -> Result<(), Failure> {
        let count = needs.size && self.message.wire_size.is_none();
        if needs.text && !needs.header && self.is_recalled(reader).await? {
            // Likely no octet is wanted but those of the sections.
        } else if needs.text || count {
            self.load_head(reader, reader.sizes.small).await?;
        } else if needs.header {
            self.load_head(reader, reader.sizes.head).await?;
        } else if (needs.saved && self.message.save_date().is_none())
            || (needs.date && self.message.internal_date.is_none())
        {
            let stat = reader.stat(self.message).await?;
            self.take_stat(&stat);
        }
        if count {
            self.count(reader).await?;
        }
        Ok(())
    }

    /// Whether what was recalled is about this very file.
    async fn is_recalled(&mut self, reader: &mut Reader) -> Result<bool, Failure> {
        if self.memo.is_empty() {
            return Ok(false);
        }
        let stat = reader.stat(self.message).await?;
        self.take_stat(&stat);
        Ok(!self.memo.is_empty())
    }

    /// When the message arrived, as far as it is known.
    pub(in crate::maildir) fn internal_date(&self) -> Option<i64> {
        self.message.internal_date.or(self.internal_date)
    }

    /// Looks up when the message arrived, if that is not known.
    pub(in crate::maildir) async fn look_up_date(&mut self, reader: &mut Reader) -> Result<(), Failure> {
        if self.internal_date().is_none() {
            let stat = reader.stat(self.message).await?;
            self.take_stat(&stat);
        }
        Ok(())
    }

    /// Reads the header of the message.
    pub(in crate::maildir) async fn read_header(&mut self, reader: &mut Reader) -> Result<&[u8], Failure> {
        self.load_head(reader, reader.sizes.head).await?;
        self.load_header(reader).await?;
        Ok(self.header())
    }

    /// Reads the first `max` octets, which tells the facts too.
    pub(in crate::maildir) async fn load_head(
        &mut self,
        reader: &mut Reader,
        max: usize,
    ) -> Result<(), Failure> {
        let (head, stat) = reader.read(self.message, max).await?;
        self.take_stat(&stat);
        self.head = head;
        Ok(())
    }

    fn take_stat(&mut self, stat: &Stat) {
        self.memo.check(stat);
        self.size = Some(stat.size);
        self.internal_date = Some(stat.mtime_ns.div_euclid(1_000_000_000));
        self.saved = Some(stat.ctime_ns.div_euclid(1_000_000_000));
    }

    /// The beginning of the file: all of a small message, of a large one the same number of octets.
    pub(super) async fn first_octets(&mut self, reader: &mut Reader) -> Result<&[u8], Failure> {
        if self.head.is_empty() {
            self.load_head(reader, reader.sizes.small).await?;
        }
        Ok(&self.head)
    }

    /// The facts that are known by now.
    pub(super) fn known(&self) -> Known {
        let known = Known::of(self.message);
        Known {
            wire_size: known.wire_size.or(self.counted),
            internal_date: known.internal_date.or(self.internal_date),
            saved: known.saved.or(self.saved),
            ..known
        }
    }

    /// What has been found out that the snapshot did not know, or knew wrongly.
    pub(super) fn learned(&self) -> Option<Learned> {
        let message = self.message;
        let learned = Learned {
            uid: message.uid,
            size: self.size.filter(|size| message.size != Some(*size)),
            wire_size: self.counted.filter(|size| message.wire_size != Some(*size)),
            internal_date: self.internal_date.filter(|_| message.internal_date.is_none()),
        };
        let new = learned.size.is_some() || learned.wire_size.is_some() || learned.internal_date.is_some();
        new.then_some(learned)
    }

    /// Counts the octets of the message with CRLF line ends.
    pub(in crate::maildir) async fn count(&mut self, reader: &mut Reader) -> Result<u64, Failure> {
        if let Some(counted) = self.counted {
            return Ok(counted);
        }
        if self.size.is_none() {
            self.load_head(reader, reader.sizes.small).await?;
        }
        let mut length = CrlfLen::new();
        length.feed(&self.head);
        let mut at = self.head.len() as u64;
        while !self.is_end(at) {
            let chunk = self.read_range(reader, at, at.saturating_add(reader.sizes.chunk as u64)).await?;
            if chunk.is_empty() {
                break;
            }
            length.feed(&chunk);
            at = at.saturating_add(chunk.len() as u64);
        }
        self.counted = Some(length.len());
        Ok(length.len())
    }

    /// Reads on until the header ends, or is too long.
    pub(in crate::maildir) async fn load_header(&mut self, reader: &mut Reader) -> Result<(), Failure> {
        while matches!(self.header, Header::Unknown) {
            let bytes = header_bytes(&self.head);
            let at = self.head.len() as u64;
            if self.is_end(at) || ends_in_empty_line(self.head.get(..bytes).unwrap_or_default()) {
                self.header = Header::Ends(bytes);
            } else if self.head.len() >= reader.sizes.header_max {
                self.header = Header::Endless;
            } else {
                let chunk = self.read_range(reader, at, at.saturating_add(reader.sizes.chunk as u64)).await?;
                if chunk.is_empty() {
                    self.header = Header::Ends(bytes);
                }
                self.head.extend_from_slice(&chunk);
            }
        }
        Ok(())
    }

    /// The header of the message, loaded before.
    pub(in crate::maildir) fn header(&self) -> &[u8] {
        match self.header {
            Header::Ends(bytes) => self.head.get(..bytes).unwrap_or(&self.head),
            Header::Unknown | Header::Endless => &self.head,
        }
    }

    /// The parts of the message.
    pub(super) async fn structure(&mut self, reader: &mut Reader) -> Result<&Structure, Failure> {
        if self.structure.is_none() {
            let mut parser = StructureParser::new();
            parser.feed(&self.head);
            let mut at = self.head.len() as u64;
            while !self.is_end(at) {
                let chunk = self.read_range(reader, at, at.saturating_add(reader.sizes.chunk as u64)).await?;
                if chunk.is_empty() {
                    break;
                }
                parser.feed(&chunk);
                at = at.saturating_add(chunk.len() as u64);
            }
            let structure = parser.finish();
            self.counted = Some(structure.root().body.end.crlf_offset());
            self.structure = Some(structure);
        }
        Ok(self.structure.as_ref().expect("it is made above when there is none"))
    }

    /// The parts of the message, to be kept by the caller.
    pub(in crate::maildir) async fn take_structure(
        &mut self,
        reader: &mut Reader,
    ) -> Result<Structure, Failure> {
        self.structure(reader).await?;
        Ok(self.structure.take().expect("the line above makes it"))
    }

    /// Where a section is; `None` if the message has none such.
    pub(super) async fn extent(
        &mut self,
        reader: &mut Reader,
        part: &[u32],
        piece: Piece,
    ) -> Result<Option<Extent>, Failure> {
        if let Some(extent) = self.memo.extent(part, piece) {
            return Ok(Some(extent));
        }
        let extent = self.find_extent(reader, part, piece).await?;
        let large = self.size.is_some_and(|size| size > reader.sizes.small as u64);
        if let Some(extent) = extent.filter(|_| large) {
            self.memo.remember(part, piece, extent);
        }
        Ok(extent)
    }

    /// What is known of a part with its transfer encoding undone, and where it is.
    pub(super) fn decoded(&self, part: &[u32]) -> Option<(Extent, Decoded)> {
        let extent = self.memo.extent(part, Piece::Full)?;
        Some((extent, self.memo.decoded(&extent)?))
    }

    /// It is as it is said.
    pub(super) fn mark_decoded(&mut self, extent: &Extent, decoded: Decoded) {
        self.memo.mark_decoded(extent, decoded);
    }

    async fn find_extent(
        &mut self,
        reader: &mut Reader,
        part: &[u32],
        piece: Piece,
    ) -> Result<Option<Extent>, Failure> {
        let size = self.size.unwrap_or(0);
        if part.is_empty() {
            if piece == Piece::Full {
                return Ok(Some(Extent { start: 0, end: size, wire: Length::AllBut(0) }));
            }
            self.load_header(reader).await?;
            if let Header::Ends(bytes) = self.header {
                let (end, wire) = (bytes as u64, crlf_len(self.header()));
                return Ok(match piece {
                    Piece::Header => Some(Extent { start: 0, end, wire: Length::Known(wire) }),
                    Piece::Text => Some(Extent { start: end, end: size, wire: Length::AllBut(wire) }),
                    Piece::Full | Piece::Mime => None,
                });
            }
        }
        let span = self.structure(reader).await?.section(part, piece);
        Ok(span.map(|span| Extent {
            start: span.start.offset,
            end: span.end.offset,
            wire: Length::Known(span.crlf_bytes()),
        }))
    }

    /// The octets of an extent, if all of them are in memory.
    pub(super) fn loaded(&self, extent: &Extent) -> Option<&[u8]> {
        self.loaded_range(extent.start, extent.end)
    }

    /// The octets from `start` to `end`, if all of them are in memory.
    fn loaded_range(&self, start: u64, end: u64) -> Option<&[u8]> {
        self.head.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    /// The octets of an extent that is a header, cut where it is too long.
    pub(super) async fn block(
        &mut self,
        reader: &mut Reader,
        extent: &Extent,
    ) -> Result<Cow<'_, [u8]>, Failure> {
        let end = extent.end.min(extent.start.saturating_add(reader.sizes.header_max as u64));
        self.octets(reader, extent.start, end).await
    }

    /// How many octets an extent has with CRLF line ends.
    pub(super) async fn wire_bytes(&mut self, reader: &mut Reader, extent: &Extent) -> Result<u64, Failure> {
        let before = match extent.wire {
            Length::Known(wire) => return Ok(wire),
            Length::AllBut(before) => before,
        };
        let total = match self.named_wire_size() {
            Some(size) => size,
            None => self.count(reader).await?,
        };
        Ok(total.saturating_sub(before))
    }

    /// RFC822.SIZE as the file's name has it, if the name is right about what can be checked.
    fn named_wire_size(&self) -> Option<u64> {
        let size = self.size.filter(|size| self.message.size == Some(*size))?;
        self.message.wire_size.filter(|wire| (size..=size.saturating_mul(2)).contains(wire))
    }

    /// The place from which the octets from `offset` on can be given out; offsets count CRLF line ends. Linear in
    /// what lies between the last place sought in the extent and this one, or in `offset` if this one is before it.
    pub(super) async fn seek(
        &mut self,
        reader: &mut Reader,
        extent: &Extent,
        offset: u64,
    ) -> Result<Place, Failure> {
        let mut place = self.memo.place_before(extent, offset);
        while place.skip > 0 && place.offset < extent.end {
            // As stored it is no more; but a CR is passed over only together with what comes after it.
            let bytes = place.skip.clamp(2, (reader.sizes.chunk as u64).max(2));
            let end = extent.end.min(place.offset.saturating_add(bytes));
            let chunk = self.read_range(reader, place.offset, end).await?;
            let (stored, wire) = crlf_prefix(&chunk, place.skip);
            let cr = usize::from(chunk.get(..stored).is_some_and(|passed| passed.ends_with(b"\r")));
            if stored == cr {
                break;
            }
            place.offset = place.offset.saturating_add((stored - cr) as u64);
            place.skip = place.skip.saturating_sub(wire.saturating_sub(cr as u64));
        }
        self.memo.mark(extent, offset, place);
        Ok(place)
    }

    /// Octets of the file, as stored; fewer at its end.
    pub(super) async fn read_range(
        &mut self,
        reader: &mut Reader,
        start: u64,
        end: u64,
    ) -> Result<Vec<u8>, Failure> {
        let file = self.open(reader).await?;
        let len = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        reader.read_at(self.message, file, start, len).await
    }

    /// Octets of the file, as stored, from memory if they are there.
    pub(in crate::maildir) async fn octets(
        &mut self,
        reader: &mut Reader,
        start: u64,
        end: u64,
    ) -> Result<Cow<'_, [u8]>, Failure> {
        if self.loaded_range(start, end).is_some() {
            return Ok(Cow::Borrowed(self.loaded_range(start, end).unwrap_or_default()));
        }
        Ok(Cow::Owned(self.read_range(reader, start, end).await?))
    }

    /// The open file, for whoever closes it.
    pub(super) async fn give_away(&mut self, reader: &mut Reader) -> Result<Handle, Failure> {
        let file = self.open(reader).await?;
        self.file = None;
        reader.keep(file);
        Ok(file)
    }

    /// A request that wants more of the message than a row can have.
    pub(super) fn too_much(&self) -> Failure {
        Failure::Store(StoreError::new(StoreErrorKind::Cannot, &self.message.file))
    }

    /// Closes the file.
    pub(in crate::maildir) async fn close(&mut self, reader: &mut Reader) {
        if let Some(file) = self.file.take() {
            reader.close(file).await;
        }
    }

    async fn open(&mut self, reader: &mut Reader) -> Result<Handle, Failure> {
        match self.file {
            Some(file) => Ok(file),
            None => {
                let file = reader.open(self.message).await?;
                self.file = Some(file);
                Ok(file)
            }
        }
    }

    /// Whether the file has no octet at `at`, as far as the file system has said.
    fn is_end(&self, at: u64) -> bool {
        self.size.is_some_and(|size| at >= size)
    }
}

fn ends_in_empty_line(header: &[u8]) -> bool {
    matches!(header, b"\n" | b"\r\n") || header.ends_with(b"\n\n") || header.ends_with(b"\n\r\n")
}
