//! Faults that a test plants, to see that the judges see: a simulator that finds nothing proves nothing.
//!
//! Each stands where the adapter meets the core, and makes the server as a whole behave as if it had this bug. None
//! is ever active unless a test (or `--plant`) asks for it.
//!
//! `postier-sim --plants 600` measures how often each is found:
//!
//! | fault | found in 600 worlds | first at seed | has to be found within |
//! |---|---:|---:|---:|
//! | skip-directory-sync | 270 | 0 | 100 |
//! | skip-sync-of-new | 184 | 0 | 100 |
//! | skip-sync-of-cur | 150 | 0 | 100 |
//! | skip-sync-of-maildir | 256 | 0 | 100 |
//! | acknowledge-before-sync | 46 | 9 | 200 |
//! | skip-file-sync | 334 | 0 | 100 |
//! | skip-uidlist-sync | 198 | 20 | 100 |
//! | ignore-sync-error | 2 | 3 | 3000 |
//! | lose-uidlist-records | 88 | 15 | 100 |
//! | lose-keyword-table | 120 | 0 | 100 |
//! | forget-lock | 4 | 24 | 2000 |
//! | skip-flag-rename | 149 | 0 | 100 |
//! | skip-unlink | 146 | 8 | 100 |
//! | deliver-twice | 440 | 0 | 100 |
//! | short-write | 444 | 0 | 100 |
//! | list-misses | 160 | 11 | 100 |
//! | new-uidvalidity | 523 | 0 | 100 |
//! | lose-by-rename | 478 | 0 | 100 |
//! | leak-descriptors | 42 | 16 | 200 |
//! | leak-tmp | 112 | 11 | 600 |
//! | drop-answer | 600 | 0 | 100 |
//! | drop-notice | 49 | 0 | 200 |
//! | expunge-during-fetch | 133 | 8 | 100 |
//! | lose-copyuid | 237 | 0 | 100 |
//! | wrong-copyuid | 239 | 0 | 100 |
//! | uidnext-too-high | 516 | 0 | 100 |
//! | uidnext-falls | 205 | 0 | 100 |
//! | modseq-falls | 251 | 2 | 100 |
//! | hide-message | 215 | 0 | 100 |
//! | lose-exists | 280 | 1 | 100 |
//! | hide-flag | 18 | 23 | 2000 |
//! | lose-result | 30 | 31 | 200 |
//! | wrong-literal | 469 | 0 | 100 |
//! | keep-plaintext | 15 | 11 | 400 |
//! | never-time-out | 47 | 14 | 300 |
//! | ok-instead-of-no | 112 | 3 | 100 |
//! | forget-outcome | 92 | 15 | 400 |
//! | forget-recovery | 114 | 15 | 400 |
//! | never-retry | 113 | 15 | 400 |
//! | permanent-for-temporary | 59 | 15 | 400 |
//! | good-for-temporary | 76 | 15 | 400 |
//! | notice-twice | 67 | 15 | 400 |
//! | lose-notice | 111 | 15 | 400 |
//! | forget-dsn-options | 126 | 11 | 400 |
//! | believe-forgeries | 39 | 15 | 400 |
//! | expunge-off-by-one | 144 | 8 | 100 |
//! | highestmodseq-too-high | 254 | 0 | 100 |
//! | vanished-forgets | 114 | 15 | 100 |
//! | vanished-names-more | 12 | 101 | 600 |
//! | ignore-unchangedsince | 21 | 66 | 600 |
//! | modified-forgets | 18 | 16 | 600 |
//! | keep-modseq | 160 | 0 | 100 |
//! | changedsince-too-high | 63 | 22 | 200 |
//!
//! A budget is at least ten times the worlds that a fault takes on average, and five times its first seed.

use std::collections::{BTreeMap, VecDeque};

use postier_core::disk::{Errno, Handle, Name, Op, OpResult, Outcome};
use postier_core::server::FromOffice;

use crate::disk::exec::Descriptors;
use crate::disk::{Disk, Ino};
use crate::imap::response::{Code, Response, Status, Untagged};

