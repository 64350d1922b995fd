//! Carries out the core's file operations on the real file system.
//!
//! A [`DiskExecutor`] executes one [`Op`] after the other and blocks while it does; give each worker thread its
//! own. [`drive`] pumps a whole [`Task`] until it ends or wants something that is not a file operation.
//!
//! * A [`Handle`] is the number of a file descriptor. The core closes what it opens; a handle that is used after
//!   its close is a bug of the core and shows up as an error (or touches another mailbox's file), so handles are
//!   never guessed, stored or made from a peer's data.
//! * Names are single components: a name with a `/`, an empty one, `.` and `..` are refused.
//! * Symbolic links are not followed in the last component, except by [`Op::OpenRoot`].
//! * New files and directories get the mode and the group of their directory as Dovecot does it: the permission
//!   bits of the directory without the x bits for files; a group that cannot be given loses its bits.
//!
//! ```
//! use postier_core::disk::{Disk, Task};
//! use postier_host::disk::{DiskExecutor, Ended, drive};
//!
//! async fn count(disk: Disk, path: Vec<u8>) -> usize {
//!     let root = disk.open_root(&path, false).await.unwrap();
//!     let names = disk.list(root).await.unwrap();
//!     disk.close(root).await;
//!     names.len()
//! }
//! let mut task = Task::new(|disk| count(disk, b"/".to_vec()));
//! let ended = drive(&mut task, &mut DiskExecutor::default());
//! assert!(matches!(ended, Ended::Done(count) if count > 0));
//! ```

mod create;
mod order;
#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use postier_core::disk::{Errno, Handle, Kind, Name, Op, OpResult, Outcome, Resume, Stat, Task, TaskStep};
use rustix::buffer::spare_capacity;
use rustix::fs::{self, Access, AtFlags, FileType, Mode, OFlags, RawDir, RenameFlags, Timespec, Timestamps};
use rustix::io::{Errno as OsError, retry_on_intr};

/// Directory entries are fetched in portions of this many octets.
const LIST_BYTES: usize = 32 * 1024;

/// Why [`drive`] came back.
#[derive(Debug)]
pub enum Ended<T> {
    /// The task wants an input pushed.
    NeedInput,
    /// The task wants to be resumed no earlier than after this long.
    Wait(Duration),
    /// The task is over.
    Done(T),
}

/// Resumes a task and carries out its operations until it is over or wants something else. Blocks.
pub fn drive<T>(task: &mut Task<T>, disk: &mut DiskExecutor) -> Ended<T> {
    let mut step = task.resume(Resume::Start);
    loop {
        match step {
            TaskStep::Op(op) => step = task.resume(Resume::Outcome(disk.execute(op))),
            TaskStep::NeedInput => return Ended::NeedInput,
            TaskStep::Wait(duration) => return Ended::Wait(duration),
            TaskStep::Done(value) => return Ended::Done(value),
        }
    }
}

/// Reads up to `buffer.len()` octets of an open file at `offset`, for a send queue; zero at the end of the file.
///
/// # Errors
/// What pread(2) says.
pub fn read_at(file: Handle, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let fd = borrow(file)?;
    retry_on_intr(|| rustix::io::pread(fd, &mut *buffer, offset)).map_err(errno)
}

