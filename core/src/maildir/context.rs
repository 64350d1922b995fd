//! What all store operations share: who we are, how long to wait, how to make unique names, and how they
//! fail.
//!
//! ```
//! use postier_core::maildir::context::{HostFacts, StoreContext};
//!
//! let facts = HostFacts { host: b"mx.example.org".to_vec(), pid: 7, ..HostFacts::default() };
//! let context = StoreContext::new(facts);
//! assert_eq!(context.lock_wait.as_secs(), 15);
//! ```

use crate::disk::{Errno, Stat};
use crate::machine::{Now, WallTime};
use crate::maildir::durable::Durable;
use crate::maildir::folder::BadName;
use crate::maildir::lock::Holder;
use crate::maildir::name::{HostPart, UniqueName};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use spin::Mutex;

/// The directory that holds one user's mail: INBOX itself, and the other mailboxes in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Root {
    /// Absolute path, from the configuration.
    pub path: Box<[u8]>,
}

impl Root {
    /// The root at a path.
    pub fn new(path: &[u8]) -> Root {
        Root { path: path.into() }
    }
}

/// Facts about this process and its machine, given at the start.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// The host name, as Dovecot would write it into a lock.
    pub host: Vec<u8>,
    /// Our process number.
    pub pid: u32,
    /// When this process started.
    pub started: WallTime,
    /// When the machine booted, if known.
    pub booted: Option<WallTime>,
    /// A random number, another one for each process.
    pub seed: u64,
}

/// So many locks that could not be removed are remembered.
const LEFT_LOCKS_MAX: usize = 1024;

/// What all store operations of a process share; one value, behind an `Arc`.
#[derive(Debug)]
pub struct StoreContext {
    facts: HostFacts,
    host: HostPart,
    sequence: AtomicU32,
    /// Uidlists (device, inode) of which a sync has failed: what was written to them may never reach the disk, whatever
    /// a later sync says.
    unsure: Mutex<BTreeSet<(u64, u64)>>,
    /// Locks of ours (device, inode) that could not be removed, as last touched (ns): nobody holds them.
    left_locks: Mutex<BTreeMap<(u64, u64), i64>>,
    durable: Arc<Durable>,
    /// How long a writer waits for the lock of somebody else before it answers Busy.
    pub lock_wait: Duration,
}

impl StoreContext {
    /// With the usual wait of 15 s for writers. Readers never wait for a lock.
    pub fn new(facts: HostFacts) -> StoreContext {
        StoreContext {
            host: HostPart::new(&facts.host),
            facts,
            sequence: AtomicU32::new(0),
            unsure: Mutex::new(BTreeSet::new()),
            left_locks: Mutex::new(BTreeMap::new()),
            durable: Arc::default(),
            lock_wait: Duration::from_secs(15),
        }
    }

    /// The facts given at the start.
    pub fn facts(&self) -> &HostFacts {
        &self.facts
    }

    /// Who we are in a lock file.
    pub(super) fn holder(&self) -> Holder<'_> {
        Holder { pid: self.facts.pid, host: &self.facts.host }
    }

    /// The host as it stands in file names.
    pub(super) fn host(&self) -> &HostPart {
        &self.host
    }

    /// Which directories survive a power cut.
    pub(super) fn durable(&self) -> &Arc<Durable> {
        &self.durable
    }

    /// The sync of a uidlist has failed.
    pub(super) fn distrust(&self, list: &Stat) {
        self.unsure.lock().insert((list.device, list.inode));
    }

    /// Whether what a uidlist says may be gone after a crash.
    pub(super) fn distrusts(&self, list: &Stat) -> bool {
        self.unsure.lock().contains(&(list.device, list.inode))
    }

    /// A new file has taken its place.
    pub(super) fn forget(&self, list: &Stat) {
        self.unsure.lock().remove(&(list.device, list.inode));
    }

    /// A lock of ours could not be removed.
    pub(super) fn leave_lock(&self, lock: &Stat) {
        let mut left = self.left_locks.lock();
        if left.len() >= LEFT_LOCKS_MAX {
            // Of that one nobody knows any more but by its age.
            left.pop_first();
        }
        left.insert((lock.device, lock.inode), lock.mtime_ns);
    }

    /// Whether this is a lock that we have left; another one may have its number now.
    pub(super) fn has_left_lock(&self, lock: &Stat) -> bool {
        self.left_locks.lock().get(&(lock.device, lock.inode)) == Some(&lock.mtime_ns)
    }

    /// It is gone.
    pub(super) fn forget_lock(&self, lock: &Stat) {
        self.left_locks.lock().remove(&(lock.device, lock.inode));
    }

    /// The makings of a name that no other file has.
    pub(super) fn unique_name(&self, now: Now) -> UniqueName {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        UniqueName {
            seconds: u64::try_from(now.wall.secs).unwrap_or(0),
            microseconds: now.wall.micros,
            pid: self.facts.pid,
            sequence: u64::from(sequence),
            random: mix(self.facts.seed ^ u64::from(sequence)) as u32,
        }
    }

    /// A base name, without sizes, for a mail that has a name already, and the same at every try.
    pub(crate) fn named_base(&self, seconds: i64, name: &str) -> Box<[u8]> {
        let mut base = format!("{}.L{name}.", seconds.max(0)).into_bytes();
        base.extend_from_slice(self.host.as_bytes());
        base.into()
    }

    /// A random GUID for a new mailbox.
    pub(super) fn guid(&self, now: Now) -> [u8; 16] {
        let sequence = u64::from(self.sequence.fetch_add(1, Ordering::Relaxed));
        let high = mix(self.facts.seed ^ sequence);
        let low = mix(high ^ now.wall.secs as u64 ^ u64::from(now.wall.micros) << 40);
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }
}

