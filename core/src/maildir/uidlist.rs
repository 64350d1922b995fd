//! `dovecot-uidlist`: the UIDVALIDITY, the GUID and the UIDs of one mailbox, both ways.
//!
//! ```text
//! 3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1
//! 25006 :1276528487.M364837P9451.kurkku,S=1355,W=1394
//! 25017 W2481 :1276533073.M242911P3632.kurkku
//! ```
//!
//! Reading: [`Uidlist::parse`] takes the whole file; [`Records`] goes on from any line start, so that a file
//! which grew is read from its old end. Both borrow the bytes and are linear.
//!
//! Writing: only two writes are legal, both under the lock ([`super::lock`]). Append whole records
//! ([`push_record`]), or write a new file ([`Header::push`], then records) and rename it over. Never change
//! the file in place.
//!
//! A crash can leave half a record or a run of zero bytes at the end. Those are not records: [`Tail`] says
//! so, and the writer must then rewrite the file before it appends, or the next record would be glued to the
//! debris. A reader without the lock may see the same while somebody appends; it reads again later. In the middle of
//! the file the zeros and what is left of the records around them are passed over: there the blocks that a crash has
//! lost were followed by one that it had kept, or somebody has appended to the debris.
//!
//! A file that breaks the rules below is [`Broken`]. Dovecot then deletes it, and every message gets a new
//! UID: UIDs grow strictly; UID 0 and 4294967295 do not exist; a record has a name, without `/`; the version
//! is 1 or 3; UIDVALIDITY and the next UID are there and not 0.

use super::name::FileName;
use super::{decimal, decimal_prefix, hex, push_decimal, push_hex};
use alloc::vec::Vec;
use core::num::NonZeroU32;

/// The largest UID that a message can have; 4294967295 would leave no UIDNEXT.
pub const UID_MAX: u32 = u32::MAX - 1;

/// The most keys of others that a header may carry; a header with more is broken.
pub const HEADER_KEYS_MAX: usize = 64;

/// The key of ours in the header: all mod-sequences given out so far are below its value. Dovecot keeps keys that it
/// does not know.
pub const MODSEQ_KEY: u8 = b'M';
/// A larger mod-sequence than this stands in no header of ours (RFC 7162 §7 allows 63 bits).
const MODSEQ_LIMIT_MAX: u64 = 1 << 62;

/// The key of ours in a record: when a copy was saved, in seconds since 1970. A copy keeps its base name, whose own
/// time is that of the original. Dovecot keeps keys of records that it does not know, too.
pub const SAVED_KEY: u8 = b'T';

/// The first line: what holds for the whole mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// UIDVALIDITY, not 0 (RFC 9051 §2.3.1.1).
    pub uidvalidity: u32,
    /// The next UID as written, not 0. It may lag behind the records: see [`Uidlist::next_uid`].
    pub next_uid: u32,
    /// The mailbox GUID, 16 bytes; a file that Dovecot has not rewritten may lack it.
    pub guid: Option<[u8; 16]>,
    /// Keys that are not ours, in file order, each letter with its value: written back as they came.
    pub others: Vec<(u8, Vec<u8>)>,
}

impl Header {
    /// A header for a new mailbox.
    pub fn new(uidvalidity: u32, next_uid: u32, guid: [u8; 16]) -> Header {
        Header { uidvalidity, next_uid, guid: Some(guid), others: Vec::new() }
    }

    /// The value of a key that is not V, N or G.
    pub fn other(&self, key: u8) -> Option<&[u8]> {
        self.others.iter().find(|(letter, _)| *letter == key).map(|(_, value)| value.as_slice())
    }

    /// Sets the value of a key that is not V, N or G. The value has no space and no control character.
    pub fn set_other(&mut self, key: u8, value: Vec<u8>) {
        match self.others.iter_mut().find(|(letter, _)| *letter == key) {
            Some((_, old)) => *old = value,
            None => self.others.push((key, value)),
        }
    }