/// Closes a handle that the core gave away (a send queue's file).
pub fn close(handle: Handle) {
    if let Ok(fd) = RawFd::try_from(handle.0) {
        // SAFETY: a handle is a descriptor this module opened and nobody else owns; the core gives each one
        // back for closing once.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}

/// Executes file operations with system calls, one at a time. See the module's manual.
#[derive(Debug, Default)]
pub struct DiskExecutor {
    /// Space for directory entries, made at the first listing.
    entries: Vec<u8>,
    order: order::FileSystems,
}

impl DiskExecutor {
    /// Carries one operation out. Blocks, as long as the disk takes.
    pub fn execute(&mut self, op: Op) -> OpResult {
        self.run(op).map_err(errno)
    }

    fn run(&mut self, op: Op) -> Result<Outcome, OsError> {
        match op {
            Op::OpenRoot { path, create } => create::open_root(&path, create).map(opened),
            Op::OpenDir { dir, name } => open(dir, &name, OFlags::RDONLY | OFlags::DIRECTORY).map(opened),
            Op::MakeDir { dir, name } => create::make_dir(fd(dir)?, single(&name)?).map(unit),
            Op::OpenFile { dir, name } => open_file(dir, &name, OFlags::RDONLY | OFlags::NONBLOCK),
            Op::Create { dir, name } => create::create(fd(dir)?, single(&name)?).map(opened),
            Op::OpenAppend { dir, name } => {
                open_file(dir, &name, OFlags::RDWR | OFlags::APPEND | OFlags::NONBLOCK)
            }
            Op::Read { file, offset, len } => read(fd(file)?, offset, len).map(Outcome::Bytes),
            Op::ReadFile { dir, name, max } => read_file(dir, &name, max),
            Op::Write { file, bytes } => write_all(fd(file)?, &bytes).map(unit),
            Op::Order { file } => self.order.order(fd(file)?).map(Outcome::Flag),
            Op::Sync { file } => retry_on_intr(|| fs::fsync(fd(file)?)).map(unit),
            Op::SyncDir { dir } => retry_on_intr(|| fs::fsync(fd(dir)?)).map(unit),
            Op::Close { handle } => {
                close(handle);
                Ok(Outcome::Unit)
            }
            Op::Rename { dir, name, to_dir, to_name, replace } => {
                let (from, to) = (single(&name)?, single(&to_name)?);
                rename(fd(dir)?, from, fd(to_dir)?, to, replace).map(unit)
            }
            Op::Link { dir, name, to_dir, to_name } => {
                let (from, to) = (single(&name)?, single(&to_name)?);
                fs::linkat(fd(dir)?, from, fd(to_dir)?, to, AtFlags::empty()).map(unit)
            }
            Op::Unlink { dir, name } => fs::unlinkat(fd(dir)?, single(&name)?, AtFlags::empty()).map(unit),
            Op::RemoveDir { dir, name } => {
                fs::unlinkat(fd(dir)?, single(&name)?, AtFlags::REMOVEDIR).map(unit)
            }
            Op::List { dir } => self.list(fd(dir)?).map(Outcome::Names),
            Op::Stat { dir, name } => {
                let found = fs::statat(fd(dir)?, single(&name)?, AtFlags::SYMLINK_NOFOLLOW)?;
                Ok(Outcome::Stat(stat(&found)))
            }
            Op::StatHandle { handle } => Ok(Outcome::Stat(stat(&fs::fstat(fd(handle)?)?))),
            Op::Writable { dir } => {
                // As who we are now, not as who started us.
                fs::accessat(fd(dir)?, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).map(unit)
            }
            Op::SetTime { dir, name, mtime_ns } => set_time(fd(dir)?, single(&name)?, mtime_ns).map(unit),
            Op::Overwrite { dir, name, bytes } => overwrite(dir, &name, &bytes).map(unit),
            Op::ProcessAlive { pid } => Ok(Outcome::Flag(is_alive(pid))),
            Op::Clock => Ok(Outcome::Now(crate::clock::file_time())),
        }
    }

    fn list(&mut self, dir: BorrowedFd<'_>) -> Result<Vec<Name>, OsError> {
        // A descriptor of its own: the position of a listing belongs to the open description, and the same
        // handle may be listed by two tasks.
        let own = open_at(dir, b".", OFlags::RDONLY | OFlags::DIRECTORY)?;
        if self.entries.capacity() == 0 {
            self.entries.reserve_exact(LIST_BYTES);
        }
        let buffer: &mut [MaybeUninit<u8>] = self.entries.spare_capacity_mut();
        let mut listing = RawDir::new(own.as_fd(), buffer);
        let mut names = Vec::new();
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(Name { name: name.into(), kind: kind(entry.file_type()) });
            }
        }
        Ok(names)
    }
}

