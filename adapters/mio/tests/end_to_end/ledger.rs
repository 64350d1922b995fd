//! What a server has said about mails and mailboxes, and whether it is true after it was killed.
//!
//! Each mail has a subject of its own and one client that handles it, so what must be there is known exactly. Before a
//! client asks for a change the ledger has both, the state before and the state after; the server's OK leaves one of
//! them. After a restart [`Ledger::audit`] compares with what a fresh client sees, and what it sees must stay.
//!
//! ```text
//! a mail in a mailbox: nothing ─asked─▶ Maybe ─OK─▶ Sure ─asked to expunge─▶ Maybe ─OK─▶ Gone
//! a mail that is moved: Sure ─asked─▶ Or(target), target Maybe ─OK─▶ Gone, target Sure
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::harness::Imap;

/// A mailbox of a user.
pub(crate) type Mailbox = (&'static str, String);

#[derive(Clone, Debug, PartialEq)]
enum Presence {
    Sure,
    Maybe,
    /// A MOVE was not answered: it is here, or there, or at both places.
    Or(Mailbox),
    Gone,
}

#[derive(Clone, Debug)]
struct Entry {
    presence: Presence,
    /// The UID, if one was told.
    uid: Option<u32>,
    set: BTreeSet<String>,
    unset: BTreeSet<String>,
}

/// A folder that one client has made.
#[derive(Clone, Debug)]
struct Folder {
    presence: Presence,
    /// `None` while a change is not answered.
    subscribed: Option<bool>,
}

/// What a client has seen of a mailbox, and must see again.
#[derive(Clone, Debug, Default)]
struct Seen {
    validity: u32,
    uid_next: u32,
    highest_modseq: u64,
    /// Of all UIDs that were ever shown.
    subjects: BTreeMap<u32, String>,
}

#[derive(Default)]
struct Books {
    mails: BTreeMap<(Mailbox, String), Entry>,
    folders: BTreeMap<String, Folder>,
    seen: BTreeMap<Mailbox, Seen>,
    acknowledged: usize,
}

#[derive(Default)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
}

