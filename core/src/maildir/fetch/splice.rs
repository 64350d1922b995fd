//! Octets of one message that become octets of another (CATENATE, RFC 4469): read in chunks, none of which is kept.

use super::source::{Extent, Source};
use crate::disk::Disk;
use crate::imap::fetch::SectionKind;
use crate::imap::url::MessageUrl;
use crate::maildir::context::{Root, StoreError, StoreErrorKind};
use crate::maildir::folder::FolderName;
use crate::maildir::mailbox::Message;
use crate::maildir::reader::{Failure, Reader};
use crate::mime::structure::Piece;
use crate::mime::text::write_header;
use crate::wire::eol::{ToCrlf, ToLf};
use alloc::vec::Vec;

/// What is to be read, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    /// Whose.
    pub root: Root,
    /// The mailbox.
    pub folder: FolderName,
    /// The message.
    pub message: Message,
    /// What of it.
    pub url: MessageUrl,
    /// What the new message may become in all, in octets with CRLF line ends; above it [`StoreErrorKind::TooBig`].
    pub wire_bytes_max: u64,
    /// The how manieth URL of its command it is, for [`StoreErrorKind::BadUrl`].
    pub place: usize,
}

/// A [`Splice`] that is being read.
#[derive(Debug)]
pub(in crate::maildir) struct Splicing<'s> {
    splice: &'s Splice,
    reader: Reader,
    source: Source<'s>,
    state: State,
}

#[derive(Debug)]
enum State {
    Start,
    /// Octets of the file from `at` to `end`; of those, with CRLF line ends, `skip` are passed over and `left` taken.
    Reading {
        at: u64,
        end: u64,
        skip: u64,
        left: u64,
        crlf: ToCrlf,
        lf: ToLf,
    },
    End,
}

impl<'s> Splicing<'s> {
    pub(in crate::maildir) fn new(disk: Disk, splice: &'s Splice) -> Splicing<'s> {
        let reader = Reader::new(disk, splice.root.clone(), splice.folder.clone());
        Splicing { splice, reader, source: Source::new(&splice.message), state: State::Start }
    }

    /// The next octets, with LF line ends.
    ///
    /// # Errors
    /// [`StoreErrorKind::BadUrl`] if there is no such message or it has no such part; else what the disk says.
    pub(in crate::maildir) async fn next(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let place = self.splice.place;
        self.step().await.map_err(|failure| match failure {
            Failure::Gone => StoreError::new(StoreErrorKind::BadUrl(place), &[]),
            Failure::Store(error) => error,
        })
    }

    /// Closes what was opened.
    pub(in crate::maildir) async fn finish(mut self) {
        self.source.close(&mut self.reader).await;
        self.reader.finish().await;
    }

    async fn step(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match core::mem::replace(&mut self.state, State::End) {
            State::Start => self.start().await,
            State::Reading { at, end, skip, left, crlf, lf } if at < end && left > 0 => {
                let chunk_end = end.min(at.saturating_add(self.reader.sizes.chunk as u64));
                let stored = self.source.octets(&mut self.reader, at, chunk_end).await?;
                // The file is shorter than it was.
                let next = if stored.is_empty() { end } else { at.saturating_add(stored.len() as u64) };
                let (mut skip, mut left, mut crlf, mut lf) = (skip, left, crlf, lf);
                let mut wire = Vec::with_capacity(stored.len());
                crlf.feed(&stored, &mut wire);
                let passed = usize::try_from(skip).unwrap_or(usize::MAX).min(wire.len());
                let taken = wire.get(passed..).unwrap_or_default();
                let taken = taken.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(taken);
                (skip, left) = (skip - passed as u64, left.saturating_sub(taken.len() as u64));
                let mut out = Vec::with_capacity(taken.len());
                lf.feed(taken, &mut out);
                self.state = State::Reading { at: next, end, skip, left, crlf, lf };
                Ok(Some(out))
            }
            State::Reading { lf, .. } => {
                let mut out = Vec::new();
                lf.finish(&mut out);
                Ok((!out.is_empty()).then_some(out))
            }
            State::End => Ok(None),
        }
    }

    async fn start(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let small = self.reader.sizes.small;
        self.source.load_head(&mut self.reader, small).await?;
        let section = &self.splice.url.section;
        let (piece, filter) = match &section.kind {
            SectionKind::Full => (Piece::Full, None),
            SectionKind::Header => (Piece::Header, None),
            SectionKind::HeaderFields { not, names } => (Piece::Header, Some((*not, names))),
            SectionKind::Text => (Piece::Text, None),
            SectionKind::Mime => (Piece::Mime, None),
        };
        let extent =
            self.source.extent(&mut self.reader, &section.part, piece).await?.ok_or(Failure::Gone)?;
        let range = self.splice.url.range;
        let (offset, left) =
            range.map_or((0, u64::MAX), |range| (range.offset, range.length.unwrap_or(u64::MAX)));
        if let Some((not, names)) = filter {
            let block = self.source.block(&mut self.reader, &extent).await?;
            let mut wire = Vec::new();
            write_header(&mut wire, &block, |name| names.contains(name) != not);
            let skip = usize::try_from(offset).unwrap_or(usize::MAX);
            let taken = wire.get(skip..).unwrap_or_default();
            let taken = taken.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(taken);
            let (mut lf, mut out) = (ToLf::new(), Vec::new());
            lf.feed(taken, &mut out);
            lf.finish(&mut out);
            return Ok(Some(out));
        }
        let Extent { end, .. } = extent;
        let place = self.source.seek(&mut self.reader, &extent, offset).await?;
        let (crlf, lf) = (ToCrlf::new(), ToLf::new());
        self.state = State::Reading { at: place.offset, end, skip: place.skip, left, crlf, lf };
        Ok(Some(Vec::new()))
    }
}
