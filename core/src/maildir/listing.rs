//! What a scan of `cur/` and `new/` found: message files by base name, each once.
//!
//! A scan races with renames: a file renamed meanwhile may be missing from the listing or be there under both
//! names. So a base name that comes twice is one message (the name in `cur/` counts), and what is missing
//! proves nothing unless the listing is [`Listing::stable`].

use super::context::{At, StoreContext, StoreError, wall_ns};
use super::mailbox::{MailboxState, Stamp};
use super::name::FileName;
use crate::disk::{Disk, Handle, Kind, Name, Stat};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The coarsest usual clock of directory times ticks every 10 ms; several ticks make sure.
const TICK_NS: i64 = 50_000_000;
/// Where directory times are whole seconds (or two, on FAT).
const COARSE_TICK_NS: i64 = 2_100_000_000;
/// A directory whose time was younger than this when it was scanned may have changed since without showing
/// it.
pub(super) const YOUNG_NS: i64 = 2_000_000_000;

/// A time so far ahead is from before the clock was set back: what changes now gets another one. (The clocks of file
/// servers must not be so far ahead: Dovecot asks for one second.)
pub(super) const FUTURE_NS: i64 = 10_000_000_000;

/// Whether a directory time is so old, at a time of the same clock, that a change after that would show in it.
pub(super) fn is_old(now_ns: i64, mtime_ns: i64, age_ns: i64) -> bool {
    let age = now_ns.saturating_sub(mtime_ns);
    age >= age_ns || age < -FUTURE_NS
}

/// A message file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// Its whole name.
    pub(super) file: Box<[u8]>,
    /// Whether it lies in `new/`.
    pub(super) in_new: bool,
}

impl Entry {
    pub(super) fn base(&self) -> &[u8] {
        FileName::parse(&self.file).base()
    }
}

/// The directories of a mailbox at one time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct DirStamps {
    pub(super) cur: Stamp,
    pub(super) new: Stamp,
}

impl DirStamps {
    /// Looks at both directories.
    pub(super) async fn look(disk: &Disk, mailbox: Handle) -> Result<DirStamps, StoreError> {
        let cur = disk.stat(mailbox, b"cur").await.at(b"cur")?;
        let new = disk.stat(mailbox, b"new").await.at(b"new")?;
        Ok(DirStamps { cur: Stamp::of(&cur), new: Stamp::of(&new) })
    }
}

/// An operation of ours that changes the directories of a mailbox, so that the next look need not scan them for it.
#[derive(Debug)]
pub(super) struct OwnChange {
    before: Option<DirStamps>,
}

impl OwnChange {
    /// Before the first change.
    pub(super) async fn begin(disk: &Disk, mailbox: Handle) -> OwnChange {
        OwnChange { before: DirStamps::look(disk, mailbox).await.ok() }
    }

    /// After the last one: a directory that was as known before is as known again. If another program has changed it
    /// meanwhile, the scan that is due when its time is old enough shows it.
    pub(super) async fn end(self, disk: &Disk, mailbox: Handle, state: &mut MailboxState) {
        let Some(before) = self.before else { return };
        let Ok(after) = DirStamps::look(disk, mailbox).await else { return };
        if before.cur == state.cur_stamp {
            state.cur_stamp = after.cur;
        }
        if before.new == state.new_stamp {
            state.new_stamp = after.new;
        }
        state.own_change_at_ns = wall_ns(disk.now().await.wall);
    }
}

/// What one scan found.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// In byte order of base names, each once.
    pub(super) entries: Vec<Entry>,
    /// Pairs of names with one base, the one that counts first.
    pub(super) doubles: Vec<(Entry, Entry)>,
    /// Whether `cur/` was scanned, or `new/` alone.
    pub(super) with_cur: bool,
    /// Nothing changed while it was made: what is not here does not exist.
    pub(super) stable: bool,
    /// The directories before the scan.
    pub(super) stamps: DirStamps,
    /// When it was begun: wall clock, nanoseconds.
    pub(super) scanned_at_ns: i64,
}

impl Listing {
    /// Scans `new/`, and `cur/` if asked for.
    pub(super) async fn scan(
        disk: &Disk,
        mailbox: Handle,
        cur: Handle,
        new: Handle,
        with_cur: bool,
    ) -> Result<Listing, StoreError> {
        let scanned_at_ns = wall_ns(disk.now().await.wall);
        let stamps = DirStamps::look(disk, mailbox).await?;
        // `new/` first: a message that moves on to `cur/` meanwhile is seen twice rather than never.
        let in_new = disk.list(new).await.at(b"new")?;
        let in_cur = if with_cur { disk.list(cur).await.at(b"cur")? } else { Vec::new() };
        let unchanged = DirStamps::look(disk, mailbox).await? == stamps;
        let old = |stamp: Stamp| {
            let tick = if stamp.mtime_ns % 1_000_000_000 == 0 { COARSE_TICK_NS } else { TICK_NS };
            is_old(scanned_at_ns, stamp.mtime_ns, tick)
        };
        let stable = unchanged && old(stamps.new) && (!with_cur || old(stamps.cur));
        let (entries, doubles) = collect(in_cur, in_new);
        Ok(Listing { entries, doubles, with_cur, stable, stamps, scanned_at_ns })
    }

    /// The index of the entry with this base name.
    pub(super) fn find(&self, base: &[u8]) -> Option<usize> {
        self.entries.binary_search_by(|entry| entry.base().cmp(base)).ok()
    }
}

