//! Mod-sequences (RFC 7162): two clients of one mailbox, what one of them learns after it, or the server, was gone, and
//! whether Dovecot says the same.

use std::fs;

use crate::harness::{Dovecot, Imap, Server, Site};

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
    let names = fs::read_dir(&cur).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // Names do not sort by time, their microseconds have no leading zeros; the number of the delivery tells.
    let delivery =
        |name: &String| name.split(['Q', 'R']).nth(1).and_then(|digits| digits.parse::<u64>().ok());
    let plain = names.filter(|name| name.ends_with(":2,")).min_by_key(delivery).expect("mail without flags");
    fs::rename(cur.join(&plain), cur.join(format!("{plain}S"))).unwrap();
    one.ok("NOOP");
    let changed = one.ok(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {now})"));
    let changed: Vec<&String> = changed.iter().filter(|line| line.contains("FETCH (UID")).collect();
    assert!(matches!(changed.as_slice(), [line] if line.contains("UID 3 FLAGS (\\Seen)")), "{changed:?}");
}

#[test]
fn who_comes_back_is_told_what_has_gone_even_by_a_server_that_has_forgotten() {
    let site = Site::new();
    let server = Server::start(&site);
    let (mut one, mut other) = (server.imap("ann"), server.imap("ann"));
    fill(&mut one, 9);
    let selected = one.ok("SELECT INBOX");
    let number = |mark| selected.iter().find(|line| line.contains(mark)).map(|line| modseq_after(line, mark));
    let (validity, known) = (number("UIDVALIDITY ").unwrap(), number("HIGHESTMODSEQ ").unwrap());
    one.ok("LOGOUT");
    other.ok("ENABLE QRESYNC");
    other.ok("SELECT INBOX");
    other.ok("UID STORE 2,4:5 +FLAGS.SILENT (\\Deleted)");
    let (told, end) = other.run("UID EXPUNGE 4:5");
    assert!(
        told.contains(&"VANISHED 4:5".to_owned()) && end.starts_with("OK [HIGHESTMODSEQ "),
        "{told:?} {end}"
    );

    let mut one = server.imap("ann");
    one.ok("ENABLE QRESYNC");
    let back = one.ok(&format!("SELECT INBOX (QRESYNC ({validity} {known}))"));
    let news = |lines: &[String]| -> Vec<String> {
        let is_news = |line: &&String| line.starts_with("VANISHED") || line.contains("FETCH");
        let shown = |line: &String| line.split(" MODSEQ").next().unwrap_or_default().to_owned();
        lines.iter().filter(is_news).map(shown).collect()
    };
    assert_eq!(news(&back), ["VANISHED (EARLIER) 4:5", "2 FETCH (UID 2 FLAGS (\\Deleted)"]);
    let back = one.ok(&format!("SELECT INBOX (QRESYNC ({validity} {known} 1:4 (1:3 1:3)))"));
    assert_eq!(news(&back), ["VANISHED (EARLIER) 4", "2 FETCH (UID 2 FLAGS (\\Deleted)"]);
    let again = one.ok(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {known} VANISHED)"));
    assert_eq!(news(&again), news(&other.ok(&format!("SELECT INBOX (QRESYNC ({validity} {known}))"))));
    server.stop();

    // What is derived can be deleted: then all that is not there has gone, and all that is there has changed.
    for name in ["postier.index", "postier.index.tmp"] {
        let _ = fs::remove_file(site.maildir("ann").join(name));
    }
    let server = Server::start(&site);
    let mut one = server.imap("ann");
    one.ok("ENABLE QRESYNC");
    let back = one.ok(&format!("SELECT INBOX (QRESYNC ({validity} {known} 1:6))"));
    let back = news(&back);
    assert_eq!((back[0].as_str(), back.len()), ("VANISHED (EARLIER) 4:5", 5), "{back:?}");
}