/// One step of splitmix64: spreads a seed and a counter over 64 bits.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// Wall-clock nanoseconds since 1970, to compare with file times.
pub(super) fn wall_ns(wall: WallTime) -> i64 {
    wall.secs.saturating_mul(1_000_000_000).saturating_add(i64::from(wall.micros) * 1000)
}

/// Why a store operation failed, and at which file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreError {
    /// What the one who asked must be told.
    pub kind: StoreErrorKind,
    /// The file or directory concerned, for the log; may be empty.
    pub file: Box<[u8]>,
}

/// What kind of failure it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreErrorKind {
    /// The file system is full.
    NoSpace,
    /// The quota of the file system is used up.
    OverQuota,
    /// The account's mail has no room for it now.
    MailboxFull,
    /// The account's mail would have no room for it if there were nothing else.
    MailboxTooSmall,
    /// Somebody else holds the lock and does not let go.
    Busy,
    /// The mailbox (or message) does not exist.
    NotFound,
    /// The mailbox exists already.
    AlreadyExists,
    /// A mailbox name that cannot be.
    BadName(BadName),
    /// It can never be done with this mailbox (deleting INBOX, say).
    Cannot,
    /// The system does not let us.
    Access,
    /// The file system cannot be written.
    ReadOnly,
    /// All UIDs are used up.
    UidsExhausted,
    /// The message is larger than one may be.
    TooBig,
    /// There are no such octets of another message (CATENATE); the how manieth of its command, from 0.
    BadUrl(usize),
    /// The mailbox has as many keywords as there are letters for, or the keyword's name is too long.
    KeywordsFull,
    /// The mailbox, or the account, would have more annotations than it may.
    TooManyEntries,
    /// The mailbox cannot be given this special use.
    SpecialUse,
    /// Part of the file cannot be read any more, and what it said is lost; the rest is good.
    Damaged,
    /// The owner of the task asked for the end: everything is undone.
    Aborted,
    /// Anything else; trying again later may help.
    Temporary(Errno),
}

impl StoreError {
    /// A failure that no file operation reported.
    pub fn new(kind: StoreErrorKind, file: &[u8]) -> StoreError {
        StoreError { kind, file: file.into() }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if !self.file.is_empty() {
            write!(f, ": {}", String::from_utf8_lossy(&self.file))?;
        }
        Ok(())
    }
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            StoreErrorKind::NoSpace => "the file system is full",
            StoreErrorKind::OverQuota => "the quota is used up",
            StoreErrorKind::MailboxFull => "the mailbox is full",
            StoreErrorKind::MailboxTooSmall => "it is larger than the mailbox may be",
            StoreErrorKind::Busy => "another program holds the lock",
            StoreErrorKind::NotFound => "it does not exist",
            StoreErrorKind::TooBig => "the message is too large",
            StoreErrorKind::BadUrl(_) => "there is nothing of that URL",
            StoreErrorKind::AlreadyExists => "it exists already",
            StoreErrorKind::BadName(_) => "not a mailbox name",
            StoreErrorKind::Cannot => "impossible with this mailbox",
            StoreErrorKind::Access => "permission denied",
            StoreErrorKind::ReadOnly => "the file system is read-only",
            StoreErrorKind::UidsExhausted => "all UIDs of this mailbox are used up",
            StoreErrorKind::KeywordsFull => "there is no letter left for the keyword",
            StoreErrorKind::TooManyEntries => "there would be too many annotations",
            StoreErrorKind::SpecialUse => "the mailbox cannot have this special use",
            StoreErrorKind::Damaged => "lines with a wrong checksum are passed over",
            StoreErrorKind::Aborted => "given up by the client",
            StoreErrorKind::Temporary(errno) => return write!(f, "the system says {errno:?}"),
        };
        f.write_str(text)
    }
}

impl core::error::Error for StoreError {}

impl From<Errno> for StoreErrorKind {
    fn from(errno: Errno) -> StoreErrorKind {
        match errno {
            Errno::NotFound => StoreErrorKind::NotFound,
            Errno::Exists => StoreErrorKind::AlreadyExists,
            Errno::Access => StoreErrorKind::Access,
            Errno::NoSpace => StoreErrorKind::NoSpace,
            Errno::Quota => StoreErrorKind::OverQuota,
            Errno::ReadOnly => StoreErrorKind::ReadOnly,
            Errno::Io
            | Errno::TooManyFiles
            | Errno::Stale
            | Errno::NotDirectory
            | Errno::IsDirectory
            | Errno::NotEmpty
            | Errno::CrossDevice
            | Errno::Loop
            | Errno::TooManyLinks
            | Errno::NameTooLong
            | Errno::Other(_) => StoreErrorKind::Temporary(errno),
        }
    }
}

/// Says at which file an operation failed.
pub(crate) trait At<T> {
    /// The same result with the file's name.
    fn at(self, file: &[u8]) -> Result<T, StoreError>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, file: &[u8]) -> Result<T, StoreError> {
        self.map_err(|errno| StoreError::new(errno.into(), file))
    }
}
