//! A tiny process that stays root, to read again what only root may read.
//!
//! A server that has given up root cannot read a renewed private key. So, before it does, it forks this process,
//! which can do one thing: read one of the files it was told of at its start. It dies when the server's end of
//! their socket closes. A request is the number of a path; the answer is an error number, the mode, the
//! length, and the octets.
//!
//! It trusts nobody but root with those paths: a file is read only if its path is absolute, and every directory
//! above it belongs to root and nobody else may rename in it. Otherwise the server's user could put a link to
//! another file there.
//!
//! ```no_run
//! use postier_host::{files::ReadFiles, identity::Identity, privileged::PrivilegedReader};
//! // As root, with one thread:
//! let key = std::path::PathBuf::from("/etc/ssl/private/mail.key");
//! let reader = PrivilegedReader::start(vec![key.clone()])?;
//! Identity::lookup("postier")?.expect("the package made it").assume()?;
//! let renewed = reader.read(&key)?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::files::{DirectFiles, FILE_BYTES_MAX, FileText, ReadFiles};
use crate::identity::{check, require_one_thread};

/// The server's side. Reads directly what it may, and asks the process for the rest.
#[derive(Debug)]
pub struct PrivilegedReader {
    paths: Vec<PathBuf>,
    socket: Mutex<UnixStream>,
}

impl PrivilegedReader {
    /// Forks the process, which will read these paths and no others.
    ///
    /// # Errors
    /// `InvalidInput` when this process has more than one thread; else those of socketpair(2) and fork(2).
    pub fn start(paths: Vec<PathBuf>) -> io::Result<Self> {
        require_one_thread()?;
        let (ours, theirs) = UnixStream::pair()?;
        // SAFETY: there is one thread, so the child's memory is whole and nobody holds a lock in it.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(ours);
                // Whatever happens, the child never returns into the server's code.
                let served = std::panic::catch_unwind(|| serve(&theirs, &paths));
                // SAFETY: ends the process without running the server's exit handlers.
                unsafe { libc::_exit(i32::from(!matches!(served, Ok(Ok(()))))) }
            }
            _ => Ok(Self { paths, socket: Mutex::new(ours) }),
        }
    }

    fn ask(&self, index: usize) -> io::Result<FileText> {
        let guard = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let mut socket = &*guard;
        let index = u32::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
        socket.write_all(&index.to_le_bytes())?;
        let [code, mode, length] = [read_u32(&mut socket)?, read_u32(&mut socket)?, read_u32(&mut socket)?];
        if code != 0 {
            return Err(io::Error::from_raw_os_error(code.cast_signed()));
        }
        if u64::from(length) > FILE_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut octets = vec![0; usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?];
        socket.read_exact(&mut octets)?;
        Ok(FileText { octets, mode })
    }
}

impl ReadFiles for PrivilegedReader {
    fn read(&self, path: &Path) -> io::Result<FileText> {
        let direct = DirectFiles.read(path);
        match (&direct, self.paths.iter().position(|known| known == path)) {
            (Err(error), Some(index)) if error.kind() == io::ErrorKind::PermissionDenied => self.ask(index),
            _ => direct,
        }
    }
}

/// The process's whole life.
fn serve(socket: &UnixStream, paths: &[PathBuf]) -> io::Result<()> {
    shed(socket)?;
    let mut socket = socket;
    loop {
        let index = match read_u32(&mut socket) {
            Ok(index) => index,
            // The server is gone.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let path = usize::try_from(index).ok().and_then(|index| paths.get(index));
        let outcome = match path {
            Some(path) => require_safe(path).and_then(|()| DirectFiles.read(path)),
            None => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        };
        let (code, mode, octets) = match outcome {
            Ok(FileText { octets, mode }) => (0, mode, octets),
            Err(error) => (error.raw_os_error().unwrap_or(libc::EIO).cast_unsigned(), 0, Vec::new()),
        };
        let length = u32::try_from(octets.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        socket.write_all(&[code, mode, length].map(u32::to_le_bytes).concat())?;
        socket.write_all(&octets)?;
    }
}

/// Gives up everything the process does not need: descriptors, terminal, signals meant for the server.
fn shed(socket: &UnixStream) -> io::Result<()> {
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let keep = socket.as_raw_fd();
    // SAFETY: system calls on numbers; the descriptors closed are used by nobody in this process.
    unsafe {
        for standard in 0..3 {
            libc::dup2(null.as_raw_fd(), standard);
        }
        for (first, last) in [(3, keep - 1), (keep + 1, libc::c_int::MAX)] {
            if first <= last {
                libc::syscall(libc::SYS_close_range, first, last, 0);
            }
        }
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGPIPE]
        {
            libc::signal(signal, libc::SIG_IGN);
        }
        check(libc::prctl(libc::PR_SET_NAME, c"postier-reader".as_ptr()))?;
        check(libc::prctl(libc::PR_SET_DUMPABLE, 0))?;
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
    }
    // Its descriptor is closed already.
    std::mem::forget(null);
    Ok(())
}

/// EACCES unless only root (or whoever this process is) decides what the path names.
fn require_safe(path: &Path) -> io::Result<()> {
    let me = rustix::process::geteuid().as_raw();
    if !path.is_absolute() {
        return Err(io::Error::from_raw_os_error(libc::EACCES));
    }
    for directory in path.ancestors().skip(1) {
        let metadata = fs::metadata(directory)?;
        let owned = metadata.uid() == 0 || metadata.uid() == me;
        // In a sticky directory such as /tmp others may add names and not rename ours.
        let closed = metadata.mode() & 0o022 == 0 || metadata.mode() & 0o1000 != 0;
        if !owned || !closed {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
    }
    Ok(())
}

fn read_u32(socket: &mut impl Read) -> io::Result<u32> {
    let mut octets = [0; 4];
    socket.read_exact(&mut octets)?;
    Ok(u32::from_le_bytes(octets))
}
