//! Ordered output: octets, and ranges of opened files with their line ends turned into CRLF and their NULs into
//! `\x80` on the way out.
//!
//! A machine pushes; the caller sends. Small replies that are pushed one after the other are one run of octets,
//! so pipelined replies leave in one write. A [`FileRange`] names an opened handle; when its turn comes
//! [`SendQueue::poll_transmit`] asks for raw octets of the file and the queue transforms them. Exactly the
//! announced number of octets is emitted: a file that turns out shorter is padded with spaces, a longer one is
//! cut, and [`SendQueue::poll_mismatch`] reports it, for a client that was told `{n}` counts on it.
//!
//! ```
//! use postier_core::send_queue::{SendQueue, Transmit};
//! let mut tx = SendQueue::default();
//! tx.push(b"* OK ready\r\n");
//! let Some(Transmit::Bytes(bytes)) = tx.poll_transmit() else { panic!() };
//! assert_eq!(bytes, b"* OK ready\r\n");
//! tx.handle_sent(12);
//! assert!(tx.poll_transmit().is_none());
//! ```

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::disk::Handle;
use crate::wire::deflate::Deflater;
use crate::wire::outgoing::{Transform, Transformer};

/// How much of a file is asked for at once, in octets.
pub const READ_BYTES_MAX: usize = 64 * 1024;

/// A part of an opened file, to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRange {
    /// The opened file; the queue gives it back by [`SendQueue::poll_release`].
    pub file: Handle,
    /// Where in the file to start, in octets as stored; at the start of a line or behind a LF.
    pub offset: u64,
    /// How many octets to drop after the transformation, before the first one is sent.
    pub skip: u64,
    /// How many octets are sent: the number the client was told.
    pub emit: u64,
    /// Where in the file to end, in octets as stored.
    pub end: u64,
    /// What the octets become.
    pub transform: Transform,
}

impl FileRange {
    /// Text to the end of the file, of which `emit` octets are sent.
    pub const fn text(file: Handle, offset: u64, skip: u64, emit: u64) -> FileRange {
        FileRange { file, offset, skip, emit, end: u64::MAX, transform: Transform::Text }
    }
}

/// What the caller is to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Transmit<'q> {
    /// Send these; then say how many went by [`SendQueue::handle_sent`].
    Bytes(&'q [u8]),
    /// Read up to `len` octets of the file at `offset` and hand them to [`SendQueue::handle_read`].
    Read {
        /// The opened file.
        file: Handle,
        /// Octets from its start.
        offset: u64,
        /// How many at most.
        len: usize,
    },
}

#[derive(Debug)]
enum Segment {
    Bytes(Vec<u8>),
    Range(RangeProgress),
    /// What follows is packed.
    Deflate,
}

#[derive(Debug)]
struct RangeProgress {
    range: FileRange,
    offset: u64,
    transformer: Transformer,
}

/// Octets and file ranges in the order they are to be sent.
#[derive(Debug)]
pub struct SendQueue {
    segments: VecDeque<Segment>,
    /// Octets of the front that are sent already.
    sent: usize,
    /// Transformed octets of the range at the front.
    ready: Vec<u8>,
    pending: u64,
    /// Of these, octets that are still in their files.
    unread: u64,
    high_water: u64,
    released: Vec<Handle>,
    mismatches: u32,
    packing: Option<Packing>,
}

/// Octets on their way out are packed.
#[derive(Debug, Default)]
struct Packing {
    deflater: Deflater,
    packed: Vec<u8>,
    /// Octets of `packed` that are sent already.
    sent: usize,
}

impl Default for SendQueue {
    /// A queue with a high-water mark of 64 KiB.
    fn default() -> Self {
        SendQueue::new(64 * 1024)
    }
}

impl SendQueue {
    /// A queue above whose `high_water` (octets) machines stop producing; a quarter of it is the low water.
    pub fn new(high_water: u64) -> Self {
        SendQueue {
            segments: VecDeque::new(),
            sent: 0,
            ready: Vec::new(),
            pending: 0,
            unread: 0,
            high_water,
            released: Vec::new(),
            mismatches: 0,
            packing: None,
        }
    }

    /// Adds octets.
    pub fn push(&mut self, bytes: &[u8]) {
        self.write_with(|out| out.extend_from_slice(bytes));
    }