impl Ledger {
    /// Changes that the server has acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.books.lock().unwrap().acknowledged
    }

    /// A mail is about to come to these mailboxes.
    pub(crate) fn comes(&self, to: &[Mailbox], subject: &str) {
        let mut books = self.books.lock().unwrap();
        for to in to {
            let entry =
                Entry { presence: Presence::Maybe, uid: None, set: BTreeSet::new(), unset: BTreeSet::new() };
            assert!(books.mails.insert((to.clone(), subject.to_owned()), entry).is_none(), "{subject} twice");
        }
    }

    /// It has come.
    pub(crate) fn came(&self, to: &[Mailbox], subject: &str, told: Option<(u32, u32)>, flags: &[&str]) {
        let mut books = self.books.lock().unwrap();
        for to in to {
            let entry = books.mails.get_mut(&(to.clone(), subject.to_owned())).unwrap();
            entry.presence = Presence::Sure;
            entry.set.extend(flags.iter().map(|flag| (*flag).to_owned()));
            if let Some((validity, uid)) = told {
                entry.uid = Some(uid);
                let seen = books.seen.entry(to.clone()).or_default();
                assert!(seen.validity == 0 || seen.validity == validity, "{to:?}: another UIDVALIDITY");
                seen.validity = validity;
                let named = seen.subjects.entry(uid).or_insert_with(|| subject.to_owned());
                assert_eq!(named, subject, "{to:?}: UID {uid} for two mails");
            }
        }
        books.acknowledged += 1;
    }

    /// A copy of a mail is about to come, with the flags that it has.
    pub(crate) fn copies(&self, from: &Mailbox, to: &Mailbox, subject: &str) {
        let mut books = self.books.lock().unwrap();
        let mut entry = books.mails[&(from.clone(), subject.to_owned())].clone();
        (entry.presence, entry.uid) = (Presence::Maybe, None);
        let before = books.mails.insert((to.clone(), subject.to_owned()), entry);
        assert!(before.is_none_or(|before| before.presence == Presence::Gone), "{subject} twice");
    }

    /// A mail is about to be moved.
    pub(crate) fn moves(&self, from: &Mailbox, to: &Mailbox, subject: &str) {
        self.copies(from, to, subject);
        let mut books = self.books.lock().unwrap();
        let entry = books.mails.get_mut(&(from.clone(), subject.to_owned())).unwrap();
        entry.presence = Presence::Or(to.clone());
    }

    /// A mail is about to leave.
    pub(crate) fn leaves(&self, from: &Mailbox, subject: &str) {
        let mut books = self.books.lock().unwrap();
        let entry = books.mails.get_mut(&(from.clone(), subject.to_owned())).unwrap();
        entry.presence = Presence::Maybe;
    }

    pub(crate) fn left(&self, from: &Mailbox, subject: &str) {
        let mut books = self.books.lock().unwrap();
        let entry = books.mails.get_mut(&(from.clone(), subject.to_owned())).unwrap();
        entry.presence = Presence::Gone;
        books.acknowledged += 1;
    }

    /// A flag of some mails is about to change.
    pub(crate) fn flags(&self, mailbox: &Mailbox, subjects: &[String], flag: &str) {
        let mut books = self.books.lock().unwrap();
        for subject in subjects {
            let entry = books.mails.get_mut(&(mailbox.clone(), subject.clone())).unwrap();
            entry.set.remove(flag);
            entry.unset.remove(flag);
        }
    }

    pub(crate) fn flagged(&self, mailbox: &Mailbox, subjects: &[String], flag: &str, set: bool) {
        let mut books = self.books.lock().unwrap();
        for subject in subjects {
            let entry = books.mails.get_mut(&(mailbox.clone(), subject.clone())).unwrap();
            (if set { &mut entry.set } else { &mut entry.unset }).insert(flag.to_owned());
        }
        books.acknowledged += 1;
    }

    /// A folder is about to be made.
    pub(crate) fn makes(&self, name: &str) {
        let folder = Folder { presence: Presence::Maybe, subscribed: Some(false) };
        assert!(self.books.lock().unwrap().folders.insert(name.to_owned(), folder).is_none(), "{name} twice");
    }

    pub(crate) fn made(&self, name: &str) {
        let mut books = self.books.lock().unwrap();
        books.folders.get_mut(name).unwrap().presence = Presence::Sure;
        books.acknowledged += 1;
    }

    /// A folder with its mails is about to get another name.
    pub(crate) fn renames(&self, from: &str, to: &str) {
        let mut books = self.books.lock().unwrap();
        let old = books.folders.get_mut(from).unwrap();
        old.presence = Presence::Or(("ann", to.to_owned()));
        let new = Folder { presence: Presence::Maybe, subscribed: Some(false) };
        books.folders.insert(to.to_owned(), new);
        let (old, new) = (("ann", from.to_owned()), ("ann", to.to_owned()));
        let inside: Vec<_> = books.mails.iter().filter(|((mailbox, _), _)| *mailbox == old).collect();
        let moved: Vec<_> = inside
            .into_iter()
            .map(|((_, mail), entry)| ((new.clone(), mail.clone()), entry.clone()))
            .collect();
        books.mails.extend(moved);
        let seen = books.seen.get(&old).cloned().unwrap_or_default();
        books.seen.insert(new, seen);
    }

    pub(crate) fn renamed(&self, from: &str, to: &str) {
        let mut books = self.books.lock().unwrap();
        books.settle_folder(from, false);
        books.settle_folder(to, true);
        books.acknowledged += 1;
    }

    pub(crate) fn deletes(&self, name: &str) {
        self.books.lock().unwrap().folders.get_mut(name).unwrap().presence = Presence::Maybe;
    }

    pub(crate) fn deleted(&self, name: &str) {
        let mut books = self.books.lock().unwrap();
        books.settle_folder(name, false);
        books.acknowledged += 1;
    }

    /// A subscription is about to change (`None`), or has changed.
    pub(crate) fn subscribed(&self, name: &str, subscribed: Option<bool>) {
        let mut books = self.books.lock().unwrap();
        books.folders.get_mut(name).unwrap().subscribed = subscribed;
        books.acknowledged += usize::from(subscribed.is_some());
    }

    /// Whether a mail is known to be there, acknowledged and not about to leave.
    pub(crate) fn is_sure(&self, mailbox: &Mailbox, subject: &str) -> bool {
        let books = self.books.lock().unwrap();
        let entry = books.mails.get(&(mailbox.clone(), subject.to_owned()));
        entry.is_some_and(|entry| entry.presence == Presence::Sure)
    }

    /// A client was shown a mail under a UID: nobody may ever see another mail there, nor that mail elsewhere.
    pub(crate) fn shown(&self, mailbox: &Mailbox, uid: u32, subject: &str) {
        let mut books = self.books.lock().unwrap();
        let known = books.seen.entry(mailbox.clone()).or_default().subjects.entry(uid);
        let known = known.or_insert_with(|| subject.to_owned());
        assert_eq!(known, subject, "{mailbox:?}: UID {uid} names two mails");
        let entry = books.mails.get_mut(&(mailbox.clone(), subject.to_owned()));
        let entry = entry.unwrap_or_else(|| panic!("{mailbox:?}: nobody has sent {subject}"));
        let told = *entry.uid.get_or_insert(uid);
        assert_eq!(told, uid, "{mailbox:?}: {subject} has two UIDs");
    }

    /// Compares everything with what these fresh clients of ann and bob see, and remembers that.
    ///
    /// # Panics
    /// If something acknowledged is lost or doubled, or something that was shown is taken back.
    pub(crate) fn audit(&self, ann: &mut Imap, bob: &mut Imap) {
        let mut books = self.books.lock().unwrap();
        books.audit_user(ann);
        books.audit_mailbox(bob, &("bob", "INBOX".to_owned()));
    }

    /// The same, by another server, for ann: its mod-sequences are its own.
    pub(crate) fn audit_elsewhere(&self, ann: &mut Imap) {
        let mut books = self.books.lock().unwrap();
        books.seen.values_mut().for_each(|seen| seen.highest_modseq = 0);
        books.audit_user(ann);
        books.seen.values_mut().for_each(|seen| seen.highest_modseq = 0);
    }

    /// Deletes the folders that clients have made, so that their number stays small.
    pub(crate) fn tidy(&self, ann: &mut Imap) {
        let mut books = self.books.lock().unwrap();
        for name in books.existing_folders() {
            ann.ok(&format!("DELETE {name}"));
            books.settle_folder(&name, false);
        }
    }
}

