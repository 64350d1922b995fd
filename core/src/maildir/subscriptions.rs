//! `subscriptions`: the mailboxes that a user has subscribed to, in both versions that are found on disk.
//!
//! Version 1 has one stored name on each line. Version 2 begins with the line `V<TAB>2` and an empty line;
//! then each line holds one name with a TAB between its levels. A file keeps its version; a new file is
//! version 2. Lines that are no names of ours (another namespace's, say) are kept as they are.
//!
//! The file is replaced whole: the new content is written to `subscriptions.lock`, created exclusively, which
//! is then renamed over it. A subscription does not end when its mailbox is deleted (RFC 9051 §6.3.9).

use super::folder::{DELIMITER, FolderName};
use alloc::vec::Vec;

/// The name of the file.
pub const FILE_NAME: &[u8] = b"subscriptions";
/// The name of the lock file, which becomes the new file.
pub const LOCK_NAME: &[u8] = b"subscriptions.lock";
/// How long to wait for the lock of somebody else, in seconds.
pub const LOCK_WAIT_SECONDS: u64 = 120;
/// After how many seconds without a change a lock of somebody else is stale.
pub const LOCK_STALE_SECONDS: u64 = 30;
/// The most lines that a file may have; what is beyond is not read, and such a file is not changed.
pub const LINES_MAX: usize = 100_000;

const HEADER_V2: &[u8] = b"V\t2\n\n";

/// The two formats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    V1,
    V2,
}

/// The file cannot be understood, so it must not be rewritten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// A header of a version above 2.
    Version,
    /// More than [`LINES_MAX`] lines.
    Long,
}

/// A user's subscriptions.
///
/// ```
/// use postier_core::maildir::folder::FolderName;
/// use postier_core::maildir::subscriptions::Subscriptions;
/// let mut subscriptions = Subscriptions::parse(b"V\t2\n\nSent\n").unwrap();
/// assert!(subscriptions.subscribe(&FolderName::new(b"Archive.2024").unwrap()));
/// let mut file = Vec::new();
/// subscriptions.push(&mut file);
/// assert_eq!(file, b"V\t2\n\nSent\nArchive\t2024\n");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscriptions {
    version: Version,
    /// The lines as they stand in the file, in its order.
    lines: Vec<Vec<u8>>,
}

impl Default for Subscriptions {
    /// No subscription, in the format of a new file.
    fn default() -> Subscriptions {
        Subscriptions { version: Version::V2, lines: Vec::new() }
    }
}

impl Subscriptions {
    /// Reads the file. An empty one is a new one.
    ///
    /// # Errors
    /// [`Unreadable`]: answer as if nothing were subscribed, but do not write.
    pub fn parse(file: &[u8]) -> Result<Subscriptions, Unreadable> {
        if file.is_empty() {
            return Ok(Subscriptions::default());
        }
        let mut lines = file.split(|&byte| byte == b'\n');
        let version = if file.starts_with(b"V\t2\n") {
            // Header lines go on to the first empty line; only the version is known.
            lines.by_ref().find(|line| line.is_empty());
            Version::V2
        } else if file.starts_with(b"V\t") {
            return Err(Unreadable::Version);
        } else {
            Version::V1
        };
        let lines: Vec<Vec<u8>> =
            lines.filter(|line| !line.is_empty()).take(LINES_MAX + 1).map(<[u8]>::to_vec).collect();
        if lines.len() > LINES_MAX {
            return Err(Unreadable::Long);
        }
        Ok(Subscriptions { version, lines })
    }