    /// Lets `write` append to the run of octets at the end, without a copy.
    pub fn write_with<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        if !matches!(self.segments.back(), Some(Segment::Bytes(_))) {
            self.segments.push_back(Segment::Bytes(Vec::new()));
        }
        let Some(Segment::Bytes(bytes)) = self.segments.back_mut() else {
            unreachable!("the last segment is bytes: pushed above")
        };
        let before = bytes.len();
        let result = write(bytes);
        self.pending = self.pending.saturating_add(bytes.len().saturating_sub(before) as u64);
        result
    }

    /// Adds a part of an opened file; it counts with all its octets at once.
    pub fn push_range(&mut self, range: FileRange) {
        self.pending = self.pending.saturating_add(range.emit);
        self.unread = self.unread.saturating_add(range.emit);
        let transformer = Transformer::new(range.transform);
        let progress = RangeProgress { offset: range.offset, range, transformer };
        self.segments.push_back(Segment::Range(progress));
    }

    /// What is added from now on is packed by DEFLATE (RFC 1951), and flushed whenever nothing more waits.
    pub fn push_deflate(&mut self) {
        self.segments.push_back(Segment::Deflate);
    }

    /// Octets that wait to be sent, file ranges included.
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// Octets that wait to be sent and are in memory: those of file ranges are not until they are read.
    pub fn buffered(&self) -> u64 {
        self.pending.saturating_sub(self.unread)
    }

    /// Nothing waits to be sent.
    pub fn is_empty(&self) -> bool {
        let held_back = self.packing.as_ref().is_some_and(|packing| packing.deflater.is_dirty());
        self.pending == 0 && !held_back
    }

    /// At or above this, a machine returns `None` instead of producing more.
    pub fn is_above_high_water(&self) -> bool {
        self.pending >= self.high_water
    }

    /// Below this, the caller pumps the machine again.
    pub fn is_below_low_water(&self) -> bool {
        self.pending < self.high_water / 4
    }

    /// What to do next; `None` when empty. Asking again without acting gives the same.
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        self.drop_finished();
        if self.packing.is_some() {
            return self.poll_packed();
        }
        match self.segments.front()? {
            Segment::Deflate => None,
            Segment::Bytes(bytes) => Some(Transmit::Bytes(bytes.get(self.sent..).unwrap_or_default())),
            Segment::Range(_) if self.sent < self.ready.len() => {
                Some(Transmit::Bytes(self.ready.get(self.sent..).unwrap_or_default()))
            }
            Segment::Range(progress) => Some(Transmit::Read {
                file: progress.range.file,
                offset: progress.offset,
                len: READ_BYTES_MAX,
            }),
        }
    }

    /// Packs until there is something to send.
    fn poll_packed(&mut self) -> Option<Transmit<'_>> {
        loop {
            self.drop_finished();
            let packing = self.packing.as_mut()?;
            if packing.sent < packing.packed.len() {
                break;
            }
            (packing.sent, packing.packed) = (0, Vec::new());
            let plain = match self.segments.front() {
                Some(Segment::Bytes(bytes)) => bytes.get(self.sent..).unwrap_or_default(),
                Some(Segment::Range(_)) if self.sent < self.ready.len() => {
                    self.ready.get(self.sent..).unwrap_or_default()
                }
                Some(Segment::Range(progress)) => {
                    let (file, offset) = (progress.range.file, progress.offset);
                    return Some(Transmit::Read { file, offset, len: READ_BYTES_MAX });
                }
                Some(Segment::Deflate) | None if packing.deflater.is_dirty() => {
                    packing.deflater.flush(&mut packing.packed);
                    self.pending = self.pending.saturating_add(packing.packed.len() as u64);
                    continue;
                }
                Some(Segment::Deflate) | None => return None,
            };
            let plain = plain.get(..READ_BYTES_MAX).unwrap_or(plain);
            packing.deflater.feed(plain, &mut packing.packed);
            self.sent = self.sent.saturating_add(plain.len());
            self.pending = self.pending.saturating_sub(plain.len() as u64);
            self.pending = self.pending.saturating_add(packing.packed.len() as u64);
        }
        let packing = self.packing.as_ref()?;
        Some(Transmit::Bytes(packing.packed.get(packing.sent..).unwrap_or_default()))
    }

    /// `count` octets of what [`Transmit::Bytes`] lent are sent.
    pub fn handle_sent(&mut self, count: usize) {
        if let Some(packing) = &mut self.packing {
            packing.sent = packing.sent.saturating_add(count);
            self.pending = self.pending.saturating_sub(count as u64);
            return;
        }
        self.sent = self.sent.saturating_add(count);
        self.pending = self.pending.saturating_sub(count as u64);
        self.drop_finished();
    }

    /// Raw octets of the file at the offset that [`Transmit::Read`] named; empty at its end or after an error.
    pub fn handle_read(&mut self, raw: &[u8]) {
        let Some(Segment::Range(progress)) = self.segments.front_mut() else { return };
        self.ready.clear();
        self.sent = 0;
        let announced = usize::try_from(progress.range.emit).unwrap_or(usize::MAX);
        let left = usize::try_from(progress.range.end.saturating_sub(progress.offset)).unwrap_or(usize::MAX);
        let raw = raw.get(..left).unwrap_or(raw);
        progress.offset = progress.offset.saturating_add(raw.len() as u64);
        progress.transformer.feed(raw, &mut self.ready);
        let ends = raw.is_empty() || progress.offset >= progress.range.end;
        if ends {
            progress.transformer.finish(&mut self.ready);
        }
        let skip = usize::try_from(progress.range.skip).unwrap_or(usize::MAX).min(self.ready.len());
        self.ready.drain(..skip);
        progress.range.skip -= skip as u64;
        self.ready.truncate(announced);
        if raw.is_empty() && self.ready.is_empty() {
            self.mismatches += 1;
            progress.range.skip = 0;
            self.ready.resize(announced.min(READ_BYTES_MAX), b' ');
        }
        progress.range.emit -= self.ready.len() as u64;
        self.unread = self.unread.saturating_sub(self.ready.len() as u64);
    }

    /// A file that will not be sent after all, to be closed.
    pub fn release(&mut self, file: Handle) {
        self.released.push(file);
    }

    /// A file the queue is done with, to be closed.
    pub fn poll_release(&mut self) -> Option<Handle> {
        self.released.pop()
    }

    /// How many ranges were padded since the last call: files shorter than their names say.
    pub fn poll_mismatch(&mut self) -> u32 {
        core::mem::take(&mut self.mismatches)
    }

    /// Drops everything that waits, and gives its files back for closing.
    pub fn clear(&mut self) {
        for segment in self.segments.drain(..) {
            if let Segment::Range(progress) = segment {
                self.released.push(progress.range.file);
            }
        }
        (self.sent, self.pending, self.unread) = (0, 0, 0);
        self.ready = Vec::new();
        if let Some(packing) = &mut self.packing {
            *packing = Packing::default();
        }
    }

    fn drop_finished(&mut self) {
        while let Some(front) = self.segments.front() {
            let finished = match front {
                Segment::Bytes(bytes) => self.sent >= bytes.len(),
                Segment::Range(progress) => progress.range.emit == 0 && self.sent >= self.ready.len(),
                Segment::Deflate => {
                    self.packing.get_or_insert_default();
                    true
                }
            };
            if !finished {
                return;
            }
            if let Some(Segment::Range(progress)) = self.segments.pop_front() {
                self.released.push(progress.range.file);
                self.ready = Vec::new();
            }
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// Sends everything in pieces of `piece` octets, files read from `file` in reads of `read` octets.
    fn drain(tx: &mut SendQueue, file: &[u8], piece: usize, read: usize) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            match tx.poll_transmit() {
                None => return out,
                Some(Transmit::Bytes(bytes)) => {
                    let count = bytes.len().min(piece);
                    out.extend_from_slice(&bytes[..count]);
                    tx.handle_sent(count);
                }
                Some(Transmit::Read { offset, len, .. }) => {
                    let start = usize::try_from(offset).unwrap().min(file.len());
                    let end = (start + len.min(read)).min(file.len());
                    tx.handle_read(&file[start..end]);
                }
            }
        }
    }

    #[test]
    fn octets_and_ranges_leave_in_order_however_they_are_read_and_sent() {
        let file = b"one\ntwo\r\nthree\n";
        for piece in 1..8 {
            for read in 1..8 {
                let mut tx = SendQueue::default();
                tx.push(b"{18}\r\n");
                tx.push_range(FileRange::text(Handle(1), 0, 2, 13));
                tx.push(b")");
                tx.push(b"\r\n");
                assert_eq!(tx.pending(), 6 + 13 + 3);
                let sent = drain(&mut tx, file, piece, read);
                assert_eq!(sent, b"{18}\r\ne\r\ntwo\r\nthree)\r\n");
                assert_eq!((tx.poll_release(), tx.poll_release()), (Some(Handle(1)), None));
                assert!(tx.is_empty() && tx.poll_mismatch() == 0);
            }
        }
    }

    #[test]
    fn a_short_file_is_padded_to_what_was_announced() {
        let mut tx = SendQueue::default();
        tx.push_range(FileRange::text(Handle(1), 0, 0, 10));
        tx.push(b")");
        assert_eq!((tx.pending(), tx.buffered()), (11, 1));
        tx.handle_read(b"abc\n");
        assert_eq!((tx.pending(), tx.buffered()), (11, 6));
        assert_eq!(drain(&mut tx, b"abc\n", 100, 100), b"abc\r\n     )");
        assert_eq!((tx.pending(), tx.buffered()), (0, 0));
        assert_eq!(tx.poll_mismatch(), 1);
    }

    #[test]
    fn a_part_is_decoded_up_to_its_end_and_no_further() {
        // The part is not padded; what follows it must not be taken for more of it.
        let file = b"x\naGVsbG8gd29ybGQ\n--b\n";
        for piece in 1..8 {
            for read in 1..20 {
                let mut tx = SendQueue::default();
                let (offset, end) = (2, 17);
                let transform = Transform::Base64;
                tx.push_range(FileRange { file: Handle(1), offset, end, skip: 1, emit: 10, transform });
                assert_eq!(drain(&mut tx, file, piece, read), b"ello world");
                assert_eq!(tx.poll_mismatch(), 0);
                tx.push_range(FileRange { file: Handle(1), offset, end, skip: 0, emit: 13, transform });
                assert_eq!(drain(&mut tx, file, piece, read), b"hello world  ");
                assert_eq!(tx.poll_mismatch(), 1);
            }
        }
    }

    #[test]
    fn no_nul_is_sent_from_a_file() {
        let mut tx = SendQueue::default();
        tx.push_range(FileRange::text(Handle(1), 0, 0, 5));
        assert_eq!(drain(&mut tx, b"\0a\0\0b", 100, 100), b"\x80a\x80\x80b");
    }

    #[test]
    fn what_follows_the_mark_is_packed_and_flushed_when_there_is_no_more() {
        let file = b"Subject: x\n\nhello\n";
        for piece in [1, 3, 1000] {
            let mut tx = SendQueue::default();
            tx.push(b"a OK\r\n");
            tx.push_deflate();
            assert_eq!(drain(&mut tx, file, piece, 7), b"a OK\r\n");
            let mut inflater = crate::wire::deflate::Inflater::new();
            let mut plain = Vec::new();
            for turn in 0..3 {
                tx.push(b"* 1 FETCH (BODY[] {21}\r\n");
                tx.push_range(FileRange::text(Handle(1), 0, 0, 21));
                tx.push(b")\r\n");
                assert!(!tx.is_empty());
                let packed = drain(&mut tx, file, piece, 7);
                assert!(tx.is_empty(), "turn {turn}: {}", tx.pending());
                assert_eq!(inflater.feed(&packed, &mut plain, 1000), Ok(packed.len()));
                assert!(plain.ends_with(b"hello\r\n)\r\n"), "turn {turn}");
            }
            assert_eq!(plain.len(), 3 * (24 + 21 + 3));
        }
    }

    #[test]
    fn clear_gives_files_back() {
        let mut tx = SendQueue::new(4);
        tx.push(b"abcd");
        assert!(tx.is_above_high_water());
        tx.push_range(FileRange::text(Handle(3), 0, 0, 1));
        tx.clear();
        assert_eq!((tx.poll_release(), tx.pending()), (Some(Handle(3)), 0));
        assert_eq!(drain(&mut tx, b"", 1, 1), vec![]);
    }
}