/// Flags whose absence is remembered, too: nobody sets them on the mails of others.
const FLAGS: [&str; 4] = ["\\Seen", "\\Answered", "work", "later"];
/// Longer than a lock of a dead process is respected.
const LOCKED: Duration = Duration::from_secs(5);

impl Books {
    /// Of a folder it is known now whether it exists; one that does not has no mails.
    fn settle_folder(&mut self, name: &str, exists: bool) {
        let mailbox = ("ann", name.to_owned());
        self.folders.get_mut(name).unwrap().presence = if exists { Presence::Sure } else { Presence::Gone };
        if !exists {
            self.mails.retain(|(of, _), _| *of != mailbox);
            self.seen.remove(&mailbox);
        }
    }

    fn existing_folders(&self) -> Vec<String> {
        let existing = self.folders.iter().filter(|(_, folder)| folder.presence == Presence::Sure);
        existing.map(|(name, _)| name.clone()).collect()
    }

    fn audit_user(&mut self, imap: &mut Imap) {
        self.audit_folders(imap);
        let usual = ["INBOX", "Archive", "Sent"].map(str::to_owned).into_iter();
        for mailbox in usual.chain(self.existing_folders()) {
            self.audit_mailbox(imap, &("ann", mailbox));
        }
        imap.ok("UNSELECT");
    }