/// A response without what servers may choose: its words, the order of items, the numbers of mod-sequences.
fn essence(line: &str) -> Option<String> {
    if ["FLAGS", "OK [PERMANENTFLAGS", "OK [UNSEEN", "OK [MAILBOXID", "OK [CLOSED"]
        .iter()
        .any(|start| line.starts_with(start))
        || line.ends_with("RECENT")
    {
        return None;
    }
    let line = line.replace(" \\Recent", "").replace("\\Recent", "");
    let line = match (line.split_once(" FETCH ("), line.split_once("] ")) {
        (Some((number, items)), _) => {
            let mut depth = 0;
            let mut names: Vec<String> = vec![String::new()];
            for letter in items.trim_end_matches(')').chars() {
                depth += i32::from(letter == '(') - i32::from(letter == ')');
                match letter {
                    // A name and what stands behind it.
                    ' ' if depth == 0 && names.last().is_some_and(|item| item.contains(' ')) => {
                        names.push(String::new());
                    }
                    _ => names.last_mut()?.push(letter),
                }
            }
            let mut names: Vec<String> =
                names.iter().map(|name| name.trim_end_matches(')').to_owned()).collect();
            names.sort();
            format!("{number} FETCH {}", names.join(" "))
        }
        (None, Some((code, _))) if line.contains(" [") || line.starts_with('[') => format!("{code}]"),
        _ if ["OK ", "NO ", "BAD "].iter().any(|word| line.starts_with(word)) => {
            line.split(' ').next()?.to_owned()
        }
        _ => line,
    };
    let mut shown = line;
    for mark in ["MODSEQ ", "UIDVALIDITY ", "COPYUID ", "TAG \"t"] {
        let mut pieces = shown.split(mark);
        let first = pieces.next()?.to_owned();
        let behind = pieces
            .map(|piece| piece.trim_start_matches('(').trim_start_matches(|c: char| c.is_ascii_digit()));
        shown = behind.fold(first, |before, behind| format!("{before}{mark}n{behind}"));
    }
    if shown.starts_with("ESEARCH") || shown.starts_with("ENABLED") {
        let mut words: Vec<&str> = shown.split(' ').collect();
        words.sort_unstable();
        shown = words.join(" ");
    }
    Some(shown)
}

/// What a server answers two clients to everything that has to do with mod-sequences, up to what [`essence`] leaves away.
fn conversation(plain: &mut Imap, quick: &mut Imap) -> Vec<String> {
    let mut log = Vec::new();
    let mut say = |imap: &mut Imap, command: &str| {
        let (mut told, end) = imap.run(command);
        told.push(end);
        let mut lines: Vec<String> = told.iter().filter_map(|line| essence(line)).collect();
        // Numbers that are other ones at each server.
        let mut shown = command.to_owned();
        shown.retain(|letter| !letter.is_ascii_digit());
        let end = lines.pop();
        lines.sort();
        log.push(format!("{shown}: {}", lines.into_iter().chain(end).collect::<Vec<_>>().join(" | ")));
        told
    };
    let highest = |told: &[String]| {
        let line =
            told.iter().find(|line| line.contains("HIGHESTMODSEQ ")).unwrap_or_else(|| panic!("{told:?}"));
        modseq_after(line, "HIGHESTMODSEQ ")
    };
    plain.ok("CREATE Elsewhere");
    fill(plain, 12);
    // Dovecot keeps none before somebody wants one.
    quick.ok("SELECT INBOX (CONDSTORE)");
    quick.ok("UNSELECT");
    let selected = say(plain, "SELECT INBOX");
    let start = highest(&selected);
    let validity =
        modseq_after(selected.iter().find(|line| line.contains("UIDVALIDITY")).unwrap(), "UIDVALIDITY ");
    for command in [
        "FETCH 1:2 (UID MODSEQ)",
        "STORE 1 +FLAGS (\\Flagged)",
        "STORE 2 +FLAGS.SILENT (\\Flagged)",
        "UID STORE 3 (UNCHANGEDSINCE 1) +FLAGS (\\Seen)",
        "STORE 3 (UNCHANGEDSINCE 1) +FLAGS.SILENT (\\Seen)",
        "STORE 3:4 (UNCHANGEDSINCE 9223372036854775807) +FLAGS.SILENT (\\Seen)",
        "SEARCH MODSEQ 1",
        "SEARCH RETURN (MIN) MODSEQ 1",
        "UID SEARCH RETURN (ALL COUNT) MODSEQ 1 FLAGGED",
        "UID SEARCH MODSEQ \"/flags/\\\\Seen\" all 1 SEEN",
        "SEARCH MODSEQ 9223372036854775807",
        "SORT (REVERSE ARRIVAL) UTF-8 MODSEQ 1 FLAGGED",
        "FETCH 1 (FLAGS)",
        "FETCH 1 (FLAGS) (VANISHED)",
        "ENABLE CONDSTORE",
        "SELECT INBOX (QRESYNC (1 1))",
    ] {
        say(plain, command);
    }
    say(plain, "SELECT INBOX (CONDSTORE)");
    say(plain, &format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {start})"));
    say(plain, &format!("SEARCH MODSEQ {}", start + 1));
    say(quick, "ENABLE QRESYNC CONDSTORE");
    let middle = highest(&say(quick, &format!("SELECT INBOX (QRESYNC ({validity} {start}))")));
    for command in [
        "UID STORE 5,8 +FLAGS.SILENT (\\Deleted)",
        "EXPUNGE",
        "EXPUNGE",
        "UID STORE 6 +FLAGS (\\Deleted)",
        "UID EXPUNGE 6:7",
        "UID MOVE 7 Elsewhere",
        "FETCH 4 (FLAGS)",
    ] {
        say(quick, command);
    }
    say(plain, "NOOP");
    say(quick, &format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {start} VANISHED)"));
    say(quick, &format!("UID FETCH 7:8 (FLAGS) (CHANGEDSINCE {start} VANISHED)"));
    say(quick, &format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {middle} VANISHED)"));
    say(plain, "STORE 1 -FLAGS (\\Flagged)");
    say(quick, "NOOP");
    say(quick, "UNSELECT");
    for remembered in [
        format!("{validity} {start}"),
        format!("{validity} {middle}"),
        format!("{validity} {start} 1:5,9:10"),
        format!("{validity} {middle} 1:12 (1:4 1:4)"),
        format!("{} {start}", validity + 1),
        format!("{validity} 9223372036854775807"),
    ] {
        say(quick, &format!("SELECT INBOX (QRESYNC ({remembered}))"));
    }
    say(quick, "STATUS Elsewhere (MESSAGES)");
    say(quick, "CLOSE");
    log
}