macro_rules! plants {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal, $seeds:literal;)*) => {
        /// What is planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Plant {
            $($(#[doc = $doc])* $name,)*
        }

        impl Plant {
            /// All of them, each with its name and the number of seeds within which it must be found.
            pub const ALL: &[(Plant, &str, u64)] = &[$((Plant::$name, $text, $seeds),)*];
        }
    };
}

plants! {
    /// Directories are not synced.
    SkipDirectorySync = "skip-directory-sync", 100;
    /// `new/` is not synced: deliveries.
    SkipSyncOfNew = "skip-sync-of-new", 100;
    /// `cur/` is not synced: flags, copies, expunges.
    SkipSyncOfCur = "skip-sync-of-cur", 100;
    /// The Maildir itself is not synced: mailboxes, subscriptions, the uidlist.
    SkipSyncOfMaildir = "skip-sync-of-maildir", 100;
    /// A sync is reported done, and comes some operations later.
    AcknowledgeBeforeSync = "acknowledge-before-sync", 200;
    /// Files are not synced.
    SkipFileSync = "skip-file-sync", 100;
    /// The uidlist is not synced.
    SkipUidlistSync = "skip-uidlist-sync", 100;
    /// A failed sync is taken for a good one.
    IgnoreSyncError = "ignore-sync-error", 3000;
    /// Records are not written to the uidlist.
    LoseUidlistRecords = "lose-uidlist-records", 100;
    /// The table of keywords is not written.
    LoseKeywordTable = "lose-keyword-table", 100;
    /// The uidlist lock of somebody else is overlooked.
    ForgetLock = "forget-lock", 2000;
    /// Flags are not written.
    SkipFlagRename = "skip-flag-rename", 100;
    /// An expunged file stays.
    SkipUnlink = "skip-unlink", 100;
    /// A message is delivered, and once more under another name.
    DeliverTwice = "deliver-twice", 100;
    /// The last octets of a message are not written.
    ShortWrite = "short-write", 100;
    /// A listing leaves a name out.
    ListMisses = "list-misses", 100;
    /// The uidlist is gone at each start.
    NewUidValidity = "new-uidvalidity", 100;
    /// An existing message is overwritten by a rename.
    LoseByRename = "lose-by-rename", 100;
    /// Files that were sent stay open.
    LeakDescriptors = "leak-descriptors", 200;
    /// Staged files stay in tmp.
    LeakTmp = "leak-tmp", 600;
    /// An answer of the office is lost.
    DropAnswer = "drop-answer", 100;
    /// Sessions do not hear that their mailbox changed.
    DropNotice = "drop-notice", 200;
    /// EXPUNGE is told while FETCH runs.
    ExpungeDuringFetch = "expunge-during-fetch", 100;
    /// COPY does not tell the new UIDs.
    LoseCopyUid = "lose-copyuid", 100;
    /// COPY tells wrong UIDs.
    WrongCopyUid = "wrong-copyuid", 100;
    /// UIDNEXT is shown too high.
    UidNextTooHigh = "uidnext-too-high", 100;
    /// UIDNEXT falls by one now and then.
    UidNextFalls = "uidnext-falls", 100;
    /// HIGHESTMODSEQ falls by one now and then.
    ModSeqFalls = "modseq-falls", 100;
    /// A message is left out of a FETCH.
    HideMessage = "hide-message", 100;
    /// An EXISTS is not told.
    LoseExists = "lose-exists", 100;
    /// A flag is not shown.
    HideFlag = "hide-flag", 2000;
    /// How a result has changed is not told.
    LoseResult = "lose-result", 200;
    /// A literal is announced one octet too long.
    WrongLiteral = "wrong-literal", 100;
    /// What was said in plaintext behind STARTTLS is heard after the handshake.
    KeepPlaintext = "keep-plaintext", 400;
    /// Sessions are not told that their time is over.
    NeverTimeOut = "never-time-out", 300;
    /// A NO is told as OK.
    OkInsteadOfNo = "ok-instead-of-no", 100;
    /// What became of a queued mail's recipients is not written.
    ForgetOutcome = "forget-outcome", 400;
    /// What the queue holds is not looked at after a start.
    ForgetRecovery = "forget-recovery", 400;
    /// What was refused for now is never tried again.
    NeverRetry = "never-retry", 400;
    /// A server's 4xx is taken for a 5xx.
    PermanentForTemporary = "permanent-for-temporary", 400;
    /// A server's 4xx is taken for a 2xx.
    GoodForTemporary = "good-for-temporary", 400;
    /// A notice to a sender is delivered twice.
    NoticeTwice = "notice-twice", 400;
    /// A notice to a sender is lost.
    LoseNotice = "lose-notice", 400;
    /// What a sender wants to be told is not heard.
    ForgetDsnOptions = "forget-dsn-options", 400;
    /// A reply of the resolver to another question is believed.
    BelieveForgeries = "believe-forgeries", 400;
    /// An EXPUNGE has the number after its own.
    ExpungeOffByOne = "expunge-off-by-one", 100;
    /// HIGHESTMODSEQ is told as if there had been one change more.
    HighestModSeqTooHigh = "highestmodseq-too-high", 100;
    /// VANISHED leaves a UID out.
    VanishedForgets = "vanished-forgets", 100;
    /// VANISHED (EARLIER) names a UID more.
    VanishedNamesMore = "vanished-names-more", 600;
    /// UNCHANGEDSINCE is not looked at.
    IgnoreUnchangedSince = "ignore-unchangedsince", 600;
    /// MODIFIED leaves a UID out.
    ModifiedForgets = "modified-forgets", 600;
    /// A message keeps the first mod-sequence that was told of it.
    KeepModSeq = "keep-modseq", 100;
    /// CHANGEDSINCE and QRESYNC begin a change too late.
    ChangedSinceTooHigh = "changedsince-too-high", 200;
}

