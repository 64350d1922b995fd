//! `postier.cache`: what was once found out about messages by reading them. The format, both ways.
//!
//! The file is ours alone and disposable, like [the index](super::index_file): without it messages are read again.
//!
//! ```text
//! postier.cache 1\n  checksum of the program's version
//! block … block      appended, a page of messages each
//! ```
//!
//! A block is a header of 32 octets (how long it is, how many messages it is about, the lowest and the
//! highest UID, a checksum of the body, a checksum of the header; little-endian) and a body: the sets of field names
//! that its rows refer to, then a row for each message in ascending order. So who looks for a message reads the headers
//! once ([`Directory`]) and then a block or two.
//!
//! A row is good for a message that has its UID and its base name: a file's octets never change under the same base
//! name, and another message under the same UID, as after a backup was put back, has another one. It holds texts as a
//! FETCH sends them:
//!
//! | kind | text |
//! |---|---|
//! | ENVELOPE, BODY, BODYSTRUCTURE, PREVIEW | the value |
//! | fields | for FETCH, SEARCH, SORT and THREAD: the header fields of one of the sets of names, with CRLF line ends, and the empty line |
//!
//! Of several rows for a message, the last that has what is wanted counts. What a row says depends on how this
//! program reads messages: another version of it begins a new file.

use super::octets::{Octets, SEED, push_bytes, push_u32, sum};
use crate::maildir::mailbox::Messages;
use alloc::string::String;
use alloc::vec::Vec;

/// The first octets of the file; another version has another number.
const MAGIC: &[u8; 16] = b"postier.cache 1\n";
/// Length of the file's header, in octets.
pub(super) const FILE_HEADER_BYTES: usize = 24;
/// Length of a block's header, in octets.
pub(super) const BLOCK_HEADER_BYTES: usize = 32;
/// The most blocks of a file that are known, 32 octets each.
pub const CACHE_BLOCKS_MAX: usize = 32 * 1024;
/// The longest text that is kept, in octets.
pub const CACHE_ITEM_BYTES_MAX: usize = 16 * 1024;
/// A block with so many octets of rows is full.
const BLOCK_BYTES: usize = 64 * 1024;
/// The longest body of a block that is read, in octets: a row may be as long as all its texts.
pub(super) const BLOCK_BYTES_MAX: usize = 512 * 1024;
/// So many sets of names a block has at most.
const SETS_MAX: usize = 16;
/// Blocks so small, in rows, cost more than what is in them, when there are many.
const ROWS_FEW: u64 = 32;
/// Fewer rows, or small blocks, are not worth a new file.
const ROWS_DEAD_MIN: u64 = 512;

/// What of a message is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Envelope,
    Body,
    BodyStructure,
    Preview,
    /// Header fields.
    Fields,
}

impl Kind {
    pub(super) const COUNT: usize = 5;
    pub(super) const ALL: [Kind; Kind::COUNT] =
        [Kind::Envelope, Kind::Body, Kind::BodyStructure, Kind::Preview, Kind::Fields];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What every file begins with.
pub(super) fn file_header() -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&sum(SEED, env!("CARGO_PKG_VERSION").as_bytes()).to_le_bytes());
    header
}

/// What a row and a message have in common besides the UID.
pub(super) fn identity(base: &[u8]) -> u64 {
    sum(SEED, base)
}

/// Where the blocks of a file are, as far as it has been looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Inode and device of the file, if there was one.
    pub(super) file: Option<(u64, u64)>,
    /// Up to here the file is known, in octets.
    pub(super) end: u64,
    /// In the order of the file.
    pub(super) blocks: Vec<Entry>,
    /// Something in it cannot be read: nothing is appended behind that.
    pub(super) damaged: bool,
}

/// Where a block is, and what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The first octet of its body in the file.
    pub(super) offset: u64,
    /// Octets of its body.
    pub(super) bytes: u32,
    pub(super) rows: u32,
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) checksum: u64,
}

impl Entry {
    /// Reads a block's header that stands before `offset`.
    pub(super) fn decode(header: &[u8], offset: u64) -> Option<Entry> {
        let mut rest = Octets::new(header);
        let (bytes, rows, first, last) = (rest.u32()?, rest.u32()?, rest.u32()?, rest.u32()?);
        let (checksum, of_header) = (rest.u64()?, rest.u64()?);
        let is_good = rest.is_empty()
            && sum(SEED, header.get(..24)?) == of_header
            && bytes as usize <= BLOCK_BYTES_MAX
            && rows > 0
            && first <= last;
        is_good.then_some(Entry { offset, bytes, rows, first, last, checksum })
    }