    fn audit_folders(&mut self, imap: &mut Imap) {
        let names = |rows: Vec<String>| -> BTreeSet<String> {
            rows.iter().map(|row| row.rsplit(' ').next().unwrap().trim_matches('"').to_owned()).collect()
        };
        // Parents that do not exist are listed only for those below them.
        let mut rows = imap.ok("LIST \"\" *");
        rows.retain(|row| !row.contains("\\NonExistent") && !row.contains("\\Noselect"));
        let (there, subscribed) = (names(rows), names(imap.ok("LSUB \"\" *")));
        let usual = ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"];
        for name in there.iter().filter(|name| !usual.contains(&name.as_str())) {
            assert!(self.folders.contains_key(name), "nobody has made {name}");
        }
        for (name, folder) in self.folders.clone() {
            let exists = there.contains(&name);
            match &folder.presence {
                Presence::Sure => assert!(exists, "{name} was made and is lost"),
                Presence::Gone => assert!(!exists, "{name} was deleted or renamed and is back"),
                Presence::Or((_, to)) => {
                    assert!(
                        exists != there.contains(to),
                        "{name}, renamed to {to}: one of them, not {exists}"
                    );
                }
                Presence::Maybe => {}
            }
            let is = subscribed.contains(&name);
            assert!(folder.subscribed.is_none_or(|was| was == is), "{name}: subscribed {is}, not {folder:?}");
            self.folders.get_mut(&name).unwrap().subscribed = Some(is);
            self.settle_folder(&name, exists);
        }
    }

