//! How much mail a user has, for whoever enforces a limit: read from `maildirsize`, or counted.
//!
//! The file is believed if its limits are ours, its lines are few, and what it says leaves room. Otherwise all mailboxes
//! are listed, which costs no look into a file whose name tells its size, and the file is written anew. So it is with
//! Dovecot's quota driver of that name, and both may use the same file.
//!
//! Other programs may add their line between the count and the new file; what is lost then is found by the next count.

use super::context::{At, Root, StoreContext, StoreError, StoreErrorKind};
use super::folder::FolderName;
use super::folders::existing_folders;
use super::listing::Listing;
use super::maildirsize::NAME;
use super::name::FileName;
use super::place::Place;
use super::scope::Scope;
use crate::disk::{Disk, Errno, Handle};
use crate::site::{Quota, Usage};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A longer file is counted anew, as Maildir++ has it.
const FILE_BYTES_MAX: usize = 5120;

/// What this user has. If `quota` would not admit `more` by what the file says, it is counted anew before that is said.
///
/// # Errors
/// What the disk says. A user without a Maildir has nothing.
pub async fn usage(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
    quota: Quota,
    more: Usage,
) -> Result<Usage, StoreError> {
    let mut scope = Scope::new(disk);
    let result = usage_in(&mut scope, &context, &root, quota, more).await;
    scope.finish().await;
    result
}

async fn usage_in(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    quota: Quota,
    more: Usage,
) -> Result<Usage, StoreError> {
    match scope.open_root(root).await {
        Err(error) if error.kind == StoreErrorKind::NotFound => Ok(Usage::default()),
        top => usage_at(scope, context, root, top?, quota, more).await,
    }
}