fn opened(fd: OwnedFd) -> Outcome {
    Outcome::Opened(handle(fd))
}

fn unit((): ()) -> Outcome {
    Outcome::Unit
}

fn handle(fd: OwnedFd) -> Handle {
    let raw = fd.into_raw_fd();
    Handle(u64::try_from(raw).expect("an open descriptor's number is not negative"))
}

fn borrow<'a>(handle: Handle) -> Result<BorrowedFd<'a>, Errno> {
    fd(handle).map_err(errno)
}

fn fd<'a>(handle: Handle) -> Result<BorrowedFd<'a>, OsError> {
    let raw = RawFd::try_from(handle.0).map_err(|_| OsError::BADF)?;
    if raw < 0 {
        return Err(OsError::BADF);
    }
    // SAFETY: the number is not -1. The descriptor is open because the core closes each handle once, after its
    // last use; were it not, the system call reports EBADF. No memory hangs on it (nothing here maps files).
    Ok(unsafe { BorrowedFd::borrow_raw(raw) })
}

/// A name that cannot leave its directory.
fn single(name: &[u8]) -> Result<&[u8], OsError> {
    let whole = name.is_empty() || name == b"." || name == b".." || name.contains(&b'/');
    if whole { Err(OsError::INVAL) } else { Ok(name) }
}

fn open_at(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, OsError> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    retry_on_intr(|| fs::openat(dir, name, flags, Mode::empty()))
}

fn open(dir: Handle, name: &[u8], flags: OFlags) -> Result<OwnedFd, OsError> {
    open_at(fd(dir)?, single(name)?, flags)
}

/// Opens a regular file. NONBLOCK in `flags` keeps a fifo that somebody left there from blocking the thread.
fn open_regular(dir: Handle, name: &[u8], flags: OFlags) -> Result<(OwnedFd, Stat), OsError> {
    let file = open(dir, name, flags)?;
    let stat = stat(&fs::fstat(&file)?);
    match stat.kind {
        Kind::File => Ok((file, stat)),
        Kind::Directory => Err(OsError::ISDIR),
        Kind::Link | Kind::Other | Kind::Unknown => Err(OsError::INVAL),
    }
}

fn open_file(dir: Handle, name: &[u8], flags: OFlags) -> Result<Outcome, OsError> {
    open_regular(dir, name, flags).map(|(file, stat)| Outcome::OpenedFile(handle(file), stat))
}

fn read(file: BorrowedFd<'_>, offset: u64, len: usize) -> Result<Vec<u8>, OsError> {
    let mut bytes = Vec::with_capacity(len);
    let mut at = offset;
    while bytes.len() < len {
        let count = retry_on_intr(|| rustix::io::pread(file, spare_capacity(&mut bytes), at))?;
        if count == 0 {
            break;
        }
        at = at.saturating_add(count as u64);
    }
    // The allocator may have given more room than asked for.
    bytes.truncate(len);
    Ok(bytes)
}

