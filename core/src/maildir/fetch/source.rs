//! One message as it is being read: its first octets in memory, its parts, and the way to the rest.

use super::Learned;
use super::item::{Known, Needs};
use crate::disk::{Handle, Stat};
use crate::maildir::context::{StoreError, StoreErrorKind};
use crate::maildir::mailbox::Message;
use crate::maildir::reader::{Failure, Reader};
use crate::mime::header::header_bytes;
use crate::mime::structure::{Piece, Structure};
use crate::mime::structure_parser::StructureParser;
use crate::wire::eol::{CrlfLen, crlf_len};
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
    /// The size with CRLF line ends, counted.
    counted: Option<u64>,
    header: Header,
    structure: Option<Structure>,
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
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Its first octet, as stored.
    pub(super) start: u64,
    /// After its last octet, as stored.
    pub(super) end: u64,
    /// How many octets it has with CRLF line ends; `None` for what begins in the octets that are in memory and
    /// goes to the end of the message, to be found out when needed.
    wire: Option<u64>,
}

/// A place in the file from which a text can be given out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Octets of the file before it. No CR stands between it and a LF right after it.
    pub(super) offset: u64,
    /// How many octets, with CRLF line ends, are to be passed over from there.
    pub(super) skip: u64,
}

impl<'m> Source<'m> {
    /// Nothing is read yet.
    pub(in crate::maildir) fn new(message: &'m Message) -> Source<'m> {
        Source {
            message,
            head: Vec::new(),
            size: None,
            internal_date: None,
            counted: None,
            header: Header::Unknown,
            structure: None,
            file: None,
        }
    }

    /// Reads what every message of the request is read for, and looks up the facts that are missing.
    pub(super) async fn load(&mut self, reader: &mut Reader, needs: &Needs) -> Result<(), Failure> {
        let count = needs.size && self.message.wire_size.is_none();
        if needs.text || count {
            self.load_head(reader, reader.sizes.small).await?;
        } else if needs.header {
            self.load_head(reader, reader.sizes.head).await?;
        } else if needs.date && self.message.internal_date.is_none() {
            let stat = reader.stat(self.message).await?;
            self.take_stat(&stat);
        }
        if count {
            self.count(reader).await?;
        }
        Ok(())
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
        self.size = Some(stat.size);
        self.internal_date = Some(stat.mtime_ns.div_euclid(1_000_000_000));
    }

    /// The facts that are known by now.
    pub(super) fn known(&self) -> Known {
        let known = Known::of(self.message);
        Known {
            wire_size: known.wire_size.or(self.counted),
            internal_date: known.internal_date.or(self.internal_date),
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
        let size = self.size.unwrap_or(0);
        if part.is_empty() {
            if piece == Piece::Full {
                return Ok(Some(Extent { start: 0, end: size, wire: None }));
            }
            self.load_header(reader).await?;
            if let Header::Ends(bytes) = self.header {
                let end = bytes as u64;
                return Ok(match piece {
                    Piece::Header => Some(Extent { start: 0, end, wire: Some(crlf_len(self.header())) }),
                    Piece::Text => Some(Extent { start: end, end: size, wire: None }),
                    Piece::Full | Piece::Mime => None,
                });
            }
        }
        let span = self.structure(reader).await?.section(part, piece);
        Ok(span.map(|span| Extent {
            start: span.start.offset,
            end: span.end.offset,
            wire: Some(span.crlf_bytes()),
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
        if let Some(wire) = extent.wire {
            return Ok(wire);
        }
        let total = match self.named_wire_size() {
            Some(size) => size,
            None => self.count(reader).await?,
        };
        let before = usize::try_from(extent.start).ok().and_then(|start| self.head.get(..start));
        Ok(total.saturating_sub(before.map_or(0, crlf_len)))
    }

    /// RFC822.SIZE as the file's name has it, if the name is right about what can be checked.
    fn named_wire_size(&self) -> Option<u64> {
        let size = self.size.filter(|size| self.message.size == Some(*size))?;
        self.message.wire_size.filter(|wire| (size..=size.saturating_mul(2)).contains(wire))
    }

    /// The place from which the octets from `offset` on can be given out; offsets count CRLF line ends. Linear in
    /// `offset`.
    pub(super) async fn seek(
        &mut self,
        reader: &mut Reader,
        extent: &Extent,
        offset: u64,
    ) -> Result<Place, Failure> {
        let mut place = Place { offset: extent.start, skip: offset };
        let (mut at, mut length) = (extent.start, CrlfLen::new());
        while offset > 0 && at < extent.end {
            let end = extent.end.min(at.saturating_add(reader.sizes.chunk as u64));
            let chunk = self.read_range(reader, at, end).await?;
            length.feed(&chunk);
            if chunk.is_empty() || length.len() > offset {
                break;
            }
            at = at.saturating_add(chunk.len() as u64);
            let cr = u64::from(chunk.last() == Some(&b'\r'));
            place = Place { offset: at - cr, skip: offset - (length.len() - cr) };
        }
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
