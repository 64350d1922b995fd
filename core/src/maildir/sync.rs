//! Opening a mailbox and looking what has changed in it: SELECT, EXAMINE, STATUS, NOOP, and every notice from
//! the file system.
//!
//! How the state is brought up to date is told in `settle.rs`. Here `new/` is emptied on top of that, for the
//! session that selected the mailbox: each file moves to `cur/` with `:2,` and its flags, and is `\Recent`
//! for that session alone (RFC 3501 §2.3.2). A crash in between loses nothing: a message is found in either
//! directory under the same base name. Whether the mailbox can be written at all is asked each time it is selected: a
//! file system may have been mounted otherwise meanwhile, and a client that reads READ-ONLY does not try in vain.
//!
//! ```
//! # use std::sync::Arc;
//! # use postier_core::disk::{Op, Resume, Task, TaskInput, TaskStep};
//! # use postier_core::maildir::context::{HostFacts, Root, StoreContext};
//! # use postier_core::maildir::folder::FolderName;
//! # let facts = HostFacts { host: b"mx".to_vec(), pid: 7, ..HostFacts::default() };
//! # let context = Arc::new(StoreContext::new(facts));
//! # let root = Root::new(b"/mail/you");
//! use postier_core::maildir::sync::{SyncMode, sync};
//!
//! let mode = SyncMode { move_new: true, saved_modseq: None };
//! let mut task = Task::new(|disk| sync(disk, context, root, FolderName::inbox(), None, mode));
//! let opens = Op::OpenRoot { path: b"/mail/you".to_vec(), create: false };
//! assert!(matches!(task.resume(Resume::Start), TaskStep::Op(op) if op == opens));
//! ```

use super::context::{Root, StoreContext, StoreError, wall_ns};
use super::folder::FolderName;
use super::index_file::{self, Saved};
use super::listing::OwnChange;
use super::mailbox::{Change, MailboxState, Message};
use super::merge::named_flags;
use super::name::FileName;
use super::place::Place;
use super::scope::Scope;
use super::settle::{Absences, forget_scan, settle};
use crate::disk::{Disk, Errno, Handle};
use crate::imap::flag::FlagSet;
use crate::imap::sequence::UidSet;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

/// Files in `tmp/` untouched for this long are what somebody's crash left, in nanoseconds (36 hours).
const TMP_AGE_NS: i64 = 36 * 3600 * 1_000_000_000;
/// How many files of `tmp/` are looked at each time.
const TMP_FILES_MAX: usize = 1000;
/// After how many files the lock is shown to be in use.
pub(super) const FILES_PER_REFRESH: usize = 64;

/// What a look is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SyncMode {
    /// A session selects the mailbox and may change it: find out whether that is possible, and move what lies in `new/`
    /// to `cur/`, as that session's `\Recent` messages.
    pub move_new: bool,
    /// The index file, if it is read, is complete when it says that this is the highest mod-sequence: the same process
    /// has written it, and told nobody of a later change.
    pub saved_modseq: Option<u64>,
}

/// A mailbox as it is now.
#[derive(Clone, Debug)]
pub struct Synced {
    /// The state to go on with.
    pub state: MailboxState,
    /// How it differs from the one given; empty if none was given.
    pub changes: Vec<Change>,
    /// With `move_new`: the messages that were moved, `\Recent` for the session this look was for. Otherwise
    /// those that lie in `new/`, `\Recent` for whoever selects the mailbox next.
    pub recent: UidSet,
    /// What the index file says, if it was read.
    pub saved: Option<Saved>,
}

/// Brings a mailbox up to date. `previous` is the state that the last operation returned, if this process
/// knows the mailbox.
///
/// # Errors
/// NotFound if there is no such mailbox (a user's INBOX is made); Busy, Access or ReadOnly only if there is
/// no uidlist and none can be made. Otherwise a mailbox that cannot be written shows what has UIDs.
pub async fn sync(
    disk: Disk,
    context: Arc<StoreContext>,
    root: Root,
    folder: FolderName,
    previous: Option<MailboxState>,
    mode: SyncMode,
) -> Result<Synced, StoreError> {
    let mut scope = Scope::new(disk.clone());
    let result = match Place::open(&mut scope, &context, &root, &folder).await {
        Ok(mut place) => {
            let result = sync_place(&mut scope, &context, &mut place, previous.as_ref(), mode).await;
            place.unlock(&disk, &context).await;
            result
        }
        Err(error) => Err(error),
    };
    scope.finish().await;
    result
}

