//! The operations, what they bring back, and why they fail.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::machine::Now;

/// An opened file or directory, as numbered by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle(pub u64);

/// Why a file operation failed: the names of errno(3) that change what the core does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errno {
    /// ENOENT
    NotFound,
    /// EEXIST
    Exists,
    /// EACCES, EPERM
    Access,
    /// ENOSPC
    NoSpace,
    /// EDQUOT
    Quota,
    /// EIO
    Io,
    /// EMFILE, ENFILE
    TooManyFiles,
    /// ESTALE
    Stale,
    /// EROFS
    ReadOnly,
    /// ENOTDIR
    NotDirectory,
    /// EISDIR
    IsDirectory,
    /// ENOTEMPTY
    NotEmpty,
    /// EXDEV: other file system
    CrossDevice,
    /// ELOOP: a symbolic link where none is followed
    Loop,
    /// EMLINK
    TooManyLinks,
    /// ENAMETOOLONG
    NameTooLong,
    /// Any other error number.
    Other(i32),
}

/// What kind of thing a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link (never followed).
    Link,
    /// Anything else: a fifo, a socket, a device.
    Other,
    /// The file system's listing does not say.
    Unknown,
}

/// What stat(2) says, as far as the core cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Kind of the file.
    pub kind: Kind,
    /// Size in octets.
    pub size: u64,
    /// Modification time in nanoseconds since 1970 (UTC).
    pub mtime_ns: i64,
    /// Change time in nanoseconds since 1970 (UTC).
    pub ctime_ns: i64,
    /// Inode number.
    pub inode: u64,
    /// Device number.
    pub device: u64,
    /// Number of hard links.
    pub links: u64,
    /// The user whose file it is.
    pub owner: u32,
}