    /// Appends the whole file.
    pub fn push(&self, out: &mut Vec<u8>) {
        match self.version {
            Version::V1 => {}
            Version::V2 => out.extend_from_slice(HEADER_V2),
        }
        for line in &self.lines {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }

    /// The subscribed mailboxes that have a name of ours, in file order; one may come twice.
    pub fn names(&self) -> impl Iterator<Item = FolderName> {
        self.lines.iter().filter_map(|line| self.name(line))
    }

    /// Whether a mailbox is subscribed. Asks for every line: for many questions make a set of
    /// [`Subscriptions::names`].
    pub fn contains(&self, name: &FolderName) -> bool {
        self.names().any(|subscribed| subscribed == *name)
    }

    /// Subscribes to a mailbox; false if it was already.
    pub fn subscribe(&mut self, name: &FolderName) -> bool {
        if self.contains(name) {
            return false;
        }
        let mut line = name.as_bytes().to_vec();
        match self.version {
            Version::V1 => {}
            Version::V2 => line.iter_mut().filter(|byte| **byte == DELIMITER).for_each(|byte| *byte = b'\t'),
        }
        self.lines.push(line);
        true
    }

    /// Ends a subscription; false if there was none.
    pub fn unsubscribe(&mut self, name: &FolderName) -> bool {
        let before = self.lines.len();
        let version = self.version;
        self.lines.retain(|line| parse_line(version, line).as_ref() != Some(name));
        self.lines.len() != before
    }

    fn name(&self, line: &[u8]) -> Option<FolderName> {
        parse_line(self.version, line)
    }
}

fn parse_line(version: Version, line: &[u8]) -> Option<FolderName> {
    match version {
        Version::V1 => FolderName::new(line).ok(),
        Version::V2 => {
            // The characters that a level escapes with 0x01 are all control characters, which no name of ours
            // has; and a dot within a level is a name that this layout cannot store.
            if line.contains(&DELIMITER) {
                return None;
            }
            let stored: Vec<u8> =
                line.iter().map(|&byte| if byte == b'\t' { DELIMITER } else { byte }).collect();
            FolderName::new(&stored).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(stored: &str) -> FolderName {
        FolderName::new(stored.as_bytes()).unwrap()
    }

    fn written(subscriptions: &Subscriptions) -> Vec<u8> {
        let mut file = Vec::new();
        subscriptions.push(&mut file);
        file
    }

    #[test]
    fn a_version_1_file_stays_one() {
        let mut subscriptions = Subscriptions::parse(b"inbox\na.b\n../bad\n").unwrap();
        assert_eq!(subscriptions.names().collect::<Vec<_>>(), [FolderName::inbox(), name("a.b")]);
        assert!(subscriptions.subscribe(&name("c.d")));
        assert!(!subscriptions.subscribe(&FolderName::inbox()));
        assert_eq!(written(&subscriptions), b"inbox\na.b\n../bad\nc.d\n");
    }

    #[test]
    fn version_2_separates_levels_by_tabs() {
        let file = b"V\t2\n\nINBOX\na\tb\nx\x01ty\na.b\n";
        let mut subscriptions = Subscriptions::parse(file).unwrap();
        assert_eq!(subscriptions.names().collect::<Vec<_>>(), [FolderName::inbox(), name("a.b")]);
        assert_eq!(written(&subscriptions), file);
        assert!(subscriptions.unsubscribe(&name("a.b")));
        assert!(!subscriptions.unsubscribe(&name("a.b")));
        assert_eq!(written(&subscriptions), b"V\t2\n\nINBOX\nx\x01ty\na.b\n");
    }

    #[test]
    fn a_new_file_is_version_2_and_a_later_version_is_left_alone() {
        assert_eq!(written(&Subscriptions::parse(b"").unwrap()), b"V\t2\n\n");
        assert_eq!(Subscriptions::parse(b"V\t3\n\na\n"), Err(Unreadable::Version));
        assert_eq!(Subscriptions::parse(&b"a\n".repeat(LINES_MAX + 1)), Err(Unreadable::Long));
        assert!(Subscriptions::parse(&b"a\n".repeat(LINES_MAX)).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(names in proptest::collection::vec("[a-z]{1,3}(\\.[a-z]{1,3}){0,2}", 0..20), old: bool) {
            let start: &[u8] = if old { b"first\n" } else { b"" };
            let mut subscriptions = Subscriptions::parse(start).unwrap();
            for stored in &names {
                subscriptions.subscribe(&name(stored));
            }
            let again = Subscriptions::parse(&written(&subscriptions)).unwrap();
            prop_assert_eq!(&again, &subscriptions);
            prop_assert!(names.iter().all(|stored| again.contains(&name(stored))));
        }
    }
}
