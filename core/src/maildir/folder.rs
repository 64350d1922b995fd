//! Names of mailboxes: as clients say them, as they are stored, as directories.
//!
//! In Maildir++ the root of the mail directory is INBOX, and every other mailbox is a directory in it whose
//! name is a dot and the mailbox name, its levels separated by dots: `Archive.2024` is `.Archive.2024`. A
//! parent need not exist.
//!
//! [`FolderName`] is such a stored name, and only a safe one: whatever it came from, joining its directory
//! name to a root stays inside that root. Names are modified UTF-7 (RFC 3501 §5.1.3, [`crate::wire::mutf7`])
//! in their one spelling.
//!
//! A client may see another hierarchy delimiter than the dot (`/`, say). Then a dot in a client's name is
//! refused, because the layout has no way to store it.

use crate::wire::mutf7;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The delimiter of stored names.
pub const DELIMITER: u8 = b'.';

/// The longest stored name, in bytes: its directory name is one longer and fits `NAME_MAX`.
pub const FOLDER_BYTES_MAX: usize = super::name::NAME_BYTES_MAX - 1;

/// The most levels of a name.
pub const LEVELS_MAX: usize = 32;

/// The stored name of a mailbox: INBOX, or levels joined by `.` in modified UTF-7.
///
/// Ordered by its levels, a parent directly before what is below it; INBOX comes first.
///
/// ```
/// use postier_core::maildir::folder::FolderName;
/// let name = FolderName::from_client(b"Archive/2024", b'/').unwrap();
/// assert_eq!(name.as_bytes(), b"Archive.2024");
/// assert_eq!(name.directory(), b".Archive.2024");
/// assert_eq!(name.to_client(b'/'), b"Archive/2024");
/// assert!(FolderName::from_client(b"inbox", b'/').unwrap().is_inbox());
/// assert!(FolderName::from_client(b"../etc", b'/').is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FolderName(Vec<u8>);

/// Why a name cannot be a mailbox. The message tells the person at the client what to change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadName {
    /// Nothing at all.
    Empty,
    /// Two delimiters side by side, or one at an end.
    EmptyLevel,
    /// A character that is a delimiter on disk, but not for the client.
    Delimiter,
    /// A control character or a `/`.
    Character,
    /// Longer than [`FOLDER_BYTES_MAX`] or deeper than [`LEVELS_MAX`].
    Long,
    /// Not modified UTF-7 in its one spelling.
    Encoding,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadName::Empty => "a mailbox name cannot be empty",
            BadName::EmptyLevel => "a mailbox name has a name between any two delimiters and at both ends",
            BadName::Delimiter => "a mailbox name cannot have a dot here",
            BadName::Character => "a mailbox name cannot have a slash or a control character",
            BadName::Long => "the mailbox name is too long",
            BadName::Encoding => "the mailbox name is not modified UTF-7",
        })
    }
}

impl core::error::Error for BadName {}

impl FolderName {
    /// INBOX.
    pub fn inbox() -> FolderName {
        FolderName(b"INBOX".to_vec())
    }

    /// Reads a stored name, as `subscriptions` and the protocol between session and store have it.
    ///
    /// INBOX in any case is INBOX (RFC 9051 §5.1), also as the parent of others, as Dovecot has it.
    ///
    /// # Errors
    /// [`BadName`].
    pub fn new(stored: &[u8]) -> Result<FolderName, BadName> {
        check(stored)?;
        let mut name = stored.to_vec();
        if let Some(first) = name.split_mut(|&byte| byte == DELIMITER).next()
            && first.eq_ignore_ascii_case(b"INBOX")
        {
            first.make_ascii_uppercase();
        }
        Ok(FolderName(name))
    }

    /// Reads a name as a client says it, in modified UTF-7, its levels separated by `delimiter` (an ASCII
    /// character, usually `.` or `/`).
    ///
    /// # Errors
    /// [`BadName`].
    pub fn from_client(name: &[u8], delimiter: u8) -> Result<FolderName, BadName> {
        if delimiter == DELIMITER {
            return FolderName::new(name);
        }
        if name.contains(&DELIMITER) {
            return Err(BadName::Delimiter);
        }
        let stored: Vec<u8> =
            name.iter().map(|&byte| if byte == delimiter { DELIMITER } else { byte }).collect();
        FolderName::new(&stored)
    }