    /// What [`MODSEQ_KEY`] says; 0 if it says nothing.
    pub fn modseq_limit(&self) -> u64 {
        let limit = self.other(MODSEQ_KEY).and_then(decimal);
        limit.filter(|limit| *limit <= MODSEQ_LIMIT_MAX).unwrap_or(0)
    }

    /// Sets what [`MODSEQ_KEY`] says.
    pub fn set_modseq_limit(&mut self, limit: u64) {
        let mut value = Vec::new();
        push_decimal(&mut value, limit);
        self.set_other(MODSEQ_KEY, value);
    }

    /// Appends the header line of version 3.
    pub fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"3 V");
        push_decimal(out, u64::from(self.uidvalidity));
        out.extend_from_slice(b" N");
        push_decimal(out, u64::from(self.next_uid));
        if let Some(guid) = &self.guid {
            out.extend_from_slice(b" G");
            for &byte in guid {
                push_hex(out, u64::from(byte), 2);
            }
        }
        for (key, value) in &self.others {
            out.extend_from_slice(&[b' ', *key]);
            out.extend_from_slice(value);
        }
        out.push(b'\n');
    }

    /// Reads the first line, without its line end.
    fn parse(line: &[u8]) -> Result<(Version, Header), Fault> {
        let mut words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
        let mut header = Header { uidvalidity: 0, next_uid: 0, guid: None, others: Vec::new() };
        let version = match words.next() {
            Some(b"1") => Version::V1,
            Some(b"3") => Version::V3,
            Some(_) | None => return Err(Fault::Version),
        };
        match version {
            Version::V1 => {
                header.uidvalidity = number(words.next()).ok_or(Fault::Header)?;
                header.next_uid = number(words.next()).ok_or(Fault::Header)?;
            }
            Version::V3 => {
                for word in words {
                    header.take_key(word)?;
                }
            }
        }
        if header.uidvalidity == 0 || header.next_uid == 0 {
            return Err(Fault::Header);
        }
        Ok((version, header))
    }

    fn take_key(&mut self, word: &[u8]) -> Result<(), Fault> {
        let (&key, value) = word.split_first().ok_or(Fault::Header)?;
        match key {
            b'V' => self.uidvalidity = number(Some(value)).ok_or(Fault::Header)?,
            b'N' => self.next_uid = number(Some(value)).ok_or(Fault::Header)?,
            // A GUID that cannot be read is replaced by a new one, as Dovecot does; the UIDs stay good.
            b'G' => self.guid = hex(value, 32).map(u128::to_be_bytes),
            _ if self.others.len() >= HEADER_KEYS_MAX => return Err(Fault::Header),
            _ => self.others.push((key, value.to_vec())),
        }
        Ok(())
    }
}

fn number(word: Option<&[u8]>) -> Option<u32> {
    u32::try_from(decimal(word?)?).ok()
}

/// The version of a file. Only version 3 is written; Courier's version 1 is read, and rewritten before
/// anything is appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// `1 <uidvalidity> <next uid>`, records `<uid> <name>`.
    V1,
    /// Key letters in header and records.
    V3,
}

/// One message that has a UID. It may have been expunged since: the list is not a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// The UID, from 1 to [`UID_MAX`].
    pub uid: u32,
    /// The record's keys with their values as written (`S123 W125`), without the spaces around; usually
    /// empty.
    pub keys: &'a [u8],
    /// The base name of the file: without `:2,…`.
    pub base: &'a [u8],
}

impl<'a> Record<'a> {
    /// The value of one key: `S` and `W` sizes that the name lacks, `G` GUID, `P` POP3 UIDL, `O` POP3 order,
    /// and [`SAVED_KEY`].
    pub fn key(&self, key: u8) -> Option<&'a [u8]> {
        let words = self.keys.split(|&byte| byte == b' ');
        words
            .filter_map(|word| word.split_first())
            .find(|(letter, _)| **letter == key)
            .map(|(_, value)| value)
    }

    /// The file's size in bytes: from the name (`,S=`), else from the record.
    pub fn size(&self) -> Option<u64> {
        FileName::parse(self.base).size().or_else(|| decimal(self.key(b'S')?))
    }

    /// When the message was saved in this mailbox, in seconds since 1970, if the record has it ([`SAVED_KEY`]).
    pub fn saved(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(number(self.key(SAVED_KEY))?)
    }

    /// The size with CRLF line ends in bytes: from the name (`,W=`), else from the record.
    pub fn virtual_size(&self) -> Option<u64> {
        FileName::parse(self.base).virtual_size().or_else(|| decimal(self.key(b'W')?))
    }
}

