//! Dovecot on the same Maildir, at the same time: both show the same messages under the same UIDs, each sees what the
//! other does, and neither ever gives out a UID of the other's.

use std::collections::BTreeMap;

use postier_host::identity::Identity;

use crate::harness::{Dovecot, Imap, Server, Site, eventually, postier};

/// Flags of each UID, sorted, without \Recent.
fn flags(imap: &mut Imap) -> BTreeMap<u32, Vec<String>> {
    let rows = imap.ok("UID FETCH 1:* (UID FLAGS)");
    let row = |row: &String| {
        let (_, uid) = row.split_once("UID ")?;
        let uid = uid.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()?;
        let (_, flags) = row.split_once("FLAGS (")?;
        let flags = flags.split_once(')')?.0.split(' ').map(str::to_owned);
        let mut flags: Vec<String> = flags.filter(|flag| !flag.is_empty() && flag != "\\Recent").collect();
        flags.sort();
        Some((uid, flags))
    };
    rows.iter().filter_map(row).collect()
}

fn select(imap: &mut Imap, mailbox: &str) -> String {
    let selected = imap.ok(&format!("SELECT {mailbox}"));
    let validity = selected.iter().find_map(|line| line.split_once("[UIDVALIDITY ")).unwrap().1;
    validity.split_once(']').unwrap().0.to_owned()
}

const PARTS: &str = "From: \"Ann, the first\" <ann@example.test>\r\nTo: bob@example.test, Eve <eve@example.test>\r\n\
    Date: Thu, 1 Feb 2024 03:04:05 +0100\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@example.test>\r\n\
    MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; \
    charset=utf-8\r\nContent-Language: de\r\n\r\nfirst\r\n--b\r\nContent-Type: application/x-y; name=\"a b\"\r\n\
    Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"a b\"\r\n\r\nAAAA\r\n\
    --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n--b--\r\n";