    /// Reads the name of a directory in the root; `None` if it is no mailbox (`.`, `..DOVECOT-TRASHED`,
    /// `.bad/name`, a name that is not modified UTF-7). Whether there is a Maildir inside is for the caller
    /// to see.
    pub fn from_directory(entry: &[u8]) -> Option<FolderName> {
        let stored = entry.strip_prefix(b".")?;
        // `.INBOX` is not INBOX, nor `.inbox.x` the mailbox of that name: nobody could tell the two apart.
        FolderName::new(stored).ok().filter(|name| !name.is_inbox() && name.as_bytes() == stored)
    }

    /// Whether this is INBOX.
    pub fn is_inbox(&self) -> bool {
        self.0 == b"INBOX"
    }

    /// The stored name, in modified UTF-7: printable ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as a client sees it, in modified UTF-7.
    pub fn to_client(&self, delimiter: u8) -> Vec<u8> {
        self.0.iter().map(|&byte| if byte == DELIMITER { delimiter } else { byte }).collect()
    }

    /// The name as a client with UTF8=ACCEPT sees it.
    pub fn to_utf8(&self, delimiter: char) -> String {
        let mut out = String::with_capacity(self.0.len());
        for (at, level) in self.levels().enumerate() {
            if at > 0 {
                out.push(delimiter);
            }
            // A level holds whole encoded parts, because no encoded part has a dot; `check` has decoded the
            // name.
            out.push_str(&mutf7::decode(level).unwrap_or_default());
        }
        out
    }

    /// The directory of the mailbox in the root: empty for INBOX, which is the root itself.
    pub fn directory(&self) -> Vec<u8> {
        if self.is_inbox() {
            return Vec::new();
        }
        let mut directory = Vec::with_capacity(self.0.len() + 1);
        directory.push(DELIMITER);
        directory.extend_from_slice(&self.0);
        directory
    }

    /// The levels of the name, outermost first.
    pub fn levels(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == DELIMITER)
    }

    /// The mailbox one level up, whether it exists or not; `None` at the outermost level.
    pub fn parent(&self) -> Option<FolderName> {
        let end = memchr::memrchr(DELIMITER, &self.0)?;
        // `INBOX.x` is a folder beside INBOX on disk; for clients INBOX is its parent.
        Some(FolderName(self.0.get(..end)?.to_vec()))
    }

    /// Whether this mailbox is somewhere below `other`.
    pub fn is_below(&self, other: &FolderName) -> bool {
        self.0.strip_prefix(other.as_bytes()).is_some_and(|rest| rest.first() == Some(&DELIMITER))
    }

    /// The name this mailbox gets when `from`, itself or a mailbox above it, is renamed to `to`; `None` if it
    /// is not concerned.
    ///
    /// # Errors
    /// [`BadName::Long`] if the new name is too long.
    pub fn renamed(&self, from: &FolderName, to: &FolderName) -> Option<Result<FolderName, BadName>> {
        if self != from && !self.is_below(from) {
            return None;
        }
        let rest = self.0.get(from.0.len()..)?;
        let mut stored = to.0.clone();
        stored.extend_from_slice(rest);
        Some(FolderName::new(&stored))
    }
}

/// All rules for stored names except that of INBOX.
fn check(stored: &[u8]) -> Result<(), BadName> {
    if stored.is_empty() {
        return Err(BadName::Empty);
    }
    if stored.len() > FOLDER_BYTES_MAX {
        return Err(BadName::Long);
    }
    let mut levels = 0;
    for level in stored.split(|&byte| byte == DELIMITER) {
        // This also rules out `..` in every place.
        if level.is_empty() {
            return Err(BadName::EmptyLevel);
        }
        levels += 1;
    }
    if levels > LEVELS_MAX {
        return Err(BadName::Long);
    }
    if stored.iter().any(|&byte| byte < b' ' || byte == 0x7f || byte == b'/') {
        return Err(BadName::Character);
    }
    let name = mutf7::decode(stored).map_err(|_| BadName::Encoding)?;
    if name.chars().any(char::is_control) {
        return Err(BadName::Character);
    }
    Ok(())
}

