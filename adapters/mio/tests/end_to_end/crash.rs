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

/// Subjects that the server has taken.
#[derive(Default)]
struct Taken {
    subjects: Mutex<Vec<String>>,
    count: AtomicUsize,
}

impl Taken {
    fn note(&self, subject: String) {
        self.subjects.lock().unwrap().push(subject);
        self.count.fetch_add(1, Ordering::SeqCst);
    }
}

fn message(subject: &str) -> String {
    format!(
        "Subject: {subject}\r\n\r\n{}end of {subject}\r\n",
        "some text that takes its place\r\n".repeat(40)
    )
}

/// Sends mails to ann and bob until the server is gone.
fn send(smtp: &mut Smtp, name: &str, taken: &Taken) -> io::Result<()> {
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
        taken.note(subject);
    }
    Ok(())
}

/// Appends to ann's Archive until the server is gone, and changes flags meanwhile.
fn append(imap: &mut Imap, name: &str, taken: &Taken) -> io::Result<()> {
    let gone = || io::Error::from(io::ErrorKind::UnexpectedEof);
    for number in 0.. {
        let subject = format!("{name}-{number}");
        let text = message(&subject);
        let command = format!(
            "x APPEND Archive (\\Seen) {{{}+}}\r\n{text}\r\nx UID STORE 1:* +FLAGS (\\Flagged)\r\n",
            text.len()
        );
        imap.wire().try_write(command.as_bytes())?;
        for expected in ["x OK [APPENDUID ", "x OK"] {
            let end = loop {
                let response = imap.response().ok_or_else(gone)?;
                if response.starts_with("x ") {
                    break response;
                }
            };
            assert!(end.starts_with(expected), "{end}");
            if expected.contains("APPENDUID") {
                taken.note(subject.clone());
            }
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
    let (mailed, appended) = (Taken::default(), Taken::default());
    let mut known: BTreeMap<&'static str, (String, BTreeMap<u32, String>)> = BTreeMap::new();
    for round in 0..=ROUNDS {
        let server = Server::start(&site);
        look(&server, &mailed, &appended, &mut known);
        if round == ROUNDS {
            break;
        }
        let begun = mailed.count.load(Ordering::SeqCst) + appended.count.load(Ordering::SeqCst);
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
                let count = mailed.count.load(Ordering::SeqCst) + appended.count.load(Ordering::SeqCst);
                (count >= enough).then_some(())
            });
            server.kill();
        });
        whole(&site);
    }
    assert!(mailed.count.load(Ordering::SeqCst) > 0 && appended.count.load(Ordering::SeqCst) > 0);
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
    mailed: &Taken,
    appended: &Taken,
    known: &mut BTreeMap<&'static str, (String, BTreeMap<u32, String>)>,
) {
    for (name, user, mailbox, taken) in [
        ("ann's inbox", "ann", "INBOX", mailed),
        ("bob's inbox", "bob", "INBOX", mailed),
        ("ann's archive", "ann", "Archive", appended),
    ] {
        let mut imap = server.imap(user);
        let (validity, now) = by_uid(&mut imap, mailbox);
        let subjects: BTreeSet<&String> = now.values().collect();
        assert_eq!(subjects.len(), now.len(), "{name}: one message under two UIDs");
        for subject in &*taken.subjects.lock().unwrap() {
            assert!(subjects.contains(subject), "{name}: {subject} was acknowledged and is lost");
        }
        if let Some((known_validity, before)) = known.get(name) {
            assert_eq!(&validity, known_validity, "{name}");
            for (uid, subject) in before {
                assert_eq!(now.get(uid), Some(subject), "{name}: UID {uid}");
            }
        }
        // It can be written, whatever lock was left.
        if let Some(uid) = now.keys().next_back() {
            imap.ok(&format!("UID STORE {uid} +FLAGS (\\Answered)"));
        }
        known.insert(name, (validity, now));
    }
}