    /// The entry of a body that is to be written.
    pub(super) fn of(body: &[u8], rows: u32, first: u32, last: u32) -> Entry {
        let bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        Entry { offset: 0, bytes, rows, first, last, checksum: sum(SEED, body) }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        for number in [self.bytes, self.rows, self.first, self.last] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.checksum.to_le_bytes());
        let checksum = sum(SEED, out.get(start..).unwrap_or_default());
        out.extend_from_slice(&checksum.to_le_bytes());
    }
}

impl Directory {
    /// Whether some block may be about this message.
    pub fn covers(&self, uid: u32) -> bool {
        self.blocks.iter().any(|entry| (entry.first..=entry.last).contains(&uid))
    }

    /// Whether this is of another file than `before`, or of a later time.
    pub fn is_other_than(&self, before: &Directory) -> bool {
        self.file != before.file || self.end > before.end || self.damaged && !before.damaged
    }

    /// Takes one more block in, whose header was read at the end; false if there are too many.
    pub(super) fn push(&mut self, entry: Entry) -> bool {
        let room = self.blocks.len() < CACHE_BLOCKS_MAX;
        if room {
            self.end = entry.offset.saturating_add(u64::from(entry.bytes));
            self.blocks.push(entry);
        }
        room
    }

    /// A block that cannot be read is none.
    pub(super) fn remove(&mut self, offset: u64) {
        self.blocks.retain(|entry| entry.offset != offset);
        self.damaged = true;
    }

    /// Whether the file is better written anew: something in it is broken, or most of it is about messages that are
    /// gone, or in many small blocks, or said a second time.
    pub fn wants_rewrite(&self, messages: &Messages) -> bool {
        let (mut rows, mut dead) = (0, 0);
        for entry in &self.blocks {
            let live = messages.count(entry.first, entry.last);
            rows += u64::from(entry.rows);
            dead += u64::from(entry.rows).saturating_sub(live);
        }
        let repeated = rows.saturating_sub(2 * Kind::COUNT as u64 * messages.len() as u64);
        let small = (self.blocks.len() as u64 * ROWS_FEW).saturating_sub(rows);
        let wasted = dead.max(repeated);
        self.damaged
            || self.blocks.len() >= CACHE_BLOCKS_MAX
            || (wasted >= ROWS_DEAD_MIN && wasted * 2 > rows)
            || small >= ROWS_DEAD_MIN * ROWS_FEW
    }
}

/// The body of a block that was read.
#[derive(Debug)]
pub(super) struct Block {
    octets: Vec<u8>,
    /// Of each set of names, whether it has all that are wanted.
    enough: Vec<bool>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    uid: u32,
    identity: u64,
    texts: [Option<Text>; Kind::COUNT],
}

/// Where a text is in its block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    start: u32,
    end: u32,
    /// Of header fields, the set of names.
    set: u16,
}

impl Block {
    /// Takes a body apart, whose checksum is the one of its entry. `wanted` are names of header fields in lower case.
    pub(super) fn decode(entry: &Entry, octets: Vec<u8>, wanted: &[String]) -> Option<Block> {
        let right = octets.len() == entry.bytes as usize && sum(SEED, &octets) == entry.checksum;
        let (enough, rows) = if right { Block::take_apart(entry, &octets, wanted)? } else { return None };
        Some(Block { octets, enough, rows })
    }

    fn take_apart(entry: &Entry, octets: &[u8], wanted: &[String]) -> Option<(Vec<bool>, Vec<Row>)> {
        let mut rest = Octets::new(octets);
        let (mut enough, mut rows) = (Vec::new(), Vec::<Row>::new());
        for _ in 0..rest.u16()? {
            let names = core::str::from_utf8(rest.bytes()?).ok()?;
            enough.push(has_all(names, wanted));
        }
        while !rest.is_empty() {
            let (uid, identity, kinds) = (rest.u32()?, rest.u64()?, rest.u8()?);
            let mut texts = [None; Kind::COUNT];
            for (kind, text) in Kind::ALL.into_iter().zip(&mut texts) {
                if kinds & kind.bit() != 0 {
                    let set = if kind == Kind::Fields { rest.u16()? } else { 0 };
                    let bytes = rest.u32()?;
                    let start = u32::try_from(octets.len() - rest.left()).ok()?;
                    rest.take(bytes as usize)?;
                    *text = Some(Text { start, end: start.checked_add(bytes)?, set });
                }
            }
            let ascends = rows.last().is_none_or(|last| last.uid < uid);
            (ascends && (entry.first..=entry.last).contains(&uid)).then_some(())?;
            rows.push(Row { uid, identity, texts });
        }
        (rows.len() == entry.rows as usize).then_some((enough, rows))
    }