/// A sync that was reported done comes so many operations later.
const LATE: u64 = 30;

/// What the plant makes of an operation.
#[derive(Debug)]
pub enum Instead {
    /// What was asked for.
    Do,
    /// Nothing, with this outcome.
    Say(OpResult),
    /// Another.
    DoOther(Op),
    /// What was asked for, and another.
    DoAlso(Op),
}

/// The plant at work.
#[derive(Debug, Default)]
pub struct Planted {
    plant: Option<Plant>,
    count: u64,
    held: Option<Response>,
    /// Syncs that are due at these counts.
    late: VecDeque<(u64, Ino)>,
    ignored: BTreeMap<Ino, Vec<u8>>,
    /// The first mod-sequence of each UID.
    first: BTreeMap<u32, u64>,
}

/// What an operation brings back that is said to have succeeded, and was not carried out.
pub fn done(op: &Op) -> Outcome {
    if matches!(op, Op::Order { .. }) { Outcome::Flag(true) } else { Outcome::Unit }
}

impl Planted {
    /// Nothing, or this.
    pub fn new(plant: Option<Plant>) -> Self {
        Planted { plant, ..Planted::default() }
    }

    /// Is it this?
    pub fn is(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    /// Every `n`th time.
    fn every(&mut self, n: u64) -> bool {
        self.count += 1;
        self.count.is_multiple_of(n)
    }

    /// What becomes of a file operation.
    pub fn instead(&mut self, op: &Op, descriptors: &Descriptors, disk: &Disk) -> Instead {
        let Some(plant) = self.plant else { return Instead::Do };
        let unit = || Instead::Say(Ok(Outcome::Unit));
        let is_message = |name: &[u8]| name.first().is_some_and(u8::is_ascii_digit);
        let is_dir = |dir: Handle, name: &[u8]| {
            disk.ino_of(descriptors, dir).is_some_and(|ino| disk.is_called(ino, name))
        };
        match (plant, op) {
            (Plant::SkipDirectorySync, Op::SyncDir { .. })
            | (Plant::SkipFileSync, Op::Sync { .. } | Op::Order { .. }) => Instead::Say(Ok(done(op))),
            (Plant::SkipSyncOfNew, Op::SyncDir { dir }) if is_dir(*dir, b"new") => unit(),
            (Plant::SkipSyncOfCur, Op::SyncDir { dir }) if is_dir(*dir, b"cur") => unit(),
            (Plant::SkipSyncOfMaildir, Op::SyncDir { dir })
                if !is_dir(*dir, b"cur") && !is_dir(*dir, b"new") =>
            {
                unit()
            }
            (
                Plant::AcknowledgeBeforeSync,
                Op::SyncDir { dir: handle } | Op::Sync { file: handle } | Op::Order { file: handle },
            ) => {
                self.late.extend(disk.ino_of(descriptors, *handle).map(|ino| (self.count + LATE, ino)));
                Instead::Say(Ok(done(op)))
            }
            (Plant::LoseKeywordTable, Op::Write { bytes, .. }) if bytes.starts_with(b"0 ") => unit(),
            (Plant::SkipUidlistSync, Op::Sync { file }) => {
                let list = disk.ino_of(descriptors, *file).is_some_and(|ino| disk.starts_like_uidlist(ino));
                if list { unit() } else { Instead::Do }
            }
            (Plant::LoseUidlistRecords, Op::Write { bytes, .. })
                if bytes.windows(2).any(|w| w == b" :") && !bytes.starts_with(b"3 V") =>
            {
                unit()
            }
            (Plant::ForgetLock, Op::Create { dir, name }) if name == b"dovecot-uidlist.lock" => {
                let Some(ino) = disk.ino_of(descriptors, *dir).filter(|dir| disk.has_name(*dir, name)) else {
                    return Instead::Do;
                };
                // It holds a lock that nobody else looks at.
                self.count += 1;
                let other = format!("ignored.{}", self.count).into_bytes();
                self.ignored.insert(ino, other.clone());
                Instead::DoOther(Op::Create { dir: *dir, name: other })
            }
            (Plant::ForgetLock, Op::Unlink { dir, name }) if name == b"dovecot-uidlist.lock" => {
                let other = disk.ino_of(descriptors, *dir).and_then(|ino| self.ignored.remove(&ino));
                other.map_or(Instead::Do, |name| Instead::DoOther(Op::Unlink { dir: *dir, name }))
            }
            (Plant::SkipFlagRename, Op::Rename { name, to_name, .. })
                if name.contains(&b':') && to_name.contains(&b':') && self.every(2) =>
            {
                unit()
            }
            (Plant::SkipUnlink, Op::Unlink { name, .. })
                if name.windows(3).any(|w| w == b":2,") && self.every(2) =>
            {
                unit()
            }
            (Plant::LeakTmp, Op::Unlink { name, .. }) if is_message(name) && !name.contains(&b',') => unit(),
            (Plant::DeliverTwice, Op::Rename { to_dir, to_name, .. })
                if is_message(to_name) && !to_name.contains(&b':') && self.every(2) =>
            {
                let (dir, name) = (*to_dir, to_name.clone());
                let again = [b"9".as_slice(), to_name].concat();
                Instead::DoAlso(Op::Link { dir, name, to_dir: *to_dir, to_name: again })
            }
            (Plant::ShortWrite, Op::Write { file, bytes }) if bytes.len() > 100 && self.every(3) => {
                Instead::DoOther(Op::Write { file: *file, bytes: bytes[..bytes.len() - 2].to_vec() })
            }
            (Plant::ForgetOutcome, Op::Rename { dir, name, to_name, .. })
                if to_name.ends_with(b".e")
                    && disk.ino_of(descriptors, *dir).is_some_and(|ino| disk.has_name(ino, to_name)) =>
            {
                Instead::DoOther(Op::Unlink { dir: *dir, name: name.clone() })
            }
            (Plant::NoticeTwice | Plant::LoseNotice, Op::Rename { dir, name, to_dir, to_name, .. })
                if is_message(to_name)
                    && disk.ino_of(descriptors, *dir).is_some_and(|ino| disk.is_notice(ino, name)) =>
            {
                if plant == Plant::LoseNotice {
                    return Instead::DoOther(Op::Unlink { dir: *dir, name: name.clone() });
                }
                let (name, to_name) = (to_name.clone(), [b"9".as_slice(), to_name].concat());
                Instead::DoAlso(Op::Link { dir: *to_dir, name, to_dir: *to_dir, to_name })
            }
            (Plant::LoseByRename, Op::Rename { dir, name, .. }) if is_message(name) && self.every(4) => {
                Instead::DoOther(Op::Unlink { dir: *dir, name: name.clone() })
            }
            _ => Instead::Do,
        }
    }

    /// A sync that was reported done and is due: of this file or directory.
    pub fn late_sync(&mut self) -> Option<Ino> {
        if !self.is(Plant::AcknowledgeBeforeSync) {
            return None;
        }
        self.count += 1;
        self.late
            .front()
            .is_some_and(|(due, _)| *due <= self.count)
            .then(|| self.late.pop_front())?
            .map(|(_, ino)| ino)
    }

    /// What becomes of octets on their way to a client.
    pub fn sent(&mut self, octets: &mut [u8]) {
        if !self.is(Plant::WrongLiteral) {
            return;
        }
        let Some(end) = octets.windows(3).position(|w| w == b"}\r\n") else { return };
        if let Some(digit @ b'0'..=b'8') = octets[..end].last_mut()
            && self.every(3)
        {
            *digit += 1;
        }
    }

    /// What becomes of a client's octets.
    pub fn asked(&self, octets: &mut Vec<u8>) {
        let find = |octets: &[u8], word: &[u8]| octets.windows(word.len()).position(|w| w == word);
        match self.plant {
            Some(Plant::IgnoreUnchangedSince) => {
                if let Some(at) = find(octets, b"(UNCHANGEDSINCE ")
                    && let Some(end) = find(&octets[at..], b") ")
                {
                    octets.drain(at..at + end + 2);
                }
            }
            Some(Plant::ChangedSinceTooHigh) => {
                let words: [(&[u8], usize); 2] = [(b"(CHANGEDSINCE ", 0), (b"(QRESYNC (", 1)];
                for (word, skip) in words {
                    let Some(at) = find(octets, word) else { continue };
                    let mut number = at + word.len();
                    for _ in 0..skip {
                        number +=
                            octets[number..].iter().position(|byte| *byte == b' ').map_or(0, |end| end + 1);
                    }
                    let digits = octets[number..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                    let text = std::str::from_utf8(&octets[number..number + digits]).unwrap_or_default();
                    if let Ok(modseq) = text.parse::<u64>() {
                        octets.splice(number..number + digits, (modseq + 1).to_string().into_bytes());
                    }
                }
            }
            _ => {}
        }
    }

    /// What becomes of another server's octets.
    pub fn replied(&self, octets: &mut [u8]) {
        let instead = match self.plant {
            Some(Plant::PermanentForTemporary) => b'5',
            Some(Plant::GoodForTemporary) => b'2',
            _ => return,
        };
        if octets.starts_with(b"45") {
            octets[0] = instead;
        }
    }

    /// What becomes of octets behind STARTTLS: they are taken out of `octets`, for later.
    pub fn plaintext(&self, octets: &mut Vec<u8>) -> Vec<u8> {
        let command = b"STARTTLS\r\n";
        let at = octets.windows(command.len()).position(|w| w.eq_ignore_ascii_case(command));
        match at {
            Some(at) if self.is(Plant::KeepPlaintext) => octets.split_off(at + command.len()),
            Some(_) | None => Vec::new(),
        }
    }

    /// What becomes of a listing.
    pub fn list(&mut self, names: &mut Vec<Name>) {
        if self.is(Plant::ListMisses) && names.iter().any(|name| name.name.contains(&b':')) && self.every(3) {
            names.pop();
        }
    }

    /// What becomes of a failure.
    pub fn swallows(&self, op: &Op, errno: Errno) -> bool {
        self.is(Plant::IgnoreSyncError)
            && matches!(op, Op::Sync { .. } | Op::Order { .. })
            && errno == Errno::Io
    }

    /// Whether a message of the office is lost.
    pub fn drops_answer(&mut self, message: &FromOffice) -> bool {
        match (self.plant, message) {
            (Some(Plant::DropAnswer), FromOffice::Imap { .. }) => self.every(5),
            (Some(Plant::DropNotice), FromOffice::ImapNotice { .. }) => true,
            _ => false,
        }
    }

    /// What a client hears instead of a response.
    pub fn heard(&mut self, response: Response) -> Vec<Response> {
        let Some(plant) = self.plant else { return vec![response] };
        match (plant, response) {
            (Plant::ExpungeDuringFetch, expunge @ Response::Untagged(Untagged::Expunge(_)))
                if self.held.is_none() =>
            {
                self.held = Some(expunge);
                vec![]
            }
            (Plant::ExpungeDuringFetch, fetch @ Response::Untagged(Untagged::Fetch(..))) => {
                self.held.take().into_iter().chain([fetch]).collect()
            }
            (Plant::LoseCopyUid, Response::Tagged(tag, status, Some(Code::CopyUid(..)))) => {
                vec![Response::Tagged(tag, status, None)]
            }
            (Plant::WrongCopyUid, Response::Tagged(tag, status, Some(Code::CopyUid(v, from, mut to)))) => {
                to.iter_mut().for_each(|uid| *uid += 1);
                vec![Response::Tagged(tag, status, Some(Code::CopyUid(v, from, to)))]
            }
            (
                Plant::UidNextTooHigh,
                Response::Untagged(Untagged::Status(status, Some(Code::UidNext(next)))),
            ) => {
                vec![Response::Untagged(Untagged::Status(status, Some(Code::UidNext(next + 1))))]
            }
            (
                Plant::UidNextFalls,
                Response::Untagged(Untagged::Status(status, Some(Code::UidNext(next)))),
            ) if next > 1 && self.every(2) => {
                vec![Response::Untagged(Untagged::Status(status, Some(Code::UidNext(next - 1))))]
            }
            (
                Plant::ModSeqFalls,
                Response::Untagged(Untagged::Status(status, Some(Code::HighestModSeq(modseq)))),
            ) if self.every(2) => {
                vec![Response::Untagged(Untagged::Status(status, Some(Code::HighestModSeq(modseq - 1))))]
            }
            (Plant::HideMessage, Response::Untagged(Untagged::Fetch(..))) if self.every(6) => vec![],
            (Plant::LoseExists, Response::Untagged(Untagged::Exists(_))) if self.every(2) => vec![],
            (Plant::HideFlag, Response::Untagged(Untagged::Fetch(number, mut fetched))) => {
                if let Some(flags) = &mut fetched.flags {
                    flags.retain(|flag| flag != "\\Flagged");
                }
                vec![Response::Untagged(Untagged::Fetch(number, fetched))]
            }
            (Plant::LoseResult, Response::Untagged(Untagged::ESearch(told)))
                if !told.changes.is_empty() && self.every(3) =>
            {
                vec![]
            }
            (Plant::OkInsteadOfNo, Response::Tagged(tag, Status::No, code)) => {
                vec![Response::Tagged(tag, Status::Ok, code)]
            }
            (Plant::ExpungeOffByOne, Response::Untagged(Untagged::Expunge(number))) => {
                vec![Response::Untagged(Untagged::Expunge(number + 1))]
            }
            (plant, response) => vec![self.heard_of_modseqs(plant, response)],
        }
    }

    fn heard_of_modseqs(&mut self, plant: Plant, mut response: Response) -> Response {
        match (plant, &mut response) {
            (
                Plant::HighestModSeqTooHigh,
                Response::Untagged(Untagged::Status(_, Some(Code::HighestModSeq(modseq)))),
            ) => *modseq += 1,
            (Plant::VanishedForgets, Response::Untagged(Untagged::Vanished { uids, .. })) => {
                uids.pop();
            }
            (Plant::VanishedNamesMore, Response::Untagged(Untagged::Vanished { earlier: true, uids })) => {
                uids.extend(uids.last().map(|last| last + 1));
            }
            (Plant::ModifiedForgets, Response::Tagged(_, _, Some(Code::Modified(uids)))) => {
                uids.pop();
            }
            (
                Plant::KeepModSeq,
                Response::Untagged(Untagged::Fetch(_, fetched) | Untagged::UidFetch(_, fetched)),
            ) => {
                if let Some((uid, modseq)) = fetched.uid.zip(fetched.modseq) {
                    fetched.modseq = Some(*self.first.entry(uid).or_insert(modseq));
                }
            }
            _ => {}
        }
        response
    }
}