#[test]
#[ignore = "needs dovecot-imapd"]
fn dovecot_and_we_show_the_same_and_see_each_other() {
    let (site, user) = Dovecot::site();
    let server = Server::start(&site);
    let mut ours = server.imap("ann");
    let folder = "Lists.Gr&APwA3w-e";
    ours.ok(&format!("CREATE {folder}"));
    ours.ok(&format!("SUBSCRIBE {folder}"));
    let appended = ours.append("INBOX", "(\\Seen work) \"11-Feb-2024 03:04:05 +0100\" ", PARTS);
    ours.append("INBOX", "(\\Flagged) ", "Subject: two\r\n\r\nx\r\n");
    ours.append(folder, "(\\Answered later) ", "Subject: three\r\n\r\nx\r\n");
    let mut smtp = server.exchange();
    smtp.expect("EHLO other.example", 250);
    smtp.deliver("a@other.example", &["ann@example.test"], "Subject: four\n\nx\n");
    let validity = select(&mut ours, "INBOX");
    assert!(appended.contains(&format!("[APPENDUID {validity} 1]")), "{appended}");

    let mut dovecot = Dovecot::start(&site, &user);
    let theirs = &mut dovecot.imap;
    assert_eq!(select(theirs, "INBOX"), validity);
    let sorted = |mut rows: Vec<String>| {
        rows.sort();
        rows
    };
    for command in [
        "UID FETCH 1:* (UID INTERNALDATE RFC822.SIZE)",
        "UID FETCH 1:* (UID ENVELOPE)",
        "UID FETCH 1:* (UID BODY)",
        "UID FETCH 1:* (UID BODYSTRUCTURE)",
        "UID FETCH 1:* (UID BODY.PEEK[])",
        "UID FETCH 1 (UID BODY.PEEK[3.HEADER] BODY.PEEK[3.TEXT] BODY.PEEK[2.MIME] BODY.PEEK[1]<2.3>)",
        "UID FETCH 1 (UID BODY.PEEK[HEADER.FIELDS.NOT (FROM TO)])",
        "UID SEARCH KEYWORD work",
        "UID SEARCH OR SUBJECT \"four\" FLAGGED",
        "UID SEARCH SENTBEFORE 2-Feb-2024 BODY \"inner\"",
        "UID SEARCH BEFORE 1-Jan-2025",
        "SEARCH NOT SEEN LARGER 1",
    ] {
        assert_eq!(sorted(ours.ok(command)), sorted(theirs.ok(command)), "{command}");
    }
    assert_eq!(flags(&mut ours), flags(theirs));
    let names = |rows: Vec<String>| {
        let mut names: Vec<String> =
            rows.iter().map(|row| row.rsplit(' ').next().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(ours.ok("LSUB \"\" *")), names(theirs.ok("LSUB \"\" *")));
    for mailbox in [folder, "Sent"] {
        let command = format!("STATUS {mailbox} (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)");
        let words = |rows: Vec<String>| rows[0].rsplit_once('(').unwrap().1.to_owned();
        assert_eq!(words(ours.ok(&command)), words(theirs.ok(&command)), "{mailbox}");
    }

    // Each sees what the other does.
    let idle = ours.idle();
    theirs.ok("UID STORE 2 +FLAGS (\\Answered theirs)");
    ours.hear("* 2 FETCH");
    let end = theirs.append("INBOX", "", "Subject: five\r\n\r\nx\r\n");
    assert!(end.contains(&format!("[APPENDUID {validity} 4]")), "{end}");
    ours.hear("* 4 EXISTS");
    theirs.ok("UID STORE 3 +FLAGS (\\Deleted)");
    theirs.ok("EXPUNGE");
    ours.hear("* 3 EXPUNGE");
    ours.done(&idle);
    ours.ok("UID STORE 4 +FLAGS (\\Flagged ours theirs)");
    let (_, end) = ours.run("UID MOVE 1 Sent");
    assert!(end.starts_with("OK"), "{end}");
    let end = ours.append("INBOX", "", "Subject: six\r\n\r\nx\r\n");
    assert!(end.contains(&format!("[APPENDUID {validity} 5]")), "{end}");
    eventually("the same view", || {
        theirs.ok("NOOP");
        ours.ok("NOOP");
        (flags(&mut ours) == flags(theirs)).then_some(())
    });
    assert_eq!(flags(theirs).into_keys().collect::<Vec<_>>(), [2, 4, 5]);
    assert!(flags(theirs)[&4].contains(&"ours".to_owned()), "{:?}", flags(theirs));
}

#[test]
#[ignore = "needs dovecot-imapd"]
fn dovecot_and_we_write_at_the_same_time() {
    const EACH: usize = 40;
    let (site, user) = Dovecot::site();
    let server = Server::start(&site);
    let mut ours = server.imap("ann");
    ours.append("INBOX", "", "Subject: first\r\n\r\nx\r\n");
    let validity = select(&mut ours, "INBOX");
    let mut dovecot = Dovecot::start(&site, &user);
    assert_eq!(select(&mut dovecot.imap, "INBOX"), validity);
    let write = |imap: &mut Imap, who: &str| -> Vec<(u32, String)> {
        let one = |number| {
            let subject = format!("{who} {number}");
            let end = imap.append("INBOX", "", &format!("Subject: {subject}\r\n\r\nx\r\n"));
            let uid = end.rsplit_once(']').unwrap().0.rsplit_once(' ').unwrap().1.parse().unwrap();
            imap.ok(&format!("UID STORE {uid} +FLAGS (\\Seen {who})"));
            if number % 4 == 0 {
                imap.ok(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"));
                imap.ok(&format!("UID EXPUNGE {uid}"));
                return None;
            }
            Some((uid, subject))
        };
        (0..EACH).filter_map(one).collect()
    };
    let (mine, yours) = std::thread::scope(|scope| {
        let mine = scope.spawn(|| write(&mut ours, "ours"));
        let yours = scope.spawn(|| write(&mut dovecot.imap, "theirs"));
        (mine.join().unwrap(), yours.join().unwrap())
    });
    let mut expected: BTreeMap<u32, String> = [(1, "first".to_owned())].into();
    for (uid, subject) in mine.into_iter().chain(yours) {
        assert!(expected.insert(uid, subject).is_none(), "UID {uid} was given out twice");
    }
    let seen = |imap: &mut Imap| -> BTreeMap<u32, String> {
        let rows = imap.ok("UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])");
        let row = |row: &String| {
            let (_, uid) = row.split_once("UID ")?;
            let uid = uid.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()?;
            let subject = row.lines().find_map(|line| line.strip_prefix("Subject: "))?;
            Some((uid, subject.trim().to_owned()))
        };
        rows.iter().filter_map(row).collect()
    };
    let theirs = &mut dovecot.imap;
    eventually("the same view", || {
        theirs.ok("NOOP");
        ours.ok("NOOP");
        (flags(&mut ours) == flags(theirs)).then_some(())
    });
    assert_eq!(seen(&mut ours), expected);
    assert_eq!(seen(theirs), expected);
    assert!(flags(theirs).iter().skip(1).all(|(_, flags)| flags.len() == 2), "{:?}", flags(theirs));
}

/// The mod-sequences that are reserved, as the uidlist has them, and how many records it has.
fn reserved(site: &Site) -> (u64, usize) {
    let list = std::fs::read_to_string(site.maildir("ann").join("dovecot-uidlist")).unwrap();
    let (header, records) = list.split_once('\n').unwrap();
    let key = header.split(' ').find_map(|word| word.strip_prefix('M')).expect("a key of ours");
    (key.parse().unwrap(), records.lines().count())
}

#[test]
#[ignore = "needs dovecot-imapd"]
fn dovecot_keeps_the_mod_sequences_that_we_have_reserved() {
    let (site, user) = Dovecot::site();
    let mut server = Server::start(&site);
    let mut ours = server.imap("ann");
    for number in 0..50 {
        ours.append("INBOX", "(\\Seen) ", &format!("Subject: {number}\r\n\r\nx\r\n"));
    }
    select(&mut ours, "INBOX");
    let (limit, records) = reserved(&site);
    assert!(limit > 1_700_000_000 << 20 && records == 50);
    {
        let mut dovecot = Dovecot::start(&site, &user);
        let theirs = &mut dovecot.imap;
        select(theirs, "INBOX");
        theirs.ok("STORE 1:45 +FLAGS.SILENT (\\Deleted)");
        theirs.ok("EXPUNGE");
        // Of so few that are left Dovecot writes the file anew.
        select(theirs, "Sent");
        theirs.append("INBOX", "", "Subject: one more\r\n\r\nx\r\n");
        select(theirs, "INBOX");
    }
    let after = reserved(&site);
    assert!(after.0 == limit && after.1 < 20, "{after:?}");
    // A new process without an index begins above.
    server.stop();
    let _ = std::fs::remove_file(site.maildir("ann").join("postier.index"));
    server = Server::start(&site);
    select(&mut server.imap("ann"), "INBOX");
    assert!(reserved(&site).0 > limit);
}

/// Runs a script of `doveadm` calls for ann, with the configuration of this test and her name in it.
fn doveadm(site: &Site, user: &Identity, script: &str) {
    let doveadm = format!("doveadm -c {} ", site.path("dovecot.conf").display());
    let script = script.replace("doveadm ", &doveadm).replace("-u 'ann@example.test' ", "");
    let mut shell = std::process::Command::new("sh");
    let done =
        shell.args(["-c", &script]).env("USER", &user.name).env("HOME", site.path("")).output().unwrap();
    assert!(done.status.success(), "{}{script}", String::from_utf8_lossy(&done.stderr));
}

#[test]
#[ignore = "needs dovecot-imapd"]
fn the_way_back_to_dovecot_lowers_no_mod_sequence() {
    let (site, user) = Dovecot::site();
    let server = Server::start(&site);
    let mut ours = server.imap("ann");
    let folder = "\"Caf&AOk-.it's\"";
    ours.ok(&format!("CREATE {folder}"));
    let highest = |imap: &mut Imap, name: &str| {
        let selected = imap.ok(&format!("SELECT {name}"));
        let highest = selected.iter().find_map(|line| line.split_once("HIGHESTMODSEQ ")).unwrap().1;
        highest.split(']').next().unwrap().parse::<u64>().unwrap()
    };
    let mut told = |name| {
        ours.append(name, "", "Subject: one\r\n\r\nx\r\n");
        highest(&mut ours, name)
    };
    let told = ["INBOX", folder].map(|name| (name, told(name)));
    // It runs: what is reserved is on disk at any time.
    let script =
        postier().args(["user", "leave", "ann@example.test", "--config"]).arg(site.config()).output();
    let script = String::from_utf8(script.unwrap().stdout).unwrap();
    server.stop();
    Dovecot::command(&site, &user);
    doveadm(&site, &user, &script);
    let mut dovecot = Dovecot::start(&site, &user);
    for (name, told) in told {
        let now = highest(&mut dovecot.imap, name);
        assert!(now > told, "{name}: {now} after {told}");
    }
    // And forth again: what Dovecot has told meanwhile is not told for other changes.
    let told = told.map(|(name, _)| {
        select(&mut dovecot.imap, name);
        for flag in ["\\Seen", "\\Flagged", "dovecots"] {
            dovecot.imap.ok(&format!("STORE 1 +FLAGS ({flag})"));
        }
        (name, highest(&mut dovecot.imap, name))
    });
    drop(dovecot);
    let server = Server::start(&site);
    let mut ours = server.imap("ann");
    for (name, told) in told {
        let now = highest(&mut ours, name);
        assert!(now >= told, "{name}: {now} after Dovecot's {told}");
    }
    server.stop();
}

/// It stands in a key of the uidlist that Dovecot does not know.
#[test]
#[ignore = "needs dovecot-imapd"]
fn dovecot_keeps_when_a_copy_was_saved() {
    let (site, user) = Dovecot::site();
    let server = Server::start(&site);
    let mut ours = server.imap("ann");
    ours.append("INBOX", "", "Subject: one\r\n\r\nx\r\n");
    ours.ok("CREATE there");
    select(&mut ours, "INBOX");
    ours.ok("COPY 1 there");
    server.stop();
    let list = || std::fs::read_to_string(site.maildir("ann").join(".there/dovecot-uidlist")).unwrap();
    let before = list();
    let record = before.lines().find(|line| line.starts_with("1 T")).unwrap();
    Dovecot::command(&site, &user);
    doveadm(&site, &user, "doveadm mailbox update -u 'ann@example.test' --min-next-uid 1000 there");
    let after = list();
    assert!(after.lines().next().unwrap().contains(" N1000 "), "it is not written anew: {after}");
    assert!(after.lines().any(|line| line == record), "{record} is not in {after}");
}
