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

use super::context::{At, StoreError, StoreErrorKind};
use super::scope::Scope;
use super::{hex, push_hex};
use crate::disk::{Errno, Handle};
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

/// Takes a number above `above` for a new mailbox in this root, so that no other program gets it; durable on
/// return.
pub(super) async fn take(
    scope: &mut Scope,
    root: Handle,
    unix_seconds: i64,
    above: u32,
) -> Result<u32, StoreError> {
    let disk = scope.disk.clone();
    let last = match disk.read_file(root, FILE_NAME, 16).await {
        Ok((content, _)) => parse(&content),
        Err(Errno::NotFound) => None,
        Err(errno) => return Err(errno).at(FILE_NAME),
    };
    let mut last = match last {
        Some(last) => last,
        None => latest_companion(scope, root, unix_seconds).await?,
    };
    for round in 0..2 * TRIES_MAX {
        if round == TRIES_MAX {
            // Too far behind to catch up one by one.
            last = latest_companion(scope, root, unix_seconds).await?;
        }
        let taken = next(last.max(above));
        match disk.rename(root, &companion(last), root, &companion(taken)).await {
            Ok(()) => {
                record(scope, root, taken).await?;
                return Ok(taken);
            }
            // Somebody else took this one.
            Err(Errno::NotFound | Errno::Exists) => last = next(last),
            Err(errno) => return Err(errno).at(FILE_NAME),
        }
    }
    Err(StoreError::new(StoreErrorKind::Busy, FILE_NAME))
}

/// The number that the companions in the directory say; one is made if there is none.
async fn latest_companion(scope: &mut Scope, root: Handle, unix_seconds: i64) -> Result<u32, StoreError> {
    let disk = scope.disk.clone();
    let names = disk.list(root).await.at(FILE_NAME)?;
    if let Some(latest) = names.iter().filter_map(|name| parse_companion(&name.name)).max() {
        return Ok(latest);
    }
    let start = first(u64::try_from(unix_seconds).unwrap_or(0));
    match disk.create(root, &companion(start)).await {
        Ok(file) => disk.close(file).await,
        Err(Errno::Exists) => {}
        Err(errno) => return Err(errno).at(FILE_NAME),
    }
    Ok(start)
}

/// Writes the main file, and makes the renamed companion durable.
async fn record(scope: &mut Scope, root: Handle, taken: u32) -> Result<(), StoreError> {
    let disk = scope.disk.clone();
    match disk.overwrite(root, FILE_NAME, &content(taken)).await {
        Ok(()) => {}
        Err(Errno::NotFound) => {
            let created = disk.create(root, FILE_NAME).await;
            // Another program may make it at the same time; its companion then says what is true.
            if let Ok(file) = created {
                let file = scope.hold(file);
                disk.write(file, content(taken)).await.at(FILE_NAME)?;
                scope.close(file).await;
            } else if created != Err(Errno::Exists) {
                created.at(FILE_NAME)?;
            }
        }
        Err(errno) => return Err(errno).at(FILE_NAME),
    }
    disk.sync_dir(root).await.at(FILE_NAME)
}

#[cfg(test)]
mod tests {
    use super::super::context::StoreError;
    use super::super::memdisk::{MemDisk, root};
    use super::*;
    use proptest::prelude::*;

    fn take_on(disk: &mut MemDisk, above: u32) -> Option<Result<u32, StoreError>> {
        disk.run(Vec::new(), move |disk| async move {
            let mut scope = Scope::new(disk);
            let result = match scope.open_root(&root()).await {
                Ok(root) => take(&mut scope, root, 1_700_000_000, above).await,
                Err(error) => Err(error),
            };
            scope.finish().await;
            result
        })
    }

    #[test]
    fn numbers_grow_and_both_files_say_so() {
        let mut disk = MemDisk::with_maildir();
        assert_eq!(take_on(&mut disk, 0), Some(Ok(1_700_000_001)));
        assert_eq!(take_on(&mut disk, 0), Some(Ok(1_700_000_002)));
        assert_eq!(take_on(&mut disk, 1_800_000_000), Some(Ok(1_800_000_001)));
        assert_eq!(disk.read("/m/dovecot-uidvalidity"), Some(content(1_800_000_001)));
        let companions = disk.names("/m").into_iter().filter(|name| name.starts_with("dovecot-uidvalidity."));
        assert_eq!(companions.collect::<Vec<_>>(), ["dovecot-uidvalidity.6b49d201"]);
    }

    #[test]
    fn a_main_file_that_lags_behind_is_caught_up_with() {
        for behind in [3, 30] {
            let mut disk = MemDisk::with_maildir();
            disk.put_file("/m/dovecot-uidvalidity", &content(100));
            disk.put_file(&alloc::format!("/m/dovecot-uidvalidity.{:08x}", 100 + behind), b"");
            assert_eq!(take_on(&mut disk, 0), Some(Ok(101 + behind)));
        }
    }

    #[test]
    fn no_number_is_given_twice_whenever_the_power_goes() {
        for at in 0..12 {
            let mut disk = MemDisk::with_maildir();
            take_on(&mut disk, 0);
            let second = take_on(&mut disk, 0).unwrap().unwrap();
            disk.crash_at = Some(at);
            let third = take_on(&mut disk, 0);
            disk.restart();
            let after = take_on(&mut disk, 0).unwrap().unwrap();
            assert!(after > second && third.is_none_or(|third| third.unwrap() < after));
        }
    }

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