/// Appends one record. `keys` is empty or as [`Record::keys`] has it, and words that are no keys are left
/// out; `base` is a base name that [`FileName::is_message`] accepts.
pub fn push_record(out: &mut Vec<u8>, uid: u32, keys: &[u8], base: &[u8]) {
    push_decimal(out, u64::from(uid));
    for key in keys.split(|&byte| byte == b' ').filter(|key| key.first().is_some_and(u8::is_ascii_uppercase))
    {
        out.push(b' ');
        out.extend_from_slice(key);
    }
    out.extend_from_slice(b" :");
    out.extend_from_slice(base);
    out.push(b'\n');
}

/// What follows the last good record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tail {
    /// Nothing: appending is safe.
    Clean,
    /// Half a line, or zero bytes, from this offset on: rewrite the file before appending.
    Torn(usize),
}

/// Why a file cannot be used, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken {
    /// The rule that the file breaks.
    pub fault: Fault,
    /// The offset in bytes of the line that breaks it.
    pub offset: usize,
}

/// The rules of the format, named by what breaks them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// There is no first line, not even a torn one: the file is empty or only zero bytes.
    Empty,
    /// The version is neither 1 nor 3.
    Version,
    /// UIDVALIDITY or next UID is missing, 0 or not a number.
    Header,
    /// A line does not begin with a UID between 1 and [`UID_MAX`] and a space.
    Uid,
    /// A UID is not larger than the one before.
    UidOrder,
    /// In version 1, a UID is not below the next UID of the header.
    UidAboveNext,
    /// A record has no file name.
    NoName,
    /// A file name has a `/`.
    Slash,
}

impl core::fmt::Display for Broken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let why = match self.fault {
            Fault::Empty => "the file is empty",
            Fault::Version => "the version is not 1 or 3",
            Fault::Header => "the first line lacks a UIDVALIDITY or a next UID",
            Fault::Uid => "a line does not begin with a UID",
            Fault::UidOrder => "the UIDs do not grow",
            Fault::UidAboveNext => "a UID is above the next UID",
            Fault::NoName => "a record has no file name",
            Fault::Slash => "a file name has a slash",
        };
        write!(f, "dovecot-uidlist is broken at byte {}: {why}", self.offset)
    }
}

impl core::error::Error for Broken {}

/// A whole file, read.
///
/// ```
/// use postier_core::maildir::uidlist::{Tail, Uidlist};
/// let file = b"3 V1275660208 N3 G3085f01b7f11094c501100008c4a11c1\n1 :a\n7 S12 :b\n9 :half";
/// let list = Uidlist::parse(file).unwrap();
/// assert_eq!(list.records[1].size(), Some(12));
/// assert_eq!(list.next_uid(), 8);
/// assert_eq!(list.tail, Tail::Torn(65));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uidlist<'a> {
    /// The version of the file.
    pub version: Version,
    /// The first line.
    pub header: Header,
    /// The records, UIDs growing. The same name may come twice: the later record counts
    /// ([`Uidlist::by_base`]).
    pub records: Vec<Record<'a>>,
    /// What follows the last record.
    pub tail: Tail,
    /// Something in the middle was passed over (zero bytes, a key that is not a letter), or the version is 1,
    /// or the GUID is missing: the next writer should write the file anew.
    pub wants_rewrite: bool,
}