fn read_file(dir: Handle, name: &[u8], max: usize) -> Result<Outcome, OsError> {
    let (file, stat) = open_regular(dir, name, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let size = usize::try_from(stat.size).unwrap_or(usize::MAX);
    let mut bytes = read(file.as_fd(), 0, size.min(max))?;
    // A file that grew between the stat and the read is read to its end, too.
    while bytes.len() >= size && bytes.len() < max {
        let more = read(file.as_fd(), bytes.len() as u64, (max - bytes.len()).min(LIST_BYTES))?;
        if more.is_empty() {
            break;
        }
        bytes.extend_from_slice(&more);
    }
    Ok(Outcome::File(bytes, stat))
}

fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), OsError> {
    while !bytes.is_empty() {
        let count = retry_on_intr(|| rustix::io::write(file, bytes))?;
        if count == 0 {
            return Err(OsError::IO);
        }
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}

fn overwrite(dir: Handle, name: &[u8], bytes: &[u8]) -> Result<(), OsError> {
    let (file, _) = open_regular(dir, name, OFlags::WRONLY | OFlags::NONBLOCK)?;
    write_all(file.as_fd(), bytes)?;
    retry_on_intr(|| fs::fdatasync(&file))
}

fn rename(
    dir: BorrowedFd<'_>,
    name: &[u8],
    to_dir: BorrowedFd<'_>,
    to_name: &[u8],
    replace: bool,
) -> Result<(), OsError> {
    if replace {
        return fs::renameat(dir, name, to_dir, to_name);
    }
    match fs::renameat_with(dir, name, to_dir, to_name, RenameFlags::NOREPLACE) {
        // File systems without RENAME_NOREPLACE (NFS, some FUSE) say EINVAL.
        Err(OsError::INVAL | OsError::NOSYS) => rename_by_link(dir, name, to_dir, to_name),
        other => other,
    }
}

fn rename_by_link(
    dir: BorrowedFd<'_>,
    name: &[u8],
    to_dir: BorrowedFd<'_>,
    to_name: &[u8],
) -> Result<(), OsError> {
    match fs::linkat(dir, name, to_dir, to_name, AtFlags::empty()) {
        Ok(()) => fs::unlinkat(dir, name, AtFlags::empty()),
        // No links to directories, and none at all on some file systems: look, then rename.
        Err(OsError::PERM | OsError::ISDIR | OsError::OPNOTSUPP | OsError::MLINK) => {
            match fs::statat(to_dir, to_name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Err(OsError::EXIST),
                Err(OsError::NOENT) => fs::renameat(dir, name, to_dir, to_name),
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

fn set_time(dir: BorrowedFd<'_>, name: &[u8], mtime_ns: i64) -> Result<(), OsError> {
    let time =
        Timespec { tv_sec: mtime_ns.div_euclid(1_000_000_000), tv_nsec: mtime_ns.rem_euclid(1_000_000_000) };
    let times = Timestamps { last_access: time, last_modification: time };
    fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

/// A process that cannot be signalled is alive all the same; only ESRCH means gone.
fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(OsError::SRCH))
}

fn kind(file_type: FileType) -> Kind {
    match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        FileType::Unknown => Kind::Unknown,
        FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice => Kind::Other,
    }
}

fn stat(found: &fs::Stat) -> Stat {
    let nanos = |secs: i64, nanos: u64| {
        secs.saturating_mul(1_000_000_000).saturating_add(i64::try_from(nanos).unwrap_or(0))
    };
    Stat {
        kind: kind(FileType::from_raw_mode(found.st_mode)),
        size: u64::try_from(found.st_size).unwrap_or(0),
        mtime_ns: nanos(found.st_mtime, found.st_mtime_nsec),
        ctime_ns: nanos(found.st_ctime, found.st_ctime_nsec),
        inode: found.st_ino,
        device: found.st_dev,
        #[allow(clippy::useless_conversion, reason = "32 bits wide on some machines")]
        links: found.st_nlink.into(),
        owner: found.st_uid,
    }
}

fn errno(error: OsError) -> Errno {
    match error {
        OsError::NOENT => Errno::NotFound,
        OsError::EXIST => Errno::Exists,
        OsError::ACCESS | OsError::PERM => Errno::Access,
        OsError::NOSPC => Errno::NoSpace,
        OsError::DQUOT => Errno::Quota,
        OsError::IO => Errno::Io,
        OsError::MFILE | OsError::NFILE => Errno::TooManyFiles,
        OsError::STALE => Errno::Stale,
        OsError::ROFS => Errno::ReadOnly,
        OsError::NOTDIR => Errno::NotDirectory,
        OsError::ISDIR => Errno::IsDirectory,
        OsError::NOTEMPTY => Errno::NotEmpty,
        OsError::XDEV => Errno::CrossDevice,
        OsError::LOOP => Errno::Loop,
        OsError::MLINK => Errno::TooManyLinks,
        OsError::NAMETOOLONG => Errno::NameTooLong,
        other => Errno::Other(other.raw_os_error()),
    }
}
