//! The server is killed in the middle of everything it can do, again and again: what it has acknowledged is there,
//! once; what it has not is there whole or not at all; a UID never means two messages.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Imap, Server, Site, Smtp, eventually, mail_in};

const ROUNDS: usize = 20;
const SMTP_SESSIONS: usize = 8;
const IMAP_SESSIONS: usize = 3;
/// Acknowledged in a round before the kill.
const ACKNOWLEDGED: usize = 40;

/// What the server has said about mails, by their subjects.
#[derive(Default)]
struct Ledger {
    words: Mutex<Words>,
    count: AtomicUsize,
}

#[derive(Default)]
struct Words {
    /// Taken, with the UID if it was told.
    taken: BTreeMap<String, Option<u32>>,
    /// An EXPUNGE was sent and not answered: there or not.
    doubtful: BTreeSet<String>,
    /// Expunged.
    gone: BTreeSet<String>,
}

impl Ledger {
    fn taken(&self, subject: &str, uid: Option<u32>) {
        self.words.lock().unwrap().taken.insert(subject.to_owned(), uid);
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    fn doubtful(&self, subject: &str) {
        let mut words = self.words.lock().unwrap();
        words.taken.remove(subject);
        words.doubtful.insert(subject.to_owned());
    }

    fn gone(&self, subject: &str) {
        let mut words = self.words.lock().unwrap();
        words.doubtful.remove(subject);
        words.gone.insert(subject.to_owned());
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

fn message(subject: &str) -> String {
    format!(
        "Subject: {subject}\r\n\r\n{}end of {subject}\r\n",
        "some text that takes its place\r\n".repeat(40)
    )
}

/// Sends mails to ann and bob until the server is gone.
fn send(smtp: &mut Smtp, name: &str, ledger: &Ledger) -> io::Result<()> {
    for number in 0.. {
        let subject = format!("{name}-{number}");
        smtp.wire().try_write(
            b"MAIL FROM:<a@other.example>\r\nRCPT TO:<ann@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n",
        )?;
        for _ in 0..4 {
            smtp.reply().ok_or(io::ErrorKind::UnexpectedEof)?;
        }
        smtp.wire().try_write(format!("{}.\r\n", message(&subject)).as_bytes())?;
        let reply = smtp.reply().ok_or(io::ErrorKind::UnexpectedEof)?;
        assert_eq!(reply.code, 250, "{reply:?}");
        ledger.taken(&subject, None);
    }
    Ok(())
}

/// The end of the command `x`.
fn end_of_command(imap: &mut Imap) -> io::Result<String> {
    loop {
        let response = imap.response().ok_or(io::ErrorKind::UnexpectedEof)?;
        if response.starts_with("x ") {
            return Ok(response);
        }
    }
}

/// Appends to ann's Archive until the server is gone; meanwhile changes flags, and expunges every third.
fn append(imap: &mut Imap, name: &str, ledger: &Ledger) -> io::Result<()> {
    for number in 0.. {
        let subject = format!("{name}-{number}");
        let text = message(&subject);
        let command = format!(
            "x APPEND Archive (\\Seen) {{{}+}}\r\n{text}\r\nx UID STORE 1:* +FLAGS (\\Flagged)\r\n",
            text.len()
        );
        imap.wire().try_write(command.as_bytes())?;
        let end = end_of_command(imap)?;
        assert!(end.starts_with("x OK [APPENDUID "), "{end}");
        let uid = end.split_once(']').and_then(|(code, _)| code.rsplit(' ').next()?.parse().ok()).unwrap();
        ledger.taken(&subject, Some(uid));
        assert!(end_of_command(imap)?.starts_with("x OK"));
        if number % 3 == 2 {
            ledger.doubtful(&subject);
            let command = format!("x UID STORE {uid} +FLAGS (\\Deleted)\r\nx UID EXPUNGE {uid}\r\n");
            imap.wire().try_write(command.as_bytes())?;
            for _ in 0..2 {
                assert!(end_of_command(imap)?.starts_with("x OK"));
            }
            ledger.gone(&subject);
        }
    }
    Ok(())
}

/// Every UID of a mailbox with its subject, as a client sees them.
fn by_uid(imap: &mut Imap, mailbox: &str) -> (String, BTreeMap<u32, String>) {
    let selected = imap.ok(&format!("SELECT {mailbox}"));
    let validity = selected.iter().find(|line| line.contains("[UIDVALIDITY ")).unwrap().clone();
    let rows = imap.ok("UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])");
    let mut found = BTreeMap::new();
    for row in rows.iter().filter(|row| row.contains(" FETCH (")) {
        let (_, uid) = row.split_once("UID ").unwrap();
        let uid = uid.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
        let subject = row.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap();
        assert!(found.insert(uid, subject.trim().to_owned()).is_none(), "UID {uid} twice");
    }
    (validity, found)
}

#[test]
#[ignore = "needs a minute: twenty kills"]
fn twenty_kills_lose_no_acknowledged_mail_and_double_none() {
    let site = Site::new();
    let (mailed, appended) = (Ledger::default(), Ledger::default());
    let mut known: BTreeMap<&'static str, (String, BTreeMap<u32, String>)> = BTreeMap::new();
    for round in 0..=ROUNDS {
        let server = Server::start(&site);
        look(&server, &mailed, &appended, &mut known);
        if round == ROUNDS {
            break;
        }
        let begun = mailed.count() + appended.count();
        std::thread::scope(|scope| {
            for session in 0..SMTP_SESSIONS {
                let mut smtp = server.exchange();
                smtp.expect("EHLO other.example", 250);
                let (name, mailed) = (format!("mail-{round}-{session}"), &mailed);
                // It ends with the server, whenever that is.
                scope.spawn(move || send(&mut smtp, &name, mailed));
            }
            for session in 0..IMAP_SESSIONS {
                let mut imap = server.imap("ann");
                imap.ok("SELECT Archive");
                let (name, appended) = (format!("append-{round}-{session}"), &appended);
                scope.spawn(move || append(&mut imap, &name, appended));
            }
            let enough = begun + ACKNOWLEDGED + round;
            eventually("enough acknowledged mails", || {
                let count = mailed.count() + appended.count();
                (count >= enough).then_some(())
            });
            server.kill();
        });
        whole(&site);
    }
    assert!(mailed.count() > 0 && appended.count() > 0);
}

/// Every file is a whole message, and none is there twice.
fn whole(site: &Site) {
    for folder in [site.maildir("ann"), site.maildir("bob"), site.maildir("ann").join(".Archive")] {
        let mut subjects = BTreeSet::new();
        for mail in mail_in(&folder) {
            let subject =
                mail.text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default();
            assert!(mail.text.ends_with(&format!("end of {subject}\n")), "{:?}: {}", mail.path, mail.text);
            assert!(subjects.insert(subject.to_owned()), "{subject} is there twice");
        }
    }
}

/// What clients see after a start: everything acknowledged, and under the UIDs they know.
fn look(
    server: &Server,
    mailed: &Ledger,
    appended: &Ledger,
    known: &mut BTreeMap<&'static str, (String, BTreeMap<u32, String>)>,
) {
    for (name, user, mailbox, ledger) in [
        ("ann's inbox", "ann", "INBOX", mailed),
        ("bob's inbox", "bob", "INBOX", mailed),
        ("ann's archive", "ann", "Archive", appended),
    ] {
        let mut imap = server.imap(user);
        let (validity, now) = by_uid(&mut imap, mailbox);
        let by_subject: BTreeMap<&String, u32> = now.iter().map(|(uid, subject)| (subject, *uid)).collect();
        assert_eq!(by_subject.len(), now.len(), "{name}: one message under two UIDs");
        let words = ledger.words.lock().unwrap();
        for (subject, told) in &words.taken {
            let uid = by_subject.get(subject);
            let uid = uid.unwrap_or_else(|| panic!("{name}: {subject} was acknowledged and is lost"));
            assert!(told.is_none_or(|told| told == *uid), "{name}: {subject} was {told:?} and is {uid}");
        }
        for subject in &words.gone {
            assert!(!by_subject.contains_key(subject), "{name}: {subject} was expunged and is back");
        }
        if let Some((known_validity, before)) = known.get(name) {
            assert_eq!(&validity, known_validity, "{name}");
            for (uid, subject) in before {
                let is = now.get(uid);
                let left = words.gone.contains(subject) || words.doubtful.contains(subject);
                assert!(
                    is == Some(subject) || is.is_none() && left,
                    "{name}: UID {uid} was {subject}, is {is:?}"
                );
            }
        }
        // It can be written, whatever lock was left.
        if let Some(uid) = now.keys().next_back() {
            imap.ok(&format!("UID STORE {uid} +FLAGS (\\Answered)"));
        }
        known.insert(name, (validity, now));
    }
}
