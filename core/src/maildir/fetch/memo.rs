//! What a reading of a large message leaves for the next one: where its sections are, and how far they were read.
//!
//! A client fetches a large text in pieces, one after the other. What a piece costs without this is the way to
//! it from the beginning of the file, and for a part of the message the search for the part; with it, a piece costs
//! itself. A memo is of one message, has [`SECTIONS_MAX`] sections at most, and holds no octet of the message. It is good as long as
//! the file is the very same; [`Memo::check`] empties it otherwise.

use super::source::Extent;
use crate::disk::Stat;
use crate::mime::structure::Piece;
use crate::wire::outgoing::Transform;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// So many sections of a message are remembered: those asked for last.
const SECTIONS_MAX: usize = 4;

/// What is worth knowing when the next part of a large message is asked for. Whoever keeps it gives it to the
/// next [`fetch`](super::fetch()) in the same mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memo {
    uid: u32,
    /// The file it is about.
    file: Option<Identity>,
    sections: VecDeque<Remembered>,
}

/// A file that has other octets differs in one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    mtime_ns: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Remembered {
    part: Vec<u32>,
    piece: Piece,
    extent: Extent,
    /// The octet of the section last sought, counted with CRLF line ends, and its place.
    at: u64,
    place: Place,
    decoded: Option<Decoded>,
}

/// A section with its transfer encoding undone (RFC 3516).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// How that is done.
    pub(super) transform: Transform,
    /// Octets it has then.
    pub(super) size: u64,
    /// There is a NUL among them.
    pub(super) has_nul: bool,
    /// Decoding can begin anew at this octet of the file; so many octets come from what is before.
    pub(super) offset: u64,
    pub(super) at: u64,
}

/// A place in the file from which a text can be given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Octets of the file before it. No CR stands between it and a LF right after it.
    pub(super) offset: u64,
    /// How many octets, with CRLF line ends, are to be passed over from there.
    pub(super) skip: u64,
}

impl Memo {
    /// Nothing is known yet.
    pub(super) fn new(uid: u32) -> Memo {
        Memo { uid, file: None, sections: VecDeque::new() }
    }

    /// Whose sections they are.
    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// The message's file is this one; what is known of another is forgotten.
    pub(super) fn check(&mut self, stat: &Stat) {
        let Stat { device, inode, size, mtime_ns, .. } = *stat;
        let file = Some(Identity { device, inode, size, mtime_ns });
        if self.file != file {
            self.sections.clear();
            self.file = file;
        }
    }

    /// Where a section is, if that is known.
    pub(super) fn extent(&self, part: &[u32], piece: Piece) -> Option<Extent> {
        let found = self.sections.iter().find(|known| known.part == part && known.piece == piece);
        found.map(|known| known.extent)
    }

    /// A section is found.
    pub(super) fn remember(&mut self, part: &[u32], piece: Piece, extent: Extent) {
        if self.sections.len() == SECTIONS_MAX {
            self.sections.pop_front();
        }
        let place = Place { offset: extent.start, skip: 0 };
        self.sections.push_back(Remembered {
            part: part.to_vec(),
            piece,
            extent,
            at: 0,
            place,
            decoded: None,
        });
    }

    /// What is known of a section with its transfer encoding undone.
    pub(super) fn decoded(&self, extent: &Extent) -> Option<Decoded> {
        self.sections.iter().find(|known| known.extent == *extent)?.decoded
    }

    /// It is as it is said.
    pub(super) fn mark_decoded(&mut self, extent: &Extent, decoded: Decoded) {
        if let Some(known) = self.sections.iter_mut().find(|known| known.extent == *extent) {
            known.decoded = Some(decoded);
        }
    }

    /// The last known place in a section that is not behind `offset`.
    pub(super) fn place_before(&self, extent: &Extent, offset: u64) -> Place {
        let known = self.sections.iter().find(|known| known.extent == *extent && known.at <= offset);
        known.map_or(Place { offset: extent.start, skip: offset }, |known| Place {
            skip: known.place.skip.saturating_add(offset - known.at),
            ..known.place
        })
    }

    /// The octets of a section from `at` on begin at `place`.
    pub(super) fn mark(&mut self, extent: &Extent, at: u64, place: Place) {
        if let Some(known) = self.sections.iter_mut().find(|known| known.extent == *extent) {
            (known.at, known.place) = (at, place);
        }
    }
}
