//! Reading the files a configuration names, by one door: directly, or through the
//! [`PrivilegedReader`](crate::privileged::PrivilegedReader) when only root may.
//!
//! ```
//! use postier_host::files::{DirectFiles, ReadFiles};
//! let missing = DirectFiles.read("/no/such/file".as_ref()).unwrap_err();
//! assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Octets of a file at most; a larger one is a mistake in the configuration.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// A file as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileText {
    /// All of it.
    pub octets: Vec<u8>,
    /// Type and permission bits, as stat(2) has them.
    pub mode: u32,
}

/// Reads whole files.
pub trait ReadFiles {
    /// The file of this path.
    ///
    /// # Errors
    /// Those of the file system; `FileTooLarge` above [`FILE_BYTES_MAX`], `InvalidInput` for what is no file.
    fn read(&self, path: &Path) -> io::Result<FileText>;
}

/// Reads with the rights of this process.
#[derive(Clone, Copy, Default, Debug)]
pub struct DirectFiles;

impl ReadFiles for DirectFiles {
    fn read(&self, path: &Path) -> io::Result<FileText> {
        // Without NONBLOCK a named pipe would block for ever.
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
        read_whole(file)
    }
}

fn read_whole(file: File) -> io::Result<FileText> {
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut octets = Vec::with_capacity(usize::try_from(metadata.len().min(FILE_BYTES_MAX)).unwrap_or(0));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(FileText { octets, mode: metadata.mode() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "text").unwrap();
        assert_eq!(DirectFiles.read(&path).unwrap().octets, b"text");
        assert_eq!(DirectFiles.read(dir.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(DirectFiles.read(Path::new("/dev/null")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(DirectFiles.read(&dir.path().join("no")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
