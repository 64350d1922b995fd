//! What FETCH says of odd messages, beside what Dovecot says of the same files: ENVELOPE, BODY, BODYSTRUCTURE, sizes, headers
//! and sections, answer by answer. Where the two differ [`reasons`] has the case and the RFC's word for our answer.

mod answer;
mod corpus;
mod known;
mod reasons;
mod shipped;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use answer::{Answer, fetch};
use reasons::Reason;

use crate::harness::{Dovecot, Imap, Server};

/// A message with a name that tells where it comes from.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) message: Vec<u8>,
}

/// The sections asked of every message, whether it has them or not.
fn sections() -> Vec<String> {
    let numbers = [
        "1", "2", "3", "4", "1.1", "1.2", "2.1", "2.2", "3.1", "1.1.1", "1.2.1", "2.1.1", "3.1.1", "1.1.1.1",
    ];
    let pieces = ["", ".MIME", ".HEADER", ".TEXT", ".HEADER.FIELDS (Subject Content-Type)"];
    let parts = numbers.iter().flat_map(|number| pieces.map(|piece| format!("{number}{piece}")));
    let whole =
        ["", "HEADER", "TEXT", "HEADER.FIELDS (FROM Content-Type SUBJECT)", "HEADER.FIELDS.NOT (FROM TO)"];
    whole.iter().map(|piece| (*piece).to_owned()).chain(parts).collect()
}

/// Everything asked of every message.
fn items() -> Vec<String> {
    let mut items: Vec<String> =
        ["ENVELOPE", "BODY", "BODYSTRUCTURE", "RFC822.SIZE", "RFC822.HEADER"].map(str::to_owned).to_vec();
    items.extend(sections().into_iter().map(|section| format!("BODY.PEEK[{section}]")));
    items.extend(["TEXT]<3.40>", "HEADER]<7.30>", "1]<2.9>"].map(|part| format!("BODY.PEEK[{part}")));
    items
}

/// Puts the messages into the Maildir, as any program may.
fn store(inbox: &Path, cases: &[Case]) {
    for (number, case) in cases.iter().enumerate() {
        fs::write(inbox.join("cur").join(format!("{}.case.mime:2,", 1_700_000_000 + number)), &case.message)
            .unwrap();
    }
}

/// Which case has which UID.
fn uids(inbox: &Path) -> BTreeMap<u32, usize> {
    let list = fs::read_to_string(inbox.join("dovecot-uidlist")).unwrap();
    let row = |line: &str| {
        let (uid, name) = (line.split(' ').next()?.parse().ok()?, line.split_once(':')?.1);
        let seconds: usize = name.split('.').next()?.parse().ok()?;
        Some((uid, seconds - 1_700_000_000))
    };
    list.lines().skip(1).filter_map(row).collect()
}

/// One difference.
pub(crate) struct Difference<'c> {
    pub(crate) case: &'c str,
    pub(crate) item: String,
    pub(crate) ours: Answer,
    pub(crate) theirs: Answer,
    /// Their BODYSTRUCTURE of the message.
    pub(crate) structure: &'c Answer,
}

/// Compares both servers on all cases; every difference has a reason and every reason a difference.
fn compare(cases: &[Case], reasons: &[Reason]) {
    let (site, user) = Dovecot::site();
    let server = Server::start(&site);
    let mut ours = server.imap("ann");
    // Makes the Maildir.
    ours.ok("SELECT INBOX");
    ours.ok("UNSELECT");
    let inbox = site.maildir("ann");
    store(&inbox, cases);
    ours.ok("SELECT INBOX");
    let mut dovecot = Dovecot::start(&site, &user);
    dovecot.imap.ok("SELECT INBOX");
    let names = uids(&inbox);
    assert_eq!(names.len(), cases.len());
    let structures = fetch(&mut dovecot.imap, "BODYSTRUCTURE");
    let (mut same, mut differ) = (0, Vec::new());
    for item in items() {
        let (mut mine, mut theirs) = (fetch(&mut ours, &item), fetch(&mut dovecot.imap, &item));
        for (uid, number) in &names {
            let (ours, theirs) = (mine.remove(uid).unwrap(), theirs.remove(uid).unwrap());
            if ours == theirs {
                same += 1;
                continue;
            }
            let (case, item) = (&*cases[*number].name, item.clone());
            differ.push(Difference { case, item, ours, theirs, structure: &structures[uid] });
        }
    }
    search(&mut ours, &mut dovecot.imap, |uid| &cases[names[&uid]].name);
    println!("{} messages, {same} answers the same, {} not", cases.len(), differ.len());
    reasons::judge(&differ, reasons);
}

/// Words that stand in header fields in many guises, raw, encoded, folded and in parameters; and names of cases that only
/// one of us finds: addresses are those that [`known::ODD`] is about.
const SEARCHES: &[(&str, &str, &[&str])] = &[
    ("SUBJECT", "Grüße", &[]),
    ("SUBJECT", "éé", &[]),
    ("SUBJECT", "=?utf-8", &[]),
    // Dovecot takes a bare CR out when it searches, and shows it as a space.
    ("SUBJECT", "a b", &["whole: CR in the header"]),
    ("SUBJECT", "a b c", &[]),
    ("SUBJECT", "c d", &[]),
    ("SUBJECT", "inner", &[]),
    ("FROM", "Joe Public", &[]),
    ("FROM", "jörg", &[]),
    ("TO", "Jörg", &[]),
    ("TO", "a@b", &["envelope: angle after angle", "envelope: brackets", "envelope: spaces around at"]),
    ("HEADER Message-ID", "<1@b.test>", &[]),
    ("HEADER X-After", "y", &[]),
    ("HEADER Content-Type", "Jörg", &[]),
    ("HEADER Content-Disposition", "", &[]),
    ("TEXT", "Jörg", &[]),
    ("TEXT", "boundary", &[]),
    ("TEXT", "name=a", &[]),
    ("TEXT", "The Hare and the Tortoise", &[]),
];

/// Both find the same words, decoded.
fn search<'c>(ours: &mut Imap, theirs: &mut Imap, name: impl Fn(u32) -> &'c str) {
    for (key, word, known) in SEARCHES {
        let found = |imap: &mut Imap| -> BTreeSet<&str> {
            let rows = imap.ok(&format!("UID SEARCH CHARSET UTF-8 {key} {{{}+}}\r\n{word}", word.len()));
            let rows = rows.iter().filter_map(|row| row.strip_prefix("SEARCH"));
            let uids = rows.flat_map(|row| row.split_whitespace().map(|uid| uid.parse().unwrap()));
            let names = uids.map(&name);
            names.filter(|name| !known.contains(&name.trim_end_matches(" (CRLF)"))).collect()
        };
        assert_eq!(found(ours), found(theirs), "{key} {word}");
    }
}

#[test]
#[ignore = "needs dovecot-imapd"]
fn odd_messages_are_shown_as_dovecot_shows_them() {
    compare(&corpus::cases(), known::ODD);
}

#[test]
#[ignore = "needs dovecot-imapd, libpython3.11-testsuite and the mail-parser crate's sources"]
fn the_test_mail_of_other_programs_is_shown_as_dovecot_shows_it() {
    compare(&shipped::cases(), known::SHIPPED);
}
