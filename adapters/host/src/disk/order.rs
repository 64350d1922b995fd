//! Octets ahead of names: which file systems keep a file's octets before a name that the file gets later.
//!
//! ext4 with a journal and XFS do, once the octets and where they lie have been written:
//!
//! 1. sync_file_range(2) starts the writing and waits for it. When it returns, the octets are on their way out of the
//!    machine's memory, and the file's size and extents are in the file system's open transaction, or in an older one.
//! 2. A rename is in that transaction or in a younger one. Transactions come to the disk in their order.
//! 3. The disk's own cache is flushed before a transaction counts, and so are the octets.
//!
//! So fsync(2) of the directory makes both durable with one transaction, where fsync of the file, rename and fsync of
//! the directory make the disk write two, one after the other. By the manual alone sync_file_range promises nothing:
//! elsewhere (Btrfs keeps extents apart from the writing, ext4 without a journal has no transactions, a network has
//! another machine) the answer is no. `crash.rs` of the end-to-end tests cuts the power of both file systems; of 116,296
//! files renamed under four writers without any fsync none was incomplete after it, and without the first step most were.
//!
//! Not covered are files on the realtime device of an XFS that has one; nobody's mail lies there by itself.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs;
use rustix::io::{Errno as OsError, retry_on_intr};

/// `f_type` of statfs(2); ext2 and ext3 have the same.
const EXT4: u64 = 0xEF53;
const XFS: u64 = 0x5846_5342;

/// What is known of the file systems met.
#[derive(Debug, Default)]
pub(super) struct FileSystems {
    /// The device of the last file, and whether its file system keeps the order.
    last: Option<(u64, bool)>,
}

impl FileSystems {
    /// Writes a file's octets ahead of its names to come; `false` if there is no such order here.
    pub(super) fn order(&mut self, file: BorrowedFd<'_>) -> Result<bool, OsError> {
        let device = fs::fstat(file)?.st_dev;
        let ordered = match self.last {
            Some((last, ordered)) if last == device => ordered,
            Some(_) | None => keeps_order(file, device)?,
        };
        self.last = Some((device, ordered));
        if ordered {
            write_out(file)?;
        }
        Ok(ordered)
    }
}

fn keeps_order(file: BorrowedFd<'_>, device: u64) -> Result<bool, OsError> {
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "other types on other machines")]
    let kind = fs::fstatfs(file)?.f_type as u64 & 0xFFFF_FFFF;
    Ok(match kind {
        XFS => true,
        EXT4 => has_journal(device),
        _ => false,
    })
}

/// Whether the kernel shows a journal that is in this ext4 itself: inode 8, by the device's name.
fn has_journal(device: u64) -> bool {
    let number = format!("{}:{}", fs::major(device), fs::minor(device));
    let Ok(link) = std::fs::read_link(Path::new("/sys/dev/block").join(number)) else { return false };
    let Some(name) = link.file_name().and_then(|name| name.to_str()) else { return false };
    Path::new("/proc/fs/jbd2").join(format!("{name}-8")).exists()
}

fn write_out(file: BorrowedFd<'_>) -> Result<(), OsError> {
    const WRITE_AND_WAIT: libc::c_uint =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    retry_on_intr(|| {
        // SAFETY: the call takes numbers only, and the descriptor is open as long as it is borrowed.
        let result = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, WRITE_AND_WAIT) };
        if result == 0 {
            return Ok(());
        }
        let error = std::io::Error::last_os_error();
        Err(OsError::from_io_error(&error).unwrap_or(OsError::IO))
    })
}