fn collect(in_cur: Vec<Name>, in_new: Vec<Name>) -> (Vec<Entry>, Vec<(Entry, Entry)>) {
    let entry = |in_new: bool| {
        move |name: Name| {
            let message = match name.kind {
                Kind::File | Kind::Unknown => FileName::parse(&name.name).is_message(),
                // It could not be opened, and with it in the mailbox no FETCH of all would succeed.
                Kind::Directory | Kind::Link | Kind::Other => false,
            };
            message.then_some(Entry { file: name.name, in_new })
        }
    };
    let mut entries: Vec<Entry> = in_cur
        .into_iter()
        .filter_map(entry(false))
        .chain(in_new.into_iter().filter_map(entry(true)))
        .collect();
    // Of equal bases the one in `cur/` comes first and stays.
    entries.sort_unstable_by(|a, b| a.base().cmp(b.base()).then(a.in_new.cmp(&b.in_new)));
    let mut doubles = Vec::new();
    entries.dedup_by(|later, kept| {
        let same = later.base() == kept.base();
        if same {
            doubles.push((kept.clone(), later.clone()));
        }
        same
    });
    (entries, doubles)
}

/// Gives each message one name again, under the lock. Two names of one file are what a crash left of a move,
/// and the one that does not count goes. Two files of one name are two messages after all, and the second
/// gets a name of its own. What is found otherwise by now is left to the next look.
pub(super) async fn undouble(
    disk: &Disk,
    context: &StoreContext,
    cur: Handle,
    new: Handle,
    doubles: &[(Entry, Entry)],
) {
    let dir = |entry: &Entry| if entry.in_new { new } else { cur };
    let is_same = |one: &Stat, other: &Stat| (one.inode, one.device) == (other.inode, other.device);
    for (kept, other) in doubles {
        let Ok(first) = disk.stat(dir(kept), &kept.file).await else { continue };
        let Ok(second) = disk.stat(dir(other), &other.file).await else { continue };
        let mut apart = context.unique_name(disk.now().await).base(context.host());
        apart.extend_from_slice(other.file.get(other.base().len()..).unwrap_or(&[]));
        if disk.rename(dir(other), &other.file, dir(other), &apart).await.is_err()
            || !is_same(&first, &second)
        {
            continue;
        }
        // Another program may have renamed the file from one name to the other between the two looks. Now that this
        // name is out of its reach, the file has another one, or it has not.
        let has_both = disk.stat(dir(kept), &kept.file).await.is_ok_and(|third| is_same(&third, &second));
        let _ = match has_both {
            true => disk.unlink(dir(other), &apart).await,
            false => disk.rename(dir(other), &apart, dir(other), &other.file).await,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::memdisk::{MemDisk, context};
    use super::*;
    use alloc::borrow::ToOwned;

    /// What becomes of `cur/` with these files if both names have been seen, and this happens after the first look.
    fn undoubled(mut disk: MemDisk, after_stat: Option<fn(&mut MemDisk)>) -> Vec<alloc::string::String> {
        let entry = |file: &[u8]| Entry { file: file.into(), in_new: false };
        let doubles = [(entry(b"1.a:2,S"), entry(b"1.a:2,F"))];
        disk.always = after_stat;
        disk.run(Vec::new(), |disk| async move {
            let root = disk.open_root(b"/m", false).await.unwrap();
            let cur = disk.open_dir(root, b"cur").await.unwrap();
            let new = disk.open_dir(root, b"new").await.unwrap();
            undouble(&disk, &context(), cur, new, &doubles).await;
            for handle in [new, cur, root] {
                disk.close(handle).await;
            }
        })
        .unwrap();
        disk.names("/m/cur")
    }

    #[test]
    fn a_file_that_is_renamed_while_its_two_names_are_looked_at_stays() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file("/m/cur/1.a:2,S", b"mail");
        let names = undoubled(
            disk,
            Some(|disk| {
                let looks = disk.log.iter().filter(|op| *op == "Stat").count();
                if looks == 2 && disk.names("/m/cur") == ["1.a:2,S"] {
                    disk.move_file("/m/cur/1.a:2,S", "/m/cur/1.a:2,F");
                }
            }),
        );
        assert_eq!(names, ["1.a:2,F".to_owned()]);
    }

    #[test]
    fn only_what_may_be_a_regular_file_is_a_message() {
        use Kind::{Directory, File, Link, Other, Unknown};
        let name = |(index, kind)| Name { name: alloc::format!("{index}.a:2,").into_bytes().into(), kind };
        let names = [File, Directory, Link, Other, Unknown].into_iter().enumerate().map(name).collect();
        let (entries, _) = collect(names, Vec::new());
        let files: Vec<&[u8]> = entries.iter().map(|entry| &*entry.file).collect();
        assert_eq!(files, [b"0.a:2,", b"4.a:2,"]);
    }

    #[test]
    fn two_files_of_one_name_stay_two() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file("/m/cur/1.a:2,S", b"mail");
        disk.put_file("/m/cur/1.a:2,F", b"another");
        let names = undoubled(disk, None);
        assert_eq!(names.len(), 2);
        assert!(names.contains(&"1.a:2,S".to_owned()) && !names.contains(&"1.a:2,F".to_owned()), "{names:?}");
    }

    #[test]
    fn a_time_is_old_when_its_tick_is_over_or_the_clock_was_set_back_since() {
        let (now, second) = (1_700_000_000_000_000_000, 1_000_000_000);
        let is_old_at = |mtime_ns| is_old(now, mtime_ns, YOUNG_NS);
        assert!(is_old_at(now - 2 * second) && !is_old_at(now - 2 * second + 1));
        assert!(!is_old_at(now + 10 * second), "a clock that is ahead a little");
        assert!(is_old_at(now + 10 * second + 1));
    }
}