impl<'a> Uidlist<'a> {
    /// Reads a whole file.
    ///
    /// # Errors
    /// [`Broken`] if a rule of the format is broken. A torn tail is not an error, a torn first line is.
    pub fn parse(file: &'a [u8]) -> Result<Uidlist<'a>, Broken> {
        let at_start = |fault| Broken { fault, offset: 0 };
        let end = memchr::memchr(b'\n', file).ok_or(at_start(Fault::Empty))?;
        let (version, header) = Header::parse(file.get(..end).unwrap_or(&[])).map_err(at_start)?;
        let mut records = Records::new(file, end + 1, version, 0);
        // A record is seldom shorter than 48 bytes; a wrong guess costs one copy of the table.
        let mut all = Vec::with_capacity((file.len() - end) / 48);
        while let Some(record) = records.next_record()? {
            if version == Version::V1 && record.uid >= header.next_uid {
                return Err(Broken { fault: Fault::UidAboveNext, offset: records.line_start });
            }
            all.push(record);
        }
        let wants_rewrite = records.wants_rewrite() || version == Version::V1 || header.guid.is_none();
        Ok(Uidlist { version, header, records: all, tail: records.tail(), wants_rewrite })
    }

    /// UIDNEXT: the larger of the header's number and one more than the last UID, because appending does not
    /// touch the header.
    pub fn next_uid(&self) -> u32 {
        let after_last = self.records.last().map_or(1, |record| record.uid.saturating_add(1));
        self.header.next_uid.max(after_last)
    }

    /// The indexes of the records in byte order of their base names; of records with one name only the last
    /// is there.
    pub fn by_base(&self) -> Vec<u32> {
        let base = |index: u32| self.records.get(index as usize).map(|record| record.base);
        let mut order: Vec<u32> = (0..self.records.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| base(a).cmp(&base(b)).then(b.cmp(&a)));
        order.dedup_by(|later, kept| base(*later) == base(*kept));
        order
    }
}

/// Reads records one after the other; borrows the file, allocates nothing.
///
/// For a file that grew, begin at the old end: `Records::new(file, old_length, Version::V3, last_uid)`.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    file: &'a [u8],
    /// Where the next line begins.
    offset: usize,
    /// Where the line of the last record begins.
    line_start: usize,
    version: Version,
    last_uid: u32,
    skipped: bool,
}

impl<'a> Records<'a> {
    /// Begins at `offset`, a line start, after a record with `last_uid` (0: none).
    pub fn new(file: &'a [u8], offset: usize, version: Version, last_uid: u32) -> Records<'a> {
        Records {
            file,
            offset: offset.min(file.len()),
            line_start: offset,
            version,
            last_uid,
            skipped: false,
        }
    }

    /// The next record; `None` at the end or at a torn tail.
    ///
    /// # Errors
    /// [`Broken`] at a line that breaks the rules. The reader then stays where it is.
    pub fn next_record(&mut self) -> Result<Option<Record<'a>>, Broken> {
        loop {
            let rest = self.file.get(self.offset..).unwrap_or(&[]);
            let Some(end) = memchr::memchr(b'\n', rest) else { return Ok(None) };
            let (line, following) = (rest.get(..end).unwrap_or(&[]), rest.get(end + 1..).unwrap_or(&[]));
            let record = match memchr::memrchr(0, line) {
                None => self.parse_line(line).map(Some),
                Some(zero) => {
                    self.skipped = true;
                    Ok(self.after_zeros(line.get(zero + 1..).unwrap_or(&[]), following))
                }
            };
            let record = record.map_err(|fault| Broken { fault, offset: self.offset })?;
            self.line_start = self.offset;
            self.offset += end + 1;
            if let Some(record) = record {
                self.last_uid = record.uid;
                return Ok(Some(record));
            }
        }
    }