/// One file operation.
///
/// No operation follows a symbolic link in its last component, except [`Op::OpenRoot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Opens the directory at a configured path; with `create`, makes it and its parents (mode 0700 or as the
    /// nearest existing parent has it). Outcome: [`Outcome::Opened`].
    OpenRoot {
        /// Absolute path.
        path: Vec<u8>,
        /// Make what is missing.
        create: bool,
    },
    /// Opens a directory inside `dir`. Outcome: [`Outcome::Opened`].
    OpenDir {
        /// The directory it lies in.
        dir: Handle,
        /// Its name.
        name: Vec<u8>,
    },
    /// Makes a directory with the mode and group of `dir`. Outcome: [`Outcome::Unit`].
    MakeDir {
        /// The directory it lies in.
        dir: Handle,
        /// Its name.
        name: Vec<u8>,
    },
    /// Opens a file for reading. Outcome: [`Outcome::OpenedFile`].
    OpenFile {
        /// The directory it lies in.
        dir: Handle,
        /// Its name.
        name: Vec<u8>,
    },
    /// Creates a file that must not exist, for writing, with the mode and group of its directory.
    /// Outcome: [`Outcome::Opened`].
    Create {
        /// The directory it lies in.
        dir: Handle,
        /// Its name.
        name: Vec<u8>,
    },
    /// Opens an existing file for appending. Outcome: [`Outcome::OpenedFile`].
    OpenAppend {
        /// The directory it lies in.
        dir: Handle,
        /// Its name.
        name: Vec<u8>,
    },
    /// Reads up to `len` octets at `offset`; fewer only at the end of the file. Outcome: [`Outcome::Bytes`].
    Read {
        /// An open file.
        file: Handle,
        /// Octets from the start.
        offset: u64,
        /// How many octets at most.
        len: usize,
    },
    /// Opens, stats, reads whole and closes a file. A file longer than `max` is cut there (the stat tells).
    /// Outcome: [`Outcome::File`].
    ReadFile {
        /// The directory it lies in.
        dir: Handle,
        /// Its name.
        name: Vec<u8>,
        /// How many octets at most.
        max: usize,
    },
    /// Writes all octets at the file's position (its end). Outcome: [`Outcome::Unit`].
    Write {
        /// An open file.
        file: Handle,
        /// What to write.
        bytes: Vec<u8>,
    },
    /// Writes a file's octets ahead of its names: a name it gets after this is not there after a power cut without
    /// them. That costs less than [`Op::Sync`] and makes nothing durable. Where the file system does not promise it,
    /// nothing is done and the outcome is false. After a failure the file must be thrown away. Outcome:
    /// [`Outcome::Flag`].
    Order {
        /// An open file.
        file: Handle,
    },
    /// fsync of a file. After a failure the file must be thrown away. Outcome: [`Outcome::Unit`].
    Sync {
        /// An open file.
        file: Handle,
    },
    /// fsync of a directory. Outcome: [`Outcome::Unit`].
    SyncDir {
        /// An open directory.
        dir: Handle,
    },
    /// Closes a handle. Outcome: [`Outcome::Unit`], never an error.
    Close {
        /// The handle; it must not be used again.
        handle: Handle,
    },
    /// Renames. Without `replace` an existing target is [`Errno::Exists`]. Outcome: [`Outcome::Unit`].
    Rename {
        /// The directory it lies in.
        dir: Handle,
        /// Its name.
        name: Vec<u8>,
        /// The directory it moves to.
        to_dir: Handle,
        /// Its new name.
        to_name: Vec<u8>,
        /// Replace an existing target atomically.
        replace: bool,
    },
    /// Makes a hard link; an existing target is [`Errno::Exists`]. Outcome: [`Outcome::Unit`].
    Link {
        /// The directory it lies in.
        dir: Handle,
        /// Its name.
        name: Vec<u8>,
        /// The directory of the new name.
        to_dir: Handle,
        /// The new name.
        to_name: Vec<u8>,
    },
    /// Removes a file. Outcome: [`Outcome::Unit`].
    Unlink {
        /// The directory it lies in.
        dir: Handle,
        /// Its name.
        name: Vec<u8>,
    },
    /// Removes an empty directory. Outcome: [`Outcome::Unit`].
    RemoveDir {
        /// The directory it lies in.
        dir: Handle,
        /// Its name.
        name: Vec<u8>,
    },
    /// Lists a directory, without `.` and `..`. The listing races with renames: a name may be missing or twice.
    /// Outcome: [`Outcome::Names`].
    List {
        /// An open directory.
        dir: Handle,
    },
    /// Stats a name. Outcome: [`Outcome::Stat`].
    Stat {
        /// The directory it lies in.
        dir: Handle,
        /// Its name.
        name: Vec<u8>,
    },
    /// Stats an open file or directory. Outcome: [`Outcome::Stat`].
    StatHandle {
        /// The open file or directory.
        handle: Handle,
    },
    /// Can names in this directory be made, changed and removed now? Nothing is changed; a no is the error that a change
    /// would be, [`Errno::Access`] or [`Errno::ReadOnly`]. Outcome: [`Outcome::Unit`].
    Writable {
        /// An open directory.
        dir: Handle,
    },
    /// Sets the modification time (and access time). Outcome: [`Outcome::Unit`].
    SetTime {
        /// The directory it lies in.
        dir: Handle,
        /// Its name.
        name: Vec<u8>,
        /// Nanoseconds since 1970 (UTC).
        mtime_ns: i64,
    },
    /// Overwrites the first octets of an existing file in place (`dovecot-uidvalidity`). Outcome: [`Outcome::Unit`].
    Overwrite {
        /// The directory it lies in.
        dir: Handle,
        /// Its name.
        name: Vec<u8>,
        /// What to write at offset 0.
        bytes: Vec<u8>,
    },
    /// Is a process of this number alive on this host? Outcome: [`Outcome::Flag`].
    ProcessAlive {
        /// The process number.
        pid: u32,
    },
    /// What time is it, by the clock that stamps files: what changes after this bears no earlier time. Outcome:
    /// [`Outcome::Now`].
    Clock,
}

/// A name of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub name: Box<[u8]>,
    /// Its kind, [`Kind::Unknown`] if the listing does not say.
    pub kind: Kind,
}

/// What a successful operation brings back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing but success.
    Unit,
    /// A handle.
    Opened(Handle),
    /// A handle with its stat.
    OpenedFile(Handle, Stat),
    /// Octets read.
    Bytes(Vec<u8>),
    /// A whole file with its stat.
    File(Vec<u8>, Stat),
    /// A stat.
    Stat(Stat),
    /// A listing, in the order of the file system.
    Names(Vec<Name>),
    /// Yes or no.
    Flag(bool),
    /// The time.
    Now(Now),
}

/// A result of a file operation.
pub type OpResult = Result<Outcome, Errno>;
