//! The journal: the log's lines as JSON in the state directory, whatever the log itself shows. It answers later what
//! happened to a mail.
//!
//! `journal.jsonl` grows to [`FILE_BYTES_MAX`]; then it becomes `journal.1.jsonl`, and the one before is gone. It is
//! not synced: it tells of mail, it does not hold any. A line that cannot be written is dropped, for a full disk must
//! not stop the mail that still has room; the first failure is said on the standard error.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock};

use tracing_subscriber::fmt::MakeWriter;

/// A journal file's size when the next one begins, in octets.
const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

static JOURNAL: OnceLock<Mutex<Journal>> = OnceLock::new();

/// Starts the journal of this process in its state directory.
///
/// # Errors
/// When the file cannot be opened.
pub(super) fn start(state: &Path) -> io::Result<()> {
    let journal = Journal::open(state.into(), FILE_BYTES_MAX)?;
    // A process has one server; a second start would write to the same file.
    let _ = JOURNAL.set(Mutex::new(journal));
    Ok(())
}

/// Where the log's layer writes: the journal, once there is one.
pub(super) struct ToJournal;

impl<'w> MakeWriter<'w> for ToJournal {
    type Writer = Line<'w>;

    fn make_writer(&'w self) -> Line<'w> {
        // A panic while writing ends the process; nobody meets a poisoned lock.
        Line(JOURNAL.get().and_then(|journal| journal.lock().ok()))
    }
}

/// One line on its way.
pub(super) struct Line<'w>(Option<MutexGuard<'w, Journal>>);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(journal) = &mut self.0 {
            journal.append(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Journal {
    directory: PathBuf,
    file: File,
    size: u64,
    size_max: u64,
    failed: bool,
}

impl Journal {
    fn open(directory: PathBuf, size_max: u64) -> io::Result<Self> {
        let (file, size) = open_file(&directory)?;
        Ok(Journal { directory, file, size, size_max, failed: false })
    }

    fn append(&mut self, line: &[u8]) {
        let written = self.make_room(line.len() as u64).and_then(|()| self.file.write_all(line));
        match written {
            Ok(()) => self.size += line.len() as u64,
            Err(error) if !self.failed => {
                self.failed = true;
                let place = self.directory.display();
                eprintln!("cannot write the journal in {place}: {error}; mail goes on without it");
            }
            Err(_) => {}
        }
    }

    fn make_room(&mut self, more: u64) -> io::Result<()> {
        if self.size + more <= self.size_max {
            return Ok(());
        }
        std::fs::rename(self.directory.join("journal.jsonl"), self.directory.join("journal.1.jsonl"))?;
        (self.file, self.size) = open_file(&self.directory)?;
        Ok(())
    }
}

fn open_file(directory: &Path) -> io::Result<(File, u64)> {
    let path = directory.join("journal.jsonl");
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_journal_makes_room_and_keeps_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path().into(), 10).unwrap();
        for line in [&b"first\n"[..], b"abc\n", b"second\n", b"third\n"] {
            journal.append(line);
        }
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!((read("journal.1.jsonl"), read("journal.jsonl")), ("second\n".into(), "third\n".into()));
        let again = Journal::open(directory.path().into(), 10).unwrap();
        assert_eq!(again.size, 6);
    }
}
