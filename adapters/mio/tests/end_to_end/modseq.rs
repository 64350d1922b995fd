//! Mod-sequences (RFC 7162): two clients of one mailbox, and what one of them learns after the server was gone.

use crate::harness::{Imap, Server, Site};

/// The number behind a mark.
fn modseq_after(text: &str, mark: &str) -> u64 {
    let (_, rest) = text.split_once(mark).unwrap_or_else(|| panic!("no {mark} in {text}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after {mark} in {text}"))
}

fn fill(imap: &mut Imap, count: usize) {
    (0..count).for_each(|number| {
        imap.append("INBOX", "", &format!("Subject: {number}\r\n\r\nx\r\n"));
    });
}

#[test]
fn who_has_an_old_mod_sequence_changes_nothing_and_learns_what_is_new() {
    let site = Site::new();
    let server = Server::start(&site);
    let (mut one, mut other) = (server.imap("ann"), server.imap("ann"));
    fill(&mut one, 4);
    one.ok("SELECT INBOX (CONDSTORE)");
    let known = modseq_after(&other.one("SELECT INBOX", "OK [HIGHESTMODSEQ"), "HIGHESTMODSEQ ");
    let told = one.one("UID STORE 2 +FLAGS (\\Flagged)", "2 FETCH");
    let flagged = modseq_after(&told, "MODSEQ (");
    assert!(flagged > known, "{told}");
    // The other one does not know of it yet.
    let (told, end) = other.run(&format!("UID STORE 1:2 (UNCHANGEDSINCE {known}) +FLAGS.SILENT (\\Deleted)"));
    assert!(end.starts_with("OK [MODIFIED 2] "), "{end}");
    assert!(told.iter().any(|line| line.starts_with("1 FETCH (UID 1 MODSEQ (")), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("2 FETCH (FLAGS (\\Flagged)")), "{told:?}");
    let changed = one.ok(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {flagged})"));
    let changed: Vec<&String> = changed.iter().filter(|line| line.contains("FETCH (UID")).collect();
    assert!(matches!(changed.as_slice(), [line] if line.contains("UID 1 FLAGS (\\Deleted")), "{changed:?}");
    let found = one.one(&format!("SEARCH MODSEQ {flagged}"), "SEARCH");
    assert!(found.starts_with("SEARCH 1 2 (MODSEQ "), "{found}");
    let highest = modseq_after(&found, "MODSEQ ");
    let status = one.one("STATUS INBOX (HIGHESTMODSEQ)", "STATUS");
    assert_eq!(modseq_after(&status, "HIGHESTMODSEQ "), highest);
    server.stop();

    let server = Server::start(&site);
    let mut one = server.imap("ann");
    let now = modseq_after(&one.one("SELECT INBOX", "OK [HIGHESTMODSEQ"), "HIGHESTMODSEQ ");
    assert!(now >= highest, "{now}");
    // What changes while nobody looks has changed, too.
    let cur = site.maildir("ann").join("cur");
    let seen = std::fs::read_dir(&cur).unwrap().map(|entry| entry.unwrap().path());
    let plain =
        seen.filter(|path| path.to_string_lossy().ends_with(":2,")).min().expect("mail without flags");
    std::fs::rename(&plain, format!("{}S", plain.display())).unwrap();
    one.ok("NOOP");
    let changed = one.ok(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {now})"));
    let changed: Vec<&String> = changed.iter().filter(|line| line.contains("FETCH (UID")).collect();
    assert!(matches!(changed.as_slice(), [line] if line.contains("UID 3 FLAGS (\\Seen)")), "{changed:?}");
}