impl Ord for FolderName {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        other.is_inbox().cmp(&self.is_inbox()).then_with(|| self.levels().cmp(other.levels()))
    }
}

impl PartialOrd for FolderName {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FolderName({:?})", String::from_utf8_lossy(&self.0))
    }
}

/// What a mailbox is for (RFC 6154): given to it ([`metadata`](super::metadata)), or told by its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SpecialUse {
    /// `\Drafts`.
    Drafts,
    /// `\Sent`.
    Sent,
    /// `\Junk`.
    Junk,
    /// `\Trash`.
    Trash,
    /// `\Archive`.
    Archive,
}

impl SpecialUse {
    /// All uses, in the order in which a new account gets their mailboxes.
    pub const ALL: [SpecialUse; 5] =
        [SpecialUse::Drafts, SpecialUse::Sent, SpecialUse::Junk, SpecialUse::Trash, SpecialUse::Archive];

    /// The use of a mailbox with this name, whatever its case; only outermost mailboxes have one.
    pub fn of(name: &FolderName) -> Option<SpecialUse> {
        let named = |usage: &SpecialUse| name.as_bytes().eq_ignore_ascii_case(usage.name().as_bytes());
        SpecialUse::ALL.into_iter().find(named)
    }

    /// The name of the mailbox that a new account gets for this use.
    pub fn name(self) -> &'static str {
        match self {
            SpecialUse::Drafts => "Drafts",
            SpecialUse::Sent => "Sent",
            SpecialUse::Junk => "Junk",
            SpecialUse::Trash => "Trash",
            SpecialUse::Archive => "Archive",
        }
    }

    /// The mailbox that a new account gets for this use.
    pub fn folder(self) -> FolderName {
        FolderName(self.name().as_bytes().to_vec())
    }

    /// The use of an attribute, in any case.
    pub fn of_attribute(attribute: &[u8]) -> Option<SpecialUse> {
        let same = |usage: &SpecialUse| attribute.eq_ignore_ascii_case(usage.attribute().as_bytes());
        SpecialUse::ALL.into_iter().find(same)
    }

    /// The attribute in LIST (RFC 6154 §2).
    pub fn attribute(self) -> &'static str {
        match self {
            SpecialUse::Drafts => "\\Drafts",
            SpecialUse::Sent => "\\Sent",
            SpecialUse::Junk => "\\Junk",
            SpecialUse::Trash => "\\Trash",
            SpecialUse::Archive => "\\Archive",
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

    #[test]
    fn unsafe_names_are_refused() {
        for (bad, why) in [
            (&b""[..], BadName::Empty),
            (b".", BadName::EmptyLevel),
            (b"..", BadName::EmptyLevel),
            (b"a..b", BadName::EmptyLevel),
            (b".a", BadName::EmptyLevel),
            (b"a.", BadName::EmptyLevel),
            (b"a/b", BadName::Character),
            (b"/etc", BadName::Character),
            (b"a\0b", BadName::Character),
            (b"a\nb", BadName::Character),
            (b"a\x7f", BadName::Character),
            (b"caf\xc3\xa9", BadName::Encoding),
            (b"a&b", BadName::Encoding),
            (b"&AC8-", BadName::Encoding),
            (b"&AIU-", BadName::Character),
            (&[b'a'; 255], BadName::Long),
            (&[b"a.".repeat(32), b"a".to_vec()].concat(), BadName::Long),
        ] {
            assert_eq!(FolderName::new(bad), Err(why), "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(FolderName::from_client(b"a.b", b'/'), Err(BadName::Delimiter));
        assert_eq!(FolderName::from_client(b"a/", b'/'), Err(BadName::EmptyLevel));
        assert!(FolderName::new(&[b'a'; 254]).is_ok());
    }

    #[test]
    fn names_and_directories() {
        assert_eq!(name("Sent").directory(), b".Sent");
        assert_eq!(FolderName::inbox().directory(), b"");
        assert_eq!(FolderName::from_directory(b".Archive.2024"), Some(name("Archive.2024")));
        for entry in [&b"."[..], b"..", b"..DOVECOT-TRASHED", b"cur", b".inbox", b".caf\xc3\xa9", b".a."] {
            assert_eq!(FolderName::from_directory(entry), None);
        }
    }

    #[test]
    fn inbox_is_one_mailbox_in_any_case() {
        assert_eq!(FolderName::from_client(b"iNbOx", b'/'), Ok(FolderName::inbox()));
        assert!(!name("inbox.x").is_inbox());
        assert_eq!(name("inbox.x.Inbox"), name("INBOX.x.Inbox"));
        assert_eq!(name("inbox.x").directory(), b".INBOX.x");
        assert_eq!(name("x.inbox").as_bytes(), b"x.inbox");
        assert_eq!(name("inboxes").as_bytes(), b"inboxes");
        assert_eq!(FolderName::from_directory(b".inbox.x"), None, "it could not be opened under that name");
    }

    #[test]
    fn utf_8_names() {
        assert_eq!(name("&AMk-l.Envoy&AOk-s &- b").to_utf8('/'), "Él/Envoyés & b");
    }

    #[test]
    fn families() {
        let (archive, old) = (name("Archive"), name("Archive.Old.2024"));
        assert_eq!(old.parent(), Some(name("Archive.Old")));
        assert_eq!(archive.parent(), None);
        assert!(
            old.is_below(&archive) && !archive.is_below(&archive) && !name("Archive2").is_below(&archive)
        );
        assert_eq!(old.renamed(&archive, &name("Attic.A")), Some(Ok(name("Attic.A.Old.2024"))));
        assert_eq!(archive.renamed(&archive, &name("Attic")), Some(Ok(name("Attic"))));
        assert_eq!(name("Archive2").renamed(&archive, &name("Attic")), None);
        let long = FolderName::new(&[b'a'; 250]).unwrap();
        assert_eq!(old.renamed(&archive, &long), Some(Err(BadName::Long)));
    }

    #[test]
    fn parents_come_directly_before_what_is_below() {
        let sorted = [FolderName::inbox(), name("A"), name("A.b"), name("A b"), name("A-b"), name("B")];
        let mut mixed = sorted.clone();
        mixed.reverse();
        mixed.sort();
        assert_eq!(mixed, sorted);
    }

    #[test]
    fn special_use_is_told_by_name() {
        assert_eq!(SpecialUse::of(&name("sent")), Some(SpecialUse::Sent));
        assert_eq!(SpecialUse::of(&name("a.Sent")), None);
        for usage in SpecialUse::ALL {
            assert_eq!(SpecialUse::of(&usage.folder()), Some(usage));
        }
    }

    proptest! {
        #[test]
        fn a_safe_name_goes_all_the_ways(levels in proptest::collection::vec("[^./\\p{Cc}]{1,6}", 1..5)) {
            let encoded: Vec<Vec<u8>> = levels.iter().map(|level| mutf7::encode(level).into_bytes()).collect();
            let client = encoded.join(&b'/');
            prop_assume!(client.len() <= FOLDER_BYTES_MAX);
            let name = FolderName::from_client(&client, b'/').unwrap();
            prop_assert_eq!(name.to_utf8('/').eq_ignore_ascii_case("inbox"), name.is_inbox());
            if !name.is_inbox() {
                prop_assert_eq!(name.to_client(b'/'), client);
                prop_assert_eq!(name.to_utf8('/'), levels.join("/"));
                prop_assert_eq!(FolderName::from_directory(&name.directory()), Some(name.clone()));
            }
            prop_assert_eq!(FolderName::new(name.as_bytes()), Ok(name.clone()));
        }

        #[test]
        fn no_name_leaves_the_root(bytes: Vec<u8>, text in "[./a&\\-\\x00A-Z]{0,12}") {
            for client in [&bytes[..], text.as_bytes()] {
                for delimiter in [b'.', b'/'] {
                    if let Ok(name) = FolderName::from_client(client, delimiter) {
                        let directory = name.directory();
                        prop_assert!(!directory.contains(&b'/') && !directory.contains(&0));
                        prop_assert!(directory.is_empty() || directory.len() > 1 && directory[1] != b'.');
                    }
                }
            }
        }
    }
}