async fn sync_place(
    scope: &mut Scope,
    context: &StoreContext,
    place: &mut Place,
    previous: Option<&MailboxState>,
    mode: SyncMode,
) -> Result<Synced, StoreError> {
    // Not when the mailbox is opened: many clients ask for its STATUS before they select it.
    let purges = mode.move_new && !previous.is_some_and(|known| known.tmp_purged);
    if purges {
        purge_tmp(scope, place).await;
    }
    // Whoever looks does without the lock when somebody else has it.
    let wait = Duration::ZERO;
    let (read, saved) = match previous {
        Some(_) => (None, None),
        None => {
            index_file::load(&scope.disk.clone(), context, place.mailbox, mode.saved_modseq).await.unzip()
        }
    };
    let mut settled =
        settle(scope, context, place, previous.or(read.as_ref()), wait, Absences::Proven).await?;
    if previous.is_none() {
        settled.changes.clear();
    }
    settled.state.tmp_purged |= purges;
    if mode.move_new {
        // Where nothing was to be written nobody has tried; and what could not be written once may be writable by now.
        let refused = settled.state.read_only && !previous.is_some_and(|known| known.read_only);
        settled.state.read_only = refused || !place.is_writable(scope).await?;
    }
    let waiting: UidSet = {
        let mut waiting = UidSet::new();
        settled
            .state
            .messages
            .iter()
            .filter(|message| message.in_new)
            .for_each(|message| waiting.push(message.uid));
        waiting
    };
    let may_move = mode.move_new && !settled.state.read_only && !waiting.is_empty();
    let recent = if may_move && place.lock(&scope.disk.clone(), context, wait).await.is_ok() {
        move_new(scope, place, &mut settled.state, &waiting).await?
    } else {
        waiting
    };
    Ok(Synced { state: settled.state, changes: settled.changes, recent, saved: saved.flatten() })
}

/// Moves these messages from `new/` to `cur/`; returns those that are there now. One that cannot be moved
/// stays.
async fn move_new(
    scope: &mut Scope,
    place: &mut Place,
    state: &mut MailboxState,
    uids: &UidSet,
) -> Result<UidSet, StoreError> {
    let disk = scope.disk.clone();
    let (cur, new) = (place.cur_dir(scope).await?, place.new_dir(scope).await?);
    let named = named_flags(&state.keywords);
    let own = OwnChange::begin(&disk, place.mailbox).await;
    let mut moved = UidSet::new();
    for (count, uid) in uids.iter().enumerate() {
        if count % FILES_PER_REFRESH == FILES_PER_REFRESH - 1 {
            place.keep_lock(&disk).await;
        }
        let Some(message) = state.messages.find_mut(uid) else { continue };
        let file = renamed(message, message.flags, named);
        match disk.rename(new, &message.file, cur, &file).await {
            Ok(()) => {
                (message.file, message.in_new) = (file, false);
                moved.push(uid);
            }
            // Another program was faster; the next look tells what it did.
            Err(Errno::NotFound | Errno::Exists) => forget_scan(state),
            Err(_) => break,
        }
    }
    if !moved.is_empty() {
        // A lost move is no harm, so a failure here is none: the message would be found in `new/` again.
        let _ = disk.sync_dir(cur).await;
        own.end(&disk, place.mailbox, state).await;
    }
    Ok(moved)
}

/// The name of a message's file with other flags: letters that are not in `named` stay as they are.
pub(super) fn renamed(message: &Message, flags: FlagSet, named: FlagSet) -> Box<[u8]> {
    let name = FileName::parse(&message.file);
    let hidden = name.flags().difference(named);
    name.with_flags(hidden.union(flags.intersect(named))).into()
}

/// Removes what crashes left in `tmp/` long ago; failures are no matter.
async fn purge_tmp(scope: &mut Scope, place: &mut Place) {
    let disk = scope.disk.clone();
    let Ok(tmp) = place.tmp_dir(scope).await else { return };
    let Ok(names) = disk.list(tmp).await else { return };
    if names.is_empty() {
        return;
    }
    let now_ns = wall_ns(disk.now().await.wall);
    for name in names.iter().take(TMP_FILES_MAX) {
        purge_file(&disk, tmp, &name.name, now_ns).await;
    }
}