    /// A lock that was left keeps new mails from their UIDs for some seconds; the mailbox is shown without them until
    /// then. Who writes waits for the lock.
    fn look_patiently(&self, imap: &mut Imap, mailbox: &Mailbox) -> (Seen, BTreeMap<u32, Found>) {
        let begun = Instant::now();
        loop {
            imap.ok(&format!("SELECT {}", mailbox.1));
            imap.ok("UID STORE 1:* -FLAGS.SILENT (\\Draft)");
            let (seen, mails) = look(imap, &mailbox.1);
            // Nothing was written to a mailbox that seemed to be empty.
            let seems = |entry: &Entry| entry.presence == Presence::Sure || mails.is_empty();
            let there: BTreeSet<&String> = mails.values().map(|mail| &mail.subject).collect();
            let mut of_mailbox = self.mails.iter().filter(|((of, _), _)| of == mailbox);
            let complete = of_mailbox.all(|((_, subject), entry)| {
                entry.presence == Presence::Gone || !seems(entry) || there.contains(subject)
            });
            if complete || begun.elapsed() > LOCKED {
                return (seen, mails);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn audit_mailbox(&mut self, imap: &mut Imap, mailbox: &Mailbox) {
        let (mut seen, mails) = self.look_patiently(imap, mailbox);
        let before = self.seen.remove(mailbox).unwrap_or_default();
        assert!(before.validity == 0 || before.validity == seen.validity, "{mailbox:?}: {before:?}");
        assert!(before.uid_next <= seen.uid_next, "{mailbox:?}: UIDNEXT {}", seen.uid_next);
        assert!(before.highest_modseq <= seen.highest_modseq, "{mailbox:?}: {}", seen.highest_modseq);
        let mut by_subject = BTreeMap::new();
        for (uid, mail) in &mails {
            let (subject, uid) = (&mail.subject, *uid);
            assert!(by_subject.insert(subject, uid).is_none(), "{mailbox:?}: {subject} is there twice");
            assert!(uid < seen.uid_next, "{mailbox:?}: UIDNEXT {} beside UID {uid}", seen.uid_next);
            match before.subjects.get(&uid) {
                Some(was) => assert_eq!(subject, was, "{mailbox:?}: UID {uid}"),
                None => assert!(uid >= before.uid_next, "{mailbox:?}: {subject} as UID {uid}"),
            }
            let entry = self.mails.get(&(mailbox.clone(), subject.clone()));
            assert!(entry.is_some(), "{mailbox:?}: nobody has sent {subject}");
        }
        let of_mailbox = self.mails.iter().filter(|((of, _), _)| of == mailbox);
        let entries: Vec<_> =
            of_mailbox.map(|((_, subject), entry)| (subject.clone(), entry.clone())).collect();
        for (subject, mut entry) in entries {
            let uid = by_subject.get(&subject).copied();
            match &entry.presence {
                Presence::Sure => assert!(uid.is_some(), "{mailbox:?}: {subject} is lost: {entry:?}"),
                Presence::Gone => assert!(uid.is_none(), "{mailbox:?}: {subject} is back: {entry:?}"),
                Presence::Or(other) => {
                    let there = self.mails.get(&(other.clone(), subject.clone()));
                    // The other mailbox is looked at later (its name sorts higher), or was: then it is sure.
                    let there = there.is_some_and(|there| there.presence != Presence::Gone);
                    assert!(uid.is_some() || there, "{mailbox:?}: {subject} is nowhere");
                    if uid.is_none() {
                        let there = self.mails.get_mut(&(other.clone(), subject.clone())).unwrap();
                        there.presence = Presence::Sure;
                    }
                }
                Presence::Maybe => {}
            }
            if let Some(uid) = uid {
                assert!(entry.uid.is_none_or(|told| told == uid), "{mailbox:?}: {subject}: {entry:?}, {uid}");
                let flags = &mails[&uid].flags;
                assert!(entry.set.is_subset(flags), "{mailbox:?}: {subject}: {flags:?}, not {entry:?}");
                assert!(entry.unset.is_disjoint(flags), "{mailbox:?}: {subject}: {flags:?}, not {entry:?}");
                (entry.presence, entry.uid) = (Presence::Sure, Some(uid));
                let absent = FLAGS.iter().filter(|flag| !flags.contains(**flag));
                (entry.set, entry.unset) = (flags.clone(), absent.map(|flag| (*flag).to_owned()).collect());
            } else {
                entry.presence = Presence::Gone;
            }
            self.mails.insert((mailbox.clone(), subject), entry);
        }
        seen.subjects = before.subjects;
        seen.subjects.extend(mails.into_iter().map(|(uid, mail)| (uid, mail.subject)));
        self.seen.insert(mailbox.clone(), seen);
    }
}

struct Found {
    subject: String,
    flags: BTreeSet<String>,
}

/// A mailbox as a client sees it; all its mails are whole.
fn look(imap: &mut Imap, mailbox: &str) -> (Seen, BTreeMap<u32, Found>) {
    let selected = imap.ok(&format!("SELECT {mailbox}"));
    let number = |code: &str| -> Option<u64> {
        let (_, rest) = selected.iter().find_map(|line| line.split_once(&format!("[{code} ")))?;
        rest.split_once(']')?.0.parse().ok()
    };
    let seen = Seen {
        validity: number("UIDVALIDITY").unwrap() as u32,
        uid_next: number("UIDNEXT").unwrap() as u32,
        highest_modseq: number("HIGHESTMODSEQ").unwrap_or(0),
        subjects: BTreeMap::new(),
    };
    let mut mails = BTreeMap::new();
    for row in imap.ok("UID FETCH 1:* (UID FLAGS BODY.PEEK[])") {
        if !row.contains(" FETCH (") {
            continue;
        }
        let uid = number_after(&row, "UID ").unwrap();
        let flags = row.split_once("FLAGS (").and_then(|(_, flags)| flags.split_once(')')).unwrap().0;
        let flags = flags.split_whitespace().filter(|flag| *flag != "\\Recent").map(str::to_owned).collect();
        let subject =
            row.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default().to_owned();
        assert!(row.ends_with(&format!("end of {subject}\r\n)")), "{mailbox}: UID {uid} is not whole: {row}");
        assert!(mails.insert(uid, Found { subject, flags }).is_none(), "{mailbox}: UID {uid} twice");
    }
    (seen, mails)
}

/// The number that stands behind a mark.
pub(crate) fn number_after(text: &str, mark: &str) -> Option<u32> {
    let (_, rest) = text.split_once(mark)?;
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}