    /// What follows zero bytes in a line: a whole record if somebody has appended it to what a crash had left, or the
    /// end of one whose beginning was in a block that the crash has lost. The end is no record, and if it reads like
    /// one, its number may be part of a size or of a time: if it is not below the UID of the next record, the next one
    /// is right. A record that is passed over was not durable, so postier has shown its UID to nobody; its message gets
    /// another.
    fn after_zeros(&mut self, line: &'a [u8], following: &[u8]) -> Option<Record<'a>> {
        let record = self.parse_line(line).ok()?;
        let next = decimal_prefix(following).map(|(uid, _)| uid);
        next.is_none_or(|next| u64::from(record.uid) < next).then_some(record)
    }

    /// Where the next line begins, as an offset in the file: how much of it is good.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// After the last record: whether something that is no record follows.
    pub fn tail(&self) -> Tail {
        if self.offset < self.file.len() { Tail::Torn(self.offset) } else { Tail::Clean }
    }

    /// Whether something was passed over that a rewrite would clean away.
    pub fn wants_rewrite(&self) -> bool {
        self.skipped || self.tail() != Tail::Clean
    }

    fn parse_line(&mut self, line: &'a [u8]) -> Result<Record<'a>, Fault> {
        let (uid, digits) = decimal_prefix(line).ok_or(Fault::Uid)?;
        let rest = line.get(digits..).unwrap_or(&[]);
        let uid = match u32::try_from(uid) {
            Ok(uid @ 1..=UID_MAX) if rest.first() == Some(&b' ') => uid,
            Ok(_) | Err(_) => return Err(Fault::Uid),
        };
        if uid <= self.last_uid {
            return Err(Fault::UidOrder);
        }
        let rest = trim_spaces(rest);
        let (keys, name) = match self.version {
            Version::V1 => (&b""[..], rest),
            Version::V3 => self.split_keys(rest)?,
        };
        let base = FileName::parse(name).base();
        if base.is_empty() {
            return Err(Fault::NoName);
        }
        if memchr::memchr(b'/', name).is_some() {
            return Err(Fault::Slash);
        }
        Ok(Record { uid, keys, base })
    }

    /// Splits `[<K><value>…] :<name>` at the first word that begins with `:`.
    fn split_keys(&mut self, rest: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Fault> {
        let mut at = 0;
        while let Some(&first) = rest.get(at) {
            let word = rest.get(at..).unwrap_or(&[]);
            if first == b':' {
                return Ok((trim_spaces_end(rest.get(..at).unwrap_or(&[])), word.get(1..).unwrap_or(&[])));
            }
            if !first.is_ascii_uppercase() && first != b' ' {
                // Dovecot drops such a key and rewrites the file; dropping the whole list would cost every
                // UID.
                self.skipped = true;
            }
            at += memchr::memchr(b' ', word).map_or(word.len(), |space| space + 1);
        }
        Err(Fault::NoName)
    }
}

fn trim_spaces(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_prefix(b" ") {
        bytes = rest;
    }
    bytes
}

fn trim_spaces_end(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_suffix(b" ") {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::string::String;

    const HEADER: &str = "3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n";

    fn with_header(records: &str) -> String {
        format!("{HEADER}{records}")
    }

    fn fault(file: &str) -> (Fault, usize) {
        let broken = Uidlist::parse(file.as_bytes()).expect_err("the file must be broken");
        (broken.fault, broken.offset)
    }

    #[test]
    fn reads_what_dovecot_writes() {
        let file =
            with_header("25006 :1276528487.M364837P9451.kurkku,S=1355,W=1394\n25017 W2481 Px :1276.M2P3.k\n");
        let list = Uidlist::parse(file.as_bytes()).unwrap();
        assert_eq!((list.header.uidvalidity, list.header.next_uid), (1275660208, 25022));
        assert_eq!(list.header.guid.unwrap()[..4], [0x30, 0x85, 0xf0, 0x1b]);
        assert_eq!(list.records[0].virtual_size(), Some(1394));
        assert_eq!((list.records[1].uid, list.records[1].key(b'P')), (25017, Some(&b"x"[..])));
        assert_eq!((list.records[1].size(), list.records[1].virtual_size()), (None, Some(2481)));
        assert_eq!((list.tail, list.wants_rewrite), (Tail::Clean, false));
        assert_eq!(list.next_uid(), 25022);
    }

    #[test]
    fn unknown_header_keys_come_back() {
        let file = b"3 Zz V7 N9 Q1 P%u\n";
        let list = Uidlist::parse(file).unwrap();
        assert_eq!((list.header.other(b'P'), list.header.other(b'A')), (Some(&b"%u"[..]), None));
        let mut header = list.header;
        header.set_other(b'Q', b"2".to_vec());
        let mut out = Vec::new();
        header.push(&mut out);
        assert_eq!(out, b"3 V7 N9 Zz Q2 P%u\n");
        assert!(list.wants_rewrite, "a file without a GUID wants one");
    }

    #[test]
    fn next_uid_lags_behind_appended_records() {
        assert_eq!(Uidlist::parse(with_header("30000 :a\n").as_bytes()).unwrap().next_uid(), 30001);
        assert_eq!(Uidlist::parse(with_header("4294967294 :a\n").as_bytes()).unwrap().next_uid(), u32::MAX);
    }

    #[test]
    fn flags_in_old_files_are_not_part_of_the_name() {
        let file = with_header("1 :a:2,S\n");
        assert_eq!(Uidlist::parse(file.as_bytes()).unwrap().records[0].base, b"a");
    }

    #[test]
    fn version_1_is_read() {
        let list = Uidlist::parse(b"1 77 12\n3 abc\n11 d e:2,S\n").unwrap();
        assert_eq!((list.header.uidvalidity, list.next_uid(), list.version), (77, 12, Version::V1));
        assert_eq!((list.records[0].base, list.records[1].base), (&b"abc"[..], &b"d e"[..]));
        assert!(list.wants_rewrite);
        assert_eq!(fault("1 77 12\n12 abc\n"), (Fault::UidAboveNext, 8));
        assert_eq!(fault("1 77\n"), (Fault::Header, 0));
    }

    #[test]
    fn every_rule_is_kept() {
        let at = HEADER.len();
        for (records, why) in [
            ("0 :a\n", Fault::Uid),
            ("4294967295 :a\n", Fault::Uid),
            ("99999999999999999999999 :a\n", Fault::Uid),
            ("x :a\n", Fault::Uid),
            ("1:a\n", Fault::Uid),
            ("\n", Fault::Uid),
            ("1 S3\n", Fault::NoName),
            ("1 :\n", Fault::NoName),
            ("1 ::2,S\n", Fault::NoName),
            ("1 :a/b\n", Fault::Slash),
        ] {
            assert_eq!(fault(&with_header(records)), (why, at), "{records:?}");
        }
        assert_eq!(fault(&with_header("5 :a\n5 :b\n")), (Fault::UidOrder, at + 5));
        for (file, why) in [
            ("", Fault::Empty),
            ("3 V1 N1", Fault::Empty),
            ("2 V1 N1\n", Fault::Version),
            ("33 V1 N1\n", Fault::Version),
            ("3 V0 N1\n", Fault::Header),
            ("3 V1 N0\n", Fault::Header),
            ("3 N1\n", Fault::Header),
            ("3 V1 N4294967296\n", Fault::Header),
        ] {
            assert_eq!(fault(file), (why, 0), "{file:?}");
        }
    }

    #[test]
    fn a_torn_tail_is_no_record() {
        let good = with_header("1 :a\n");
        for tail in ["2", "2 :b", "\0", "\0\0\0\0", "2 :b\0\0\0"] {
            let file = format!("{good}{tail}");
            let list = Uidlist::parse(file.as_bytes()).unwrap();
            assert_eq!((list.records.len(), list.tail), (1, Tail::Torn(good.len())), "{tail:?}");
            assert!(list.wants_rewrite);
        }
    }

    #[test]
    fn debris_in_the_middle_costs_no_other_uid() {
        let file = with_header("1 :a\n\0\0\0\x002 :b\n3 :lo\0\x004 :d\n5 lower :e\n");
        let list = Uidlist::parse(file.as_bytes()).unwrap();
        let read: Vec<_> = list.records.iter().map(|record| (record.uid, record.base)).collect();
        assert_eq!(read, [(1, &b"a"[..]), (2, b"b"), (4, b"d"), (5, b"e")]);
        assert!(list.wants_rewrite);
        let mut out = Vec::new();
        push_record(&mut out, 5, list.records[3].keys, b"e");
        assert_eq!(out, b"5 :e\n");
    }

    #[test]
    fn a_lost_block_before_one_that_was_kept_costs_its_own_records_only() {
        let read = |records: &str| {
            let file = with_header(records);
            let list = Uidlist::parse(file.as_bytes()).unwrap();
            assert!(list.wants_rewrite && list.tail == Tail::Clean, "{records:?}");
            list.records.iter().map(|record| record.uid).collect::<Vec<_>>()
        };
        // The kept block begins in the middle of a record: in its name, before its name, in its keys, in its UID.
        for (half, uids) in [
            ("3.b,S=8", &[1, 9][..]),
            (" :3.b", &[1, 9]),
            (":3.b", &[1, 9]),
            ("", &[1, 9]),
            ("1234 W13 :3.b", &[1, 9]),
            ("1 :3.b", &[1, 9]),
            ("8 :3.b", &[1, 8, 9]),
            ("9 :3.b", &[1, 9]),
        ] {
            assert_eq!(read(&format!("1 :1.a\n2 :2.\0\0{half}\n9 :9.c\n")), uids, "{half:?}");
        }
        // At the end, and twice.
        assert_eq!(read("1 :1.a\n2\0\0.b\n"), [1]);
        assert_eq!(read("1 :1.a\n2\0\0.b\n\0\0.c\n7 :7.d\n"), [1, 7]);
    }

    #[test]
    fn of_two_records_with_one_name_the_later_counts() {
        let file = with_header("1 :b\n2 :a\n3 :b\n");
        let list = Uidlist::parse(file.as_bytes()).unwrap();
        assert_eq!(list.by_base(), [1, 2]);
    }

    #[test]
    fn a_file_that_grew_is_read_from_its_old_end() {
        let old = with_header("1 :a\n");
        let file = format!("{old}2 :b\n");
        let mut records = Records::new(file.as_bytes(), old.len(), Version::V3, 1);
        assert_eq!(records.next_record().unwrap().map(|record| record.uid), Some(2));
        assert_eq!(records.next_record(), Ok(None));
        assert_eq!((records.offset(), records.tail()), (file.len(), Tail::Clean));
        let mut again = Records::new(file.as_bytes(), old.len(), Version::V3, 2);
        assert_eq!(again.next_record().unwrap_err().fault, Fault::UidOrder);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            uidvalidity in 1u32.., next_uid in 1u32.., guid: [u8; 16],
            others in proptest::collection::vec((b'A'..=b'F', "[!-~]{0,6}"), 0..4),
            steps in proptest::collection::vec((1u32..1000, "([A-Z][!-9;-~]{0,5}( [A-Z][!-9;-~]{0,5}){0,2})?", "[0-9A-Za-z.,=]{1,12}"), 0..20),
        ) {
            let others = others.into_iter().map(|(key, value)| (key, value.into_bytes())).collect();
            let header = Header { uidvalidity, next_uid, guid: Some(guid), others };
            let mut file = Vec::new();
            header.push(&mut file);
            let mut uid = 0;
            let mut expected = Vec::new();
            for (step, keys, base) in &steps {
                uid += step;
                push_record(&mut file, uid, keys.as_bytes(), base.as_bytes());
                expected.push(Record { uid, keys: keys.as_bytes(), base: base.as_bytes() });
            }
            let list = Uidlist::parse(&file).unwrap();
            prop_assert_eq!(&list.header, &header);
            prop_assert_eq!(&list.records, &expected);
            prop_assert!(!list.wants_rewrite);
            // Cut anywhere behind the header: the whole records stay, the rest is torn.
            let records_start = file.iter().position(|&byte| byte == b'\n').unwrap() + 1;
            for cut in records_start..file.len() {
                let cut_list = Uidlist::parse(&file[..cut]).unwrap();
                prop_assert!(cut_list.records[..] == expected[..cut_list.records.len()]);
                prop_assert_eq!(cut_list.tail == Tail::Clean, file[cut - 1] == b'\n');
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in "3 V1 N1\\n([0-9]{0,3}[ :A-Z/\0\\n]{0,4}){0,12}") {
            let _ = Uidlist::parse(&bytes);
            if let Ok(list) = Uidlist::parse(text.as_bytes()) {
                prop_assert!(list.records.windows(2).all(|pair| pair[0].uid < pair[1].uid));
            }
        }
    }
}