async fn purge_file(disk: &Disk, tmp: Handle, name: &[u8], now_ns: i64) {
    if let Ok(stat) = disk.stat(tmp, name).await
        && now_ns.saturating_sub(stat.ctime_ns) > TMP_AGE_NS
    {
        let _ = disk.unlink(tmp, name).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::StoreErrorKind;
    use super::super::memdisk::{MemDisk, context, root};
    use super::super::name::letters_of;
    use super::*;
    use std::format;
    use std::string::{String, ToString};

    const LIST: &str = "/m/dovecot-uidlist";
    const PEEK: SyncMode = SyncMode { move_new: false, saved_modseq: None };
    const SELECT: SyncMode = SyncMode { move_new: true, saved_modseq: None };

    fn run(
        disk: &mut MemDisk,
        previous: Option<&MailboxState>,
        mode: SyncMode,
    ) -> Option<Result<Synced, StoreError>> {
        let (context, previous) = (Arc::new(context()), previous.cloned());
        disk.run(Vec::new(), move |disk| sync(disk, context, root(), FolderName::inbox(), previous, mode))
    }

    fn synced(disk: &mut MemDisk, previous: Option<&MailboxState>, mode: SyncMode) -> Synced {
        run(disk, previous, mode).expect("no crash").expect("it works")
    }

    /// `uid base flags`, `new` for those in new/.
    fn shown(state: &MailboxState) -> Vec<String> {
        let letters = |flags| letters_of(flags).map(char::from).collect::<String>();
        let line = |message: &Message| {
            let place = if message.in_new { " new" } else { "" };
            format!(
                "{} {} {}{place}",
                message.uid,
                String::from_utf8_lossy(message.base()),
                letters(message.flags)
            )
        };
        state.messages.iter().map(line).collect()
    }

    fn list(records: &str) -> Vec<u8> {
        format!("3 V77 N10 G00112233445566778899aabbccddeeff\n{records}").into_bytes()
    }

    #[test]
    fn a_mailbox_without_a_list_gets_one_before_anything_is_shown() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file("/m/cur/1000.b:2,S", b"b\n");
        disk.put_file("/m/new/999.M5.z", b"z\n");
        disk.put_file("/m/new/1000.a", b"a\n");
        disk.put_file("/m/new/.hidden", b"");
        disk.advance(10_000_000);
        let first = synced(&mut disk, None, PEEK);
        assert_eq!(shown(&first.state), ["1 999.M5.z  new", "2 1000.a  new", "3 1000.b S"]);
        assert_eq!((first.recent.to_string(), first.changes.len()), ("1:2".into(), 0));
        assert!(disk.names("/m").iter().all(|name| !name.ends_with(".lock") && !name.ends_with(".tmp")));
        disk.restart();
        let again = synced(&mut disk, None, PEEK);
        assert_eq!(shown(&again.state), shown(&first.state));
        assert_eq!(again.state.uid_validity, first.state.uid_validity);
        assert_eq!(again.state.guid, first.state.guid);
    }

    #[test]
    fn a_missing_inbox_is_made_and_another_missing_mailbox_is_not() {
        let mut disk = MemDisk::empty();
        assert!(synced(&mut disk, None, SELECT).state.messages.is_empty());
        assert!(!disk.names("/m/.Sent").is_empty());
        let context = Arc::new(context());
        let folder = FolderName::new(b"Nowhere").unwrap();
        let result = disk.run(Vec::new(), move |disk| sync(disk, context, root(), folder, None, SELECT));
        assert_eq!(result.unwrap().unwrap_err().kind, StoreErrorKind::NotFound);
    }

    #[test]
    fn what_lies_in_tmp_for_36_hours_goes_when_the_mailbox_is_first_selected() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file("/m/tmp/1.old", b"half a mess");
        disk.advance(35 * 3_600_000_000);
        disk.put_file("/m/tmp/2.young", b"half a mess");
        synced(&mut disk, None, SELECT);
        assert_eq!(disk.names("/m/tmp"), ["1.old", "2.young"]);
        disk.advance(2 * 3_600_000_000);
        // STATUS opens it.
        let known = synced(&mut disk, None, PEEK).state;
        assert_eq!(disk.names("/m/tmp"), ["1.old", "2.young"]);
        let known = synced(&mut disk, Some(&known), SELECT).state;
        assert_eq!(disk.names("/m/tmp"), ["2.young"]);
        let lists = |disk: &MemDisk| disk.log.iter().filter(|op| *op == "List").count();
        disk.advance(10_000_000);
        let known = synced(&mut disk, Some(&known), PEEK).state;
        synced(&mut disk, Some(&known), SELECT);
        assert_eq!(lists(&disk), 0, "once is enough");
    }

    #[test]
    fn nothing_is_scanned_where_nothing_changed() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file("/m/cur/1.a:2,", b"");
        disk.advance(10_000_000);
        let first = synced(&mut disk, None, PEEK);
        let second = synced(&mut disk, Some(&first.state), PEEK);
        assert!(second.changes.is_empty() && !disk.log.iter().any(|op| op == "List" || op == "ReadFile"));
        // A directory that was young when it was scanned is scanned again.
        disk.put_file("/m/cur/2.b:2,", b"");
        let third = synced(&mut disk, Some(&second.state), PEEK);
        assert_eq!(third.changes, [Change::Appended(2)]);
        synced(&mut disk, Some(&third.state), PEEK);
        assert!(disk.log.iter().any(|op| op == "List"));
    }

    #[test]
    fn new_mail_does_not_make_cur_be_scanned() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file("/m/cur/1.a:2,", b"");
        disk.advance(10_000_000);
        let first = synced(&mut disk, None, PEEK);
        disk.put_file("/m/new/2.b,S=3,W=4", b"");
        let second = synced(&mut disk, Some(&first.state), PEEK);
        assert_eq!(second.changes, [Change::Appended(2)]);
        assert_eq!(disk.log.iter().filter(|op| *op == "List").count(), 1);
        assert_eq!(second.state.messages.find(2).unwrap().wire_size, Some(4));
        assert!(second.state.highest_modseq > first.state.highest_modseq);
    }

    #[test]
    fn what_other_programs_do_is_told() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file(LIST, &list("3 :1.a\n5 W9 :2.b\n7 :3.c\n8 :4.gone\n"));
        disk.put_file("/m/dovecot-keywords", b"0 $Junk\n1 two words\n");
        disk.put_file("/m/cur/1.a:2,", b"");
        disk.put_file("/m/cur/2.b:2,Sab", b"");
        disk.put_file("/m/cur/3.c:2,", b"");
        disk.advance(10_000_000);
        let first = synced(&mut disk, None, PEEK);
        assert_eq!(shown(&first.state), ["3 1.a ", "5 2.b Sa", "7 3.c "]);
        assert_eq!((first.state.uid_validity, first.state.uid_next), (77, 10));
        assert_eq!(first.state.messages.find(5).unwrap().wire_size, Some(9));
        assert_eq!(*first.state.keywords, ["$Junk"]);
        disk.move_file("/m/cur/1.a:2,", "/m/cur/1.a:2,F");
        disk.remove_file("/m/cur/3.c:2,");
        disk.put_file("/m/cur/9.x:2,", b"");
        disk.put_file("/m/dovecot-keywords", b"0 $Junk\n1 work\n");
        disk.advance(10_000_000);
        let second = synced(&mut disk, Some(&first.state), PEEK);
        let expected =
            [Change::Keywords, Change::Flags(3), Change::Flags(5), Change::Expunged(7), Change::Appended(10)];
        assert_eq!(second.changes, expected);
        assert_eq!(shown(&second.state), ["3 1.a F", "5 2.b Sab", "10 9.x "]);
    }

    #[test]
    fn uids_that_dovecot_gave_are_taken_over() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file(LIST, &list("3 :1.a\n"));
        disk.put_file("/m/cur/1.a:2,", b"");
        disk.advance(10_000_000);
        let first = synced(&mut disk, None, PEEK);
        disk.put_file(LIST, &list("3 :1.a\n12 :2.b\n"));
        disk.put_file("/m/cur/2.b:2,", b"");
        disk.advance(10_000_000);
        let second = synced(&mut disk, Some(&first.state), PEEK);
        assert_eq!((second.changes, second.state.uid_next), (Vec::from([Change::Appended(12)]), 13));
    }

    #[test]
    fn a_torn_list_is_rewritten_before_anything_is_appended() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file(LIST, &list("3 W5 :1.a\n12 :2.half"));
        disk.put_file("/m/cur/1.a:2,", b"");
        disk.put_file("/m/cur/2.halfway:2,", b"");
        disk.advance(10_000_000);
        let first = synced(&mut disk, None, PEEK);
        assert_eq!(shown(&first.state), ["3 1.a ", "10 2.halfway "]);
        let written = String::from_utf8(disk.read(LIST).unwrap()).unwrap();
        assert!(written.ends_with("\n3 W5 :1.a\n10 :2.halfway\n"), "{written}");
    }

    #[test]
    fn a_broken_list_and_one_that_goes_back_mean_a_new_uidvalidity() {
        for bad in [list("3 :1.a\n3 :2.b\n"), b"3 V77 N2 G00112233445566778899aabbccddeeff\n".to_vec()] {
            let mut disk = MemDisk::with_maildir();
            disk.put_file(LIST, &list("3 :1.a\n"));
            disk.put_file("/m/cur/1.a:2,", b"");
            disk.advance(10_000_000);
            let first = synced(&mut disk, None, PEEK);
            disk.put_file(LIST, &bad);
            let second = synced(&mut disk, Some(&first.state), PEEK);
            assert_eq!(second.changes, [Change::Reset]);
            assert!(second.state.uid_validity > 77);
            assert_eq!(shown(&second.state), ["1 1.a "]);
            assert!(second.state.highest_modseq > first.state.highest_modseq);
        }
    }

    #[test]
    fn select_moves_new_mail_and_only_one_session_is_told_it_is_recent() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file("/m/new/1.a", b"");
        disk.put_file("/m/new/2.b:2,Sx", b"");
        disk.advance(10_000_000);
        let first = synced(&mut disk, None, SELECT);
        assert_eq!(first.recent.to_string(), "1:2");
        assert_eq!(disk.names("/m/cur"), ["1.a:2,", "2.b:2,Sx"]);
        let second = synced(&mut disk, Some(&first.state), SELECT);
        assert!(second.recent.is_empty() && second.changes.is_empty());
    }

    #[test]
    fn a_file_seen_in_both_directories_is_one_message_and_loses_a_name() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file("/m/new/1.a", b"");
        disk.link_file("/m/new/1.a", "/m/cur/1.a:2,S");
        disk.advance(10_000_000);
        assert_eq!(shown(&synced(&mut disk, None, SELECT).state), ["1 1.a S"]);
        assert!(disk.names("/m/new").is_empty());
    }

    #[test]
    fn two_files_of_one_name_are_two_messages() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file("/m/new/1.a", b"one");
        disk.put_file("/m/cur/1.a:2,S", b"two");
        disk.advance(10_000_000);
        let state = synced(&mut disk, None, PEEK).state;
        assert_eq!((shown(&state).len(), shown(&state)[0].as_str()), (2, "1 1.a S"));
        assert_eq!(disk.contents("/m/new"), [b"one"]);
    }

    #[test]
    fn absence_from_one_scan_is_no_expunge() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file(LIST, &list("3 :1.a\n4 :2.b\n"));
        disk.put_file("/m/cur/1.a:2,", b"");
        disk.put_file("/m/cur/2.b:2,", b"");
        disk.advance(10_000_000);
        let first = synced(&mut disk, None, PEEK);
        disk.remove_file("/m/cur/2.b:2,");
        disk.put_file("/m/new/9.hidden", b"");
        // The file is back, under another name, before the look under the lock.
        disk.before = Some((14, |disk| disk.put_file("/m/cur/2.b:2,F", b"")));
        let second = synced(&mut disk, Some(&first.state), PEEK);
        assert_eq!(shown(&second.state), ["3 1.a ", "4 2.b F", "10 9.hidden  new"]);
    }

    #[test]
    fn in_a_directory_that_never_rests_nothing_is_believed_gone() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file(LIST, &list("3 :1.a\n4 :2.b\n"));
        disk.put_file("/m/cur/1.a:2,", b"");
        disk.put_file("/m/cur/2.b:2,", b"");
        disk.advance(10_000_000);
        let first = synced(&mut disk, None, PEEK);
        disk.remove_file("/m/cur/2.b:2,");
        disk.always = Some(|disk| {
            disk.advance(5000);
            disk.put_file("/m/cur/.busy", b"");
        });
        let second = synced(&mut disk, Some(&first.state), PEEK);
        assert_eq!((second.changes.len(), shown(&second.state).len()), (0, 2));
        disk.always = None;
        let third = synced(&mut disk, Some(&second.state), PEEK);
        assert_eq!(third.changes, [Change::Expunged(4)]);
    }

    #[test]
    fn uids_that_another_program_did_not_sync_are_synced_before_they_are_shown() {
        for replaced in [false, true] {
            let mut disk = MemDisk::with_maildir();
            disk.put_file(LIST, &list("3 :1.a\n"));
            disk.put_file("/m/cur/1.a:2,", b"");
            disk.put_file("/m/cur/2.b:2,", b"");
            disk.settle();
            if replaced {
                disk.replace_unsynced(LIST, &list("3 :1.a\n20 :2.b\n"));
            } else {
                disk.append_unsynced(LIST, b"20 :2.b\n");
            }
            let first = synced(&mut disk, None, PEEK);
            assert_eq!(shown(&first.state)[1], "20 2.b ");
            disk.restart();
            assert_eq!(shown(&synced(&mut disk, None, PEEK).state)[1], "20 2.b ");
        }
    }

    #[test]
    fn while_somebody_has_the_lock_what_has_uids_is_shown() {
        let mut disk = MemDisk::with_maildir();
        disk.alive.push(99);
        disk.put_file(LIST, &list("3 :1.a\n"));
        disk.put_file("/m/cur/1.a:2,", b"");
        disk.put_file("/m/cur/2.b:2,", b"");
        disk.put_file("/m/dovecot-uidlist.lock", b"99:mx");
        disk.advance(10_000_000);
        let first = synced(&mut disk, None, SELECT);
        assert_eq!(shown(&first.state), ["3 1.a "]);
        // Nobody waited, and it is known that something is left to do.
        assert!(first.state.pending && !disk.log.iter().any(|step| step == "Wait"));
        disk.remove_file("/m/dovecot-uidlist.lock");
        let second = synced(&mut disk, Some(&first.state), SELECT);
        assert_eq!(second.changes, [Change::Appended(10)]);
        assert!(!second.state.pending);
    }

    /// Without a list there are no UIDs to be shown: whoever looks waits for the one that is being made, but not for long.
    #[test]
    fn nobody_waits_long_for_the_first_list() {
        for made in [false, true] {
            let mut disk = MemDisk::with_maildir();
            disk.alive.push(99);
            disk.put_file("/m/cur/1.a:2,", b"");
            disk.put_file("/m/dovecot-uidlist.lock", b"99:mx");
            let start = disk.now().instant;
            if made {
                disk.before = Some((20, |disk: &mut MemDisk| {
                    disk.put_file(LIST, &list("3 :1.a\n"));
                    disk.remove_file("/m/dovecot-uidlist.lock");
                }));
            }
            match run(&mut disk, None, SELECT).expect("no crash") {
                Ok(first) => assert!(made && shown(&first.state) == ["3 1.a "]),
                Err(error) => assert!(!made && error.kind == StoreErrorKind::Busy),
            }
            assert!(disk.now().instant.since(start) < Duration::from_secs(7));
        }
    }

    #[test]
    fn a_lock_that_a_crash_has_left_keeps_nobody_from_the_first_look() {
        for content in [&b"99:mx"[..], b"\0\0\0\0\0", b""] {
            let mut disk = MemDisk::with_maildir();
            disk.put_file("/m/cur/1.a:2,", b"");
            disk.put_file("/m/dovecot-uidlist.lock", content);
            assert_eq!(shown(&synced(&mut disk, None, SELECT).state), ["1 1.a "], "{content:?}");
        }
    }

    #[test]
    fn a_mailbox_that_cannot_be_written_is_read_only() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file(LIST, &list("3 :1.a\n"));
        disk.put_file("/m/new/1.a", b"");
        disk.put_file("/m/new/2.b", b"");
        disk.advance(10_000_000);
        let mut whole = disk.clone();
        synced(&mut whole, None, SELECT);
        let create = whole
            .log
            .iter()
            .filter(|op| !["Close", "Clock"].contains(&op.as_str()))
            .position(|op| op == "Create");
        disk.fail_at = create.map(|at| (at, Errno::Access));
        let first = synced(&mut disk, None, SELECT);
        assert!(first.state.read_only);
        assert_eq!(shown(&first.state), ["3 1.a  new"]);
        assert_eq!(first.recent.to_string(), "3");
    }

    #[test]
    fn each_select_finds_out_whether_the_mailbox_can_be_written() {
        let mut disk = MemDisk::with_maildir();
        disk.put_file("/m/cur/1.a:2,", b"");
        disk.put_file("/m/new/2.b", b"");
        disk.advance(10_000_000);
        let mut known = synced(&mut disk, None, SELECT).state;
        assert!(!known.read_only);
        for (path, errno) in [("/m", Errno::ReadOnly), ("/m", Errno::Access), ("/m/cur", Errno::Access)] {
            disk.shut(path, Some(errno));
            disk.advance(10_000_000);
            let second = synced(&mut disk, Some(&known), SELECT);
            assert!(second.state.read_only && second.changes.is_empty(), "{path} {errno:?}");
            assert_eq!(shown(&second.state), ["1 1.a ", "2 2.b "]);
            // Who only looks does not ask.
            assert!(synced(&mut disk, Some(&second.state), PEEK).state.read_only);
            assert!(!disk.log.iter().any(|op| op == "Writable"));
            assert!(synced(&mut disk, None, SELECT).state.read_only, "{path} {errno:?}");
            disk.shut(path, None);
            known = synced(&mut disk, Some(&second.state), SELECT).state;
            assert!(!known.read_only, "{path} {errno:?}");
        }
        // Not to be told is not to be refused.
        disk.fail_at = disk.counted_log().iter().position(|op| *op == "Writable").map(|at| (at, Errno::Io));
        assert!(disk.fail_at.is_some() && !synced(&mut disk, Some(&known), SELECT).state.read_only);
    }

    #[test]
    fn many_dead_records_are_cleaned_away() {
        let mut disk = MemDisk::with_maildir();
        let records: String = (10..60).map(|uid| format!("{uid} :{uid}.a\n")).collect();
        disk.put_file(LIST, &list(&records));
        disk.put_file("/m/cur/10.a:2,", b"");
        disk.put_file("/m/new/70.a", b"");
        disk.advance(10_000_000);
        let first = synced(&mut disk, None, PEEK);
        assert_eq!(first.state.uidlist_records, 2);
        assert!(disk.read(LIST).unwrap().ends_with(b"\n10 :10.a\n60 :70.a\n"));
    }

    /// A mailbox where everything is to be done.
    fn busy_disk() -> (MemDisk, MailboxState) {
        let mut disk = MemDisk::with_maildir();
        disk.put_file("/m/cur/1.a:2,", b"");
        disk.put_file("/m/cur/2.b:2,", b"");
        disk.advance(10_000_000);
        let known = synced(&mut disk, None, PEEK).state;
        disk.remove_file("/m/cur/1.a:2,");
        disk.put_file("/m/new/3.c", b"");
        disk.settle();
        (disk, known)
    }

    #[test]
    fn whatever_fails_a_second_attempt_gives_the_same_uids() {
        let (disk, known) = busy_disk();
        let mut whole = disk.clone();
        synced(&mut whole, Some(&known), SELECT);
        for at in 0..whole.ops {
            for previous in [Some(&known), None] {
                let mut failing = disk.clone();
                failing.fail_at = Some((at, Errno::NoSpace));
                let _ = run(&mut failing, previous, SELECT).unwrap();
                // A lock whose removal failed is stale for others after two minutes.
                let stuck = failing.counted_log().get(at) == Some(&"Unlink");
                assert_eq!(failing.read("/m/dovecot-uidlist.lock").is_some(), stuck, "operation {at}");
                failing.fail_at = None;
                failing.advance(200_000_000);
                let after = synced(&mut failing, previous, SELECT);
                assert_eq!(shown(&after.state), ["2 2.b ", "3 3.c "], "operation {at}");
            }
        }
    }

    #[test]
    fn no_uid_that_was_shown_is_given_twice_whenever_the_power_goes() {
        let (disk, known) = busy_disk();
        let mut whole = disk.clone();
        synced(&mut whole, Some(&known), SELECT);
        for at in 0..=whole.ops {
            let mut crashing = disk.clone();
            crashing.crash_at = Some(at);
            let told = run(&mut crashing, Some(&known), SELECT);
            crashing.restart();
            crashing.put_file("/m/new/4.d", b"");
            crashing.settle();
            let after = synced(&mut crashing, None, SELECT).state;
            assert_eq!(after.uid_validity, known.uid_validity);
            let uid_of =
                |base: &str| after.messages.iter().find(|m| m.base() == base.as_bytes()).unwrap().uid;
            assert_eq!(uid_of("2.b"), 2);
            assert!(uid_of("3.c") >= 3 && uid_of("4.d") > uid_of("3.c"));
            if told.is_some() {
                assert_eq!((uid_of("3.c"), uid_of("4.d")), (3, 4));
            }
        }
    }
}