#[test]
#[ignore = "needs dovecot-imapd"]
fn dovecot_says_the_same_about_mod_sequences() {
    let (theirs, user) = Dovecot::site();
    let (mut plain, mut quick) = (Dovecot::start(&theirs, &user), Dovecot::start(&theirs, &user));
    let wanted = conversation(&mut plain.imap, &mut quick.imap);
    let ours = Site::new();
    let server = Server::start(&ours);
    let said = conversation(&mut server.imap("ann"), &mut server.imap("ann"));
    let differ = wanted.iter().zip(&said).filter(|(wanted, said)| wanted != said);
    let differ: Vec<String> = differ.map(|(wanted, said)| format!("{wanted}\nbut {said}\n")).collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn who_gives_up_sequence_numbers_hears_none() {
    let site = Site::new();
    let server = Server::start(&site);
    let (mut one, mut other) = (server.imap("ann"), server.imap("ann"));
    fill(&mut one, 3);
    one.ok("ENABLE UIDONLY");
    let selected = one.ok("SELECT INBOX");
    assert!(selected.iter().all(|line| !line.starts_with("OK [UNSEEN")), "{selected:?}");
    assert!(one.refused("FETCH 1 (FLAGS)").starts_with("BAD [UIDREQUIRED] "));
    assert_eq!(one.ok("UID FETCH 2 (RFC822.SIZE)"), ["2 UIDFETCH (RFC822.SIZE 17)"]);
    other.ok("SELECT INBOX");
    other.ok("UID STORE 1 +FLAGS (\\Deleted)");
    other.ok("EXPUNGE");
    other.ok("UID STORE 3 +FLAGS (\\Answered)");
    let told = one.ok("NOOP");
    assert_eq!(told, ["VANISHED 1", "3 UIDFETCH (FLAGS (\\Answered \\Recent))"]);
    let read = one.one("UID FETCH 2 (BODY[])", "2 UIDFETCH (BODY[] {17}");
    assert!(read.contains("FLAGS (\\Seen"), "{read}");
}
