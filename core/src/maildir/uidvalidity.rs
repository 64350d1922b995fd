//! `dovecot-uidvalidity`: the number that the next new folder gets, so that no two lives of a folder name
//! share one.
//!
//! Two files in the root of the mail directory say it. `dovecot-uidvalidity` holds the last number given
//! away, as 8 lower-case hexadecimal digits, written in place. The empty file `dovecot-uidvalidity.<8
//! digits>` says the same in its name: renaming it to the name of the next number is how a number is taken,
//! for only one program can succeed.
//!
//! Taking one: read the number (missing: begin at the unix time and create both files); rename the companion
//! from it to [`next`]; on success write the new number into the main file. If the companion is not there,
//! somebody else was faster: try the following number, [`TRIES_MAX`] times at most, then read the companions
//! from the directory.

use super::{hex, push_hex};
use alloc::vec::Vec;

/// The name of the main file.
pub const FILE_NAME: &[u8] = b"dovecot-uidvalidity";
/// How often taking a number is tried before the directory is read.
pub const TRIES_MAX: u32 = 10;

const COMPANION_PREFIX: &[u8] = b"dovecot-uidvalidity.";

/// Reads the content of the main file; `None` if it is not 8 hexadecimal digits or says 0.
pub fn parse(content: &[u8]) -> Option<u32> {
    let value = hex(content.get(..8)?, 8)?;
    let rest = content.get(8..)?;
    let number = u32::try_from(value).ok()?;
    (number != 0 && rest.iter().all(|&byte| byte == b'\n')).then_some(number)
}

/// The content of the main file.
pub fn content(uidvalidity: u32) -> Vec<u8> {
    let mut content = Vec::with_capacity(8);
    push_hex(&mut content, u64::from(uidvalidity), 8);
    content
}

/// The name of the companion file.
///
/// ```
/// use postier_core::maildir::uidvalidity;
/// assert_eq!(uidvalidity::companion(0x4d02a7b1), b"dovecot-uidvalidity.4d02a7b1");
/// assert_eq!(uidvalidity::parse_companion(b"dovecot-uidvalidity.4d02a7b1"), Some(0x4d02a7b1));
/// ```
pub fn companion(uidvalidity: u32) -> Vec<u8> {
    let mut name = COMPANION_PREFIX.to_vec();
    push_hex(&mut name, u64::from(uidvalidity), 8);
    name
}

/// Reads the name of a directory entry; `None` if it is no companion file.
pub fn parse_companion(name: &[u8]) -> Option<u32> {
    u32::try_from(hex(name.strip_prefix(COMPANION_PREFIX)?, 8)?).ok()
}

/// The number after `uidvalidity`; 0 does not exist (RFC 9051 §2.3.1.1).
pub fn next(uidvalidity: u32) -> u32 {
    uidvalidity.checked_add(1).unwrap_or(1)
}

/// The first number of a mail directory that has none: the unix time in seconds.
pub fn first(unix_seconds: u64) -> u32 {
    (unix_seconds as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_eight_digits_are_a_number() {
        assert_eq!(parse(b"4d02a7b1"), Some(0x4d02a7b1));
        assert_eq!(parse(b"4D02A7B1\n"), Some(0x4d02a7b1));
        for bad in [&b""[..], b"4d02a7b", b"4d02a7b1x", b"00000000", b"+d02a7b1", b"\0\0\0\0\0\0\0\0"] {
            assert_eq!(parse(bad), None);
        }
        assert_eq!(parse_companion(b"dovecot-uidvalidity"), None);
        assert_eq!(parse_companion(b"dovecot-uidvalidity.4d02a7b1x"), None);
    }

    #[test]
    fn zero_is_skipped() {
        assert_eq!(next(7), 8);
        assert_eq!(next(u32::MAX), 1);
        assert_eq!(first(1 << 32), 1);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in 1u32..) {
            prop_assert_eq!(parse(&content(value)), Some(value));
            prop_assert_eq!(parse_companion(&companion(value)), Some(value));
        }
    }
}