/// The same within another operation, which has the root open.
pub(super) async fn usage_at(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    top: Handle,
    quota: Quota,
    more: Usage,
) -> Result<Usage, StoreError> {
    let said = match scope.disk.read_file(top, NAME, FILE_BYTES_MAX + 1).await {
        Ok((file, _)) => parse(&file, quota),
        // It is not there, or something else is.
        Err(_) => None,
    };
    match said {
        Some(said) if said.fresh || quota.admits(said.usage, more) => Ok(said.usage),
        Some(_) | None => {
            let usage = count(scope, context, root, top).await?;
            write(scope, context, top, quota, usage).await;
            Ok(usage)
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Said {
    usage: Usage,
    /// Nothing has changed since it was counted.
    fresh: bool,
}

/// What the file says; `None` if it is damaged, too long, or about other limits.
fn parse(file: &[u8], quota: Quota) -> Option<Said> {
    if file.len() > FILE_BYTES_MAX {
        return None;
    }
    let text = core::str::from_utf8(file).ok()?;
    let (limits, rest) = text.split_once('\n')?;
    let whole = rest.strip_suffix('\n')?;
    if limits != header(quota) {
        return None;
    }
    let (mut bytes, mut messages, mut lines) = (0_i64, 0_i64, 0);
    for line in whole.split('\n') {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse::<i64>().ok());
        bytes = bytes.checked_add(numbers.next()??)?;
        messages = messages.checked_add(numbers.next()??)?;
        lines += 1;
    }
    let usage = Usage { bytes: bytes.try_into().ok()?, messages: messages.try_into().ok()? };
    Some(Said { usage, fresh: lines == 1 })
}

/// The first line without its end.
fn header(quota: Quota) -> String {
    match (quota.bytes, quota.messages) {
        (Some(bytes), Some(messages)) => format!("{bytes}S,{messages}C"),
        (Some(bytes), None) => format!("{bytes}S"),
        (None, Some(messages)) => format!("{messages}C"),
        (None, None) => String::new(),
    }
}

async fn count(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    top: Handle,
) -> Result<Usage, StoreError> {
    let mut usage = Usage::default();
    for folder in existing_folders(scope, top).await?.into_keys() {
        let mut inner = Scope::new(scope.disk.clone());
        let counted = count_mailbox(&mut inner, context, root, &folder).await;
        inner.finish().await;
        match counted {
            Ok(counted) => usage = usage.plus(counted),
            // Somebody has deleted it meanwhile.
            Err(error) if error.kind == StoreErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(usage)
}

async fn count_mailbox(
    scope: &mut Scope,
    context: &StoreContext,
    root: &Root,
    folder: &FolderName,
) -> Result<Usage, StoreError> {
    let mut place = Place::open(scope, context, root, folder).await?;
    let (cur, new) = (place.cur_dir(scope).await?, place.new_dir(scope).await?);
    let disk = scope.disk.clone();
    let listing = Listing::scan(&disk, place.mailbox, cur, new, true).await?;
    let mut usage = Usage::default();
    for entry in &listing.entries {
        let bytes = match FileName::parse(&entry.file).size() {
            Some(bytes) => bytes,
            None => match disk.stat(if entry.in_new { new } else { cur }, &entry.file).await {
                Ok(stat) => stat.size,
                // Renamed or removed since; whoever did it adds a line.
                Err(Errno::NotFound) => continue,
                Err(errno) => return Err(errno).at(&entry.file),
            },
        };
        usage = usage.plus(Usage { bytes, messages: 1 });
    }
    Ok(usage)
}

/// A file that cannot be written is counted again next time. It is not synced: a damaged one is counted, too.
async fn write(scope: &Scope, context: &StoreContext, top: Handle, quota: Quota, usage: Usage) {
    let disk = &scope.disk;
    let text: Vec<u8> = format!("{}\n{} {}\n", header(quota), usage.bytes, usage.messages).into_bytes();
    let unique = context.unique_name(disk.now().await).base(context.host());
    let temporary = [NAME, b".", &unique].concat();
    let Ok(file) = disk.create(top, &temporary).await else { return };
    let written = disk.write(file, text).await;
    disk.close(file).await;
    if written.is_err() || disk.replace(top, &temporary, NAME).await.is_err() {
        let _ = disk.unlink(top, &temporary).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::memdisk::{MemDisk, context, root};
    use super::*;

    const QUOTA: Quota = Quota { bytes: Some(1000), messages: Some(10) };

    fn usage_on(disk: &mut MemDisk, more: u64) -> Usage {
        let more = Usage { bytes: more, messages: 1 };
        let context = Arc::new(context());
        disk.run(Vec::new(), move |disk| usage(disk, context, root(), QUOTA, more)).unwrap().unwrap()
    }

    fn disk() -> MemDisk {
        let mut disk = MemDisk::with_maildir();
        disk.put_file("/m/cur/1.a,S=100,W=103:2,S", b"x");
        disk.put_file("/m/new/2.b", b"four");
        disk.put_dir("/m/.Sent");
        for part in ["cur", "new", "tmp"] {
            disk.put_dir(&format!("/m/.Sent/{part}"));
        }
        disk.put_file("/m/.Sent/cur/3.c,S=50:2,", b"x");
        disk.put_file("/m/.Sent/tmp/4.d,S=999", b"x");
        disk
    }

    #[test]
    fn what_is_not_known_is_counted_and_kept() {
        let counted = Usage { bytes: 154, messages: 3 };
        let mut disk = disk();
        assert_eq!(usage_on(&mut disk, 1), counted);
        assert_eq!(disk.read("/m/maildirsize").unwrap(), b"1000S,10C\n154 3\n");
        let names = disk.names("/m");
        assert!(!names.iter().any(|name| name.starts_with("maildirsize.")), "{names:?}");
        // It is believed, lines of others included.
        disk.put_file("/m/maildirsize", b"1000S,10C\n154 3\n200 1\n-4 -1\n");
        assert_eq!(usage_on(&mut disk, 1), Usage { bytes: 350, messages: 3 });
        // No room by what it says: that is looked at again before it is believed.
        assert_eq!(usage_on(&mut disk, 700), counted);
        let full = b"1000S,10C\n990 9\n";
        disk.put_file("/m/maildirsize", full);
        assert_eq!(usage_on(&mut disk, 700), Usage { bytes: 990, messages: 9 });
        assert_eq!(disk.open_handles(), 0);
    }

    #[test]
    fn a_damaged_file_is_counted_anew() {
        let long = [&b"1000S,10C\n"[..], &b"0 0\n".repeat(2000)].concat();
        let damaged: [&[u8]; 9] = [
            b"",
            b"1000S,10C\n",
            b"1000S,10C\n5 1",
            b"999S,10C\n5 1\n",
            b"1000S,10C\n5\n",
            b"1000S,10C\n-5 1\n",
            b"1000S,10C\n9223372036854775807 1\n1 1\n",
            b"\0\0\0\0\0\0\0",
            &long,
        ];
        for damaged in damaged {
            let mut disk = disk();
            disk.put_file("/m/maildirsize", damaged);
            assert_eq!(usage_on(&mut disk, 1).bytes, 154, "{:?}", damaged.escape_ascii());
        }
    }

    #[test]
    fn nobody_has_nothing() {
        assert_eq!(usage_on(&mut MemDisk::empty(), 1), Usage::default());
    }
}