    /// The UIDs of its rows, and what else tells their messages.
    pub(super) fn rows(&self) -> impl Iterator<Item = (u32, u64)> {
        self.rows.iter().map(|row| (row.uid, row.identity))
    }

    /// A text about a message; header fields only if all that are wanted are among them.
    pub(super) fn find(&self, uid: u32, identity: u64, kind: Kind) -> Option<Text> {
        let index = self.rows.binary_search_by_key(&uid, |row| row.uid).ok()?;
        let row = self.rows.get(index).filter(|row| row.identity == identity)?;
        let text = (*row.texts.get(kind as usize)?)?;
        let enough = kind != Kind::Fields || self.enough.get(usize::from(text.set)) == Some(&true);
        enough.then_some(text)
    }

    /// The octets of a text.
    pub(super) fn text(&self, text: Text) -> &[u8] {
        self.octets.get(text.start as usize..text.end as usize).unwrap_or_default()
    }

    /// The names of the set that a text of header fields is about, joined by spaces.
    pub(super) fn names(&self, text: Text) -> Option<&str> {
        let mut rest = Octets::new(&self.octets);
        let count = rest.u16()?;
        let mut names = None;
        for _ in 0..=text.set.min(count.checked_sub(1)?) {
            names = rest.bytes();
        }
        core::str::from_utf8(names?).ok()
    }

    /// What it takes in memory, roughly, in octets.
    pub(super) fn weight(&self) -> usize {
        self.octets.len().saturating_add(self.rows.len().saturating_mul(size_of::<Row>()))
    }
}

/// Whether `names`, sorted and joined by spaces, have all that are wanted.
fn has_all(names: &str, wanted: &[String]) -> bool {
    let names: Vec<&str> = names.split(' ').collect();
    wanted.iter().all(|name| names.binary_search(&name.as_str()).is_ok())
}

/// Blocks as they are written.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Whole blocks.
    out: Vec<u8>,
    sets: Vec<String>,
    rows: Vec<u8>,
    count: u32,
    first: u32,
    last: u32,
}

impl Writer {
    /// Adds a row; texts in the order of their kinds, header fields with the names they are of. One that is too long
    /// is left out.
    pub(super) fn push<'t>(
        &mut self,
        uid: u32,
        base: &[u8],
        names: &str,
        texts: impl Iterator<Item = (Kind, &'t [u8])>,
    ) {
        let is_full = self.rows.len() >= BLOCK_BYTES || self.sets.len() >= SETS_MAX;
        if self.count > 0 && (is_full || uid <= self.last) {
            self.end_block();
        }
        let start = self.rows.len();
        self.rows.extend_from_slice(&uid.to_le_bytes());
        self.rows.extend_from_slice(&identity(base).to_le_bytes());
        let place = self.rows.len();
        self.rows.push(0);
        let mut kinds = 0;
        for (kind, text) in texts.filter(|(_, text)| text.len() <= CACHE_ITEM_BYTES_MAX) {
            if kind == Kind::Fields {
                let set = self.set(names);
                self.rows.extend_from_slice(&set.to_le_bytes());
            }
            kinds |= kind.bit();
            push_u32(&mut self.rows, text.len());
            self.rows.extend_from_slice(text);
        }
        if kinds == 0 {
            return self.rows.truncate(start);
        }
        if let Some(slot) = self.rows.get_mut(place) {
            *slot = kinds;
        }
        self.first = if self.count == 0 { uid } else { self.first };
        self.last = uid;
        self.count += 1;
    }

    fn set(&mut self, names: &str) -> u16 {
        let known = self.sets.iter().position(|set| set == names);
        let set = known.unwrap_or(self.sets.len());
        if known.is_none() {
            self.sets.push(String::from(names));
        }
        set as u16
    }

    /// Octets of what is written so far.
    pub(super) fn len(&self) -> usize {
        self.out.len().saturating_add(self.rows.len())
    }

    fn end_block(&mut self) {
        if self.count == 0 {
            return;
        }
        let mut body = (self.sets.len() as u16).to_le_bytes().to_vec();
        self.sets.iter().for_each(|set| push_bytes(&mut body, set.as_bytes()));
        body.append(&mut self.rows);
        self.sets.clear();
        let rows = core::mem::take(&mut self.count);
        let entry = Entry::of(&body, rows, self.first, self.last);
        entry.encode(&mut self.out);
        self.out.append(&mut body);
    }

    /// All blocks up to now, the last one ended.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.end_block();
        core::mem::take(&mut self.out)
    }
}
