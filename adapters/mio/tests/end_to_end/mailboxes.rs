//! Reading mail: what clients see, what stays over a restart, what other programs do to the Maildir meanwhile.

use std::fs;

use crate::harness::{Imap, Server, Site, eventually, mail_in};

/// A mail from outside, in one go.
fn deliver(server: &Server, to: &str, message: &str) {
    let mut smtp = server.exchange();
    smtp.expect("EHLO other.example", 250);
    smtp.deliver("a@other.example", &[to], message);
    smtp.expect("QUIT", 221);
}

/// The UIDs and flags of the selected mailbox, as FETCH tells them.
fn uids_and_flags(imap: &mut Imap) -> Vec<(u32, String)> {
    let rows = imap.ok("UID FETCH 1:* (FLAGS)");
    let mut found: Vec<_> = rows
        .iter()
        .filter(|row| row.contains(" FETCH ("))
        .map(|row| {
            let (_, uid) = row.split_once("UID ").unwrap();
            let uid = uid.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
            let (_, flags) = row.split_once("FLAGS (").unwrap();
            let mut flags: Vec<&str> = flags.split_once(')').unwrap().0.split_whitespace().collect();
            flags.retain(|flag| *flag != "\\Recent");
            flags.sort_unstable();
            (uid, flags.join(" "))
        })
        .collect();
    found.sort();
    found
}

/// `UIDVALIDITY 5` and the like from the responses of SELECT.
fn code(selected: &[String], name: &str) -> String {
    let found = selected.iter().find_map(|line| line.split_once(&format!("[{name} ")));
    found.unwrap_or_else(|| panic!("no {name} in {selected:?}")).1.split_once(']').unwrap().0.to_owned()
}

#[test]
fn passwords_go_over_tls_only() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut imap = server.imap_greeted("imap");
    assert!(imap.greeting().starts_with("* OK [CAPABILITY IMAP4rev1 "), "{}", imap.greeting());
    for word in ["STARTTLS", "LOGINDISABLED"] {
        assert!(imap.greeting().contains(word), "{}", imap.greeting());
    }
    assert!(!imap.greeting().contains("AUTH=PLAIN"), "{}", imap.greeting());
    assert!(imap.refused("LOGIN ann sesame-4711").contains("[PRIVACYREQUIRED]"));
    imap.start_tls();
    let offer = imap.one("CAPABILITY", "CAPABILITY ");
    assert!(offer.contains("AUTH=PLAIN") && !offer.contains("LOGINDISABLED") && !offer.contains("STARTTLS"));
    assert!(imap.refused("LOGIN ann wrong").contains("[AUTHENTICATIONFAILED]"));
    assert!(imap.refused("SELECT INBOX").starts_with("BAD"));
    let (_, end) = imap.run("LOGIN \"Ann@example.test\" {11+}\r\nsesame-4711");
    assert!(end.starts_with("OK [CAPABILITY "), "{end}");
    imap.ok("SELECT INBOX");
    imap.ok("LOGOUT");
    assert!(imap.response().is_none());
}

#[test]
fn uids_and_flags_survive_a_restart() {
    let site = Site::new();
    let server = Server::start(&site);
    for number in 1..=5 {
        deliver(&server, "ann@example.test", &format!("Subject: number {number}\n\nx\n"));
    }
    let mut imap = server.imap("ann");
    let selected = imap.ok("SELECT INBOX");
    assert!(
        selected.contains(&"5 EXISTS".to_owned()) && selected.contains(&"5 RECENT".to_owned()),
        "{selected:?}"
    );
    let validity = code(&selected, "UIDVALIDITY");
    imap.ok("STORE 1 +FLAGS (\\Seen)");
    imap.ok("STORE 2:3 FLAGS (\\Flagged $Forwarded)");
    imap.ok("STORE 4 +FLAGS.SILENT (\\Deleted)");
    let appended =
        imap.append("INBOX", "(\\Draft later) \"24-Dec-2025 18:00:00 +0100\" ", "Subject: six\r\n\r\nx\r\n");
    assert!(appended.contains(&format!("[APPENDUID {validity} 6]")), "{appended}");
    imap.ok("EXPUNGE");
    let before = uids_and_flags(&mut imap);
    assert_eq!(before.len(), 5);
    assert_eq!(before[1], (2, "$Forwarded \\Flagged".into()));
    assert_eq!(before[4], (6, "\\Draft later".into()));
    let date = imap.one("UID FETCH 6 INTERNALDATE", "5 FETCH");
    server.stop();

    let server = Server::start(&site);
    let mut imap = server.imap("ann");
    let selected = imap.ok("SELECT INBOX");
    assert_eq!(code(&selected, "UIDVALIDITY"), validity);
    assert_eq!(code(&selected, "UIDNEXT"), "7");
    assert!(selected.contains(&"0 RECENT".to_owned()), "{selected:?}");
    assert_eq!(uids_and_flags(&mut imap), before);
    assert_eq!(imap.one("UID FETCH 6 INTERNALDATE", "5 FETCH"), date);
    assert!(date.contains("\"24-Dec-2025 17:00:00 +0000\""), "{date}");
    deliver(&server, "ann@example.test", "Subject: seven\n\nx\n");
    imap.ok("NOOP");
    assert_eq!(uids_and_flags(&mut imap).last().unwrap().0, 7);
}

#[test]
fn what_another_program_does_to_the_maildir_shows_up_in_idle() {
    let site = Site::new();
    let server = Server::start(&site);
    deliver(&server, "ann@example.test", "Subject: one\n\nx\n");
    let mut imap = server.imap("ann");
    imap.ok("SELECT INBOX");
    let idle = imap.idle();
    let inbox = site.maildir("ann");
    fs::write(inbox.join("tmp/1700000000.1.other"), "Subject: by hand\n\nx\n").unwrap();
    fs::rename(inbox.join("tmp/1700000000.1.other"), inbox.join("new/1700000000.1.other")).unwrap();
    imap.hear("* 2 EXISTS");
    let [first] =
        &*mail_in(&inbox).into_iter().filter(|mail| mail.text.contains(": one")).collect::<Vec<_>>()
    else {
        panic!("{:?}", mail_in(&inbox))
    };
    assert!(first.path.ends_with(format!("cur/{}", first.name())), "{first:?}");
    let (base, _) = first.name().split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    fs::rename(&first.path, inbox.join("cur").join(format!("{base}:2,FS"))).unwrap();
    imap.hear("* 1 FETCH (FLAGS (\\Flagged \\Seen");
    fs::remove_file(inbox.join("cur").join(format!("{base}:2,FS"))).unwrap();
    imap.hear("* 1 EXPUNGE");
    imap.done(&idle);
    assert_eq!(imap.ok("UID SEARCH ALL"), ["SEARCH 2"]);
    let text = imap.one("FETCH 1 BODY[]", "1 FETCH");
    assert!(text.contains("Subject: by hand\r\n\r\nx\r\n"), "{text}");
}

#[test]
fn two_clients_see_each_other() {
    let site = Site::new();
    let server = Server::start(&site);
    let (mut phone, mut desk) = (server.imap("ann"), server.imap("ann@example.test"));
    phone.ok("SELECT INBOX");
    let idle = phone.idle();
    deliver(&server, "ann@example.test", "Subject: one\n\nx\n");
    phone.hear("* 1 EXISTS");
    desk.ok("SELECT INBOX");
    desk.ok("STORE 1 +FLAGS (\\Answered)");
    phone.hear("* 1 FETCH (FLAGS (\\Answered");
    desk.append("INBOX", "", "Subject: two\r\n\r\nx\r\n");
    phone.hear("* 2 EXISTS");
    desk.ok("MOVE 1 Archive");
    phone.hear("* 1 EXPUNGE");
    phone.done(&idle);
    assert_eq!(phone.ok("SEARCH ALL"), ["SEARCH 1"]);
}

#[test]
fn folders_are_what_other_programs_expect() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut imap = server.imap("bob");
    let list = imap.ok("LIST \"\" \"*\"");
    for (name, attribute) in [
        ("Sent", "\\Sent"),
        ("Drafts", "\\Drafts"),
        ("Junk", "\\Junk"),
        ("Trash", "\\Trash"),
        ("Archive", "\\Archive"),
    ] {
        let found =
            list.iter().find(|line| line.ends_with(name)).unwrap_or_else(|| panic!("{name}: {list:?}"));
        assert!(found.contains(attribute) && found.contains("\".\""), "{found}");
    }
    assert_eq!(imap.ok("LSUB \"\" \"*\"").len(), 5);
    imap.ok("CREATE Lists.Gr&APwA3w-e");
    imap.ok("SUBSCRIBE Lists.Gr&APwA3w-e");
    assert!(site.maildir("bob").join(".Lists.Gr&APwA3w-e/maildirfolder").is_file());
    let list = imap.ok("LIST \"\" \"Lists*\"");
    assert!(list.iter().any(|line| line.contains("\\HasChildren") && line.ends_with(" Lists")), "{list:?}");
    imap.append("Lists.Gr&APwA3w-e", "(\\Seen) ", "Subject: x\r\n\r\nx\r\n");
    imap.ok("RENAME Lists.Gr&APwA3w-e Old");
    let status = imap.one("STATUS Old (MESSAGES UNSEEN UIDNEXT RECENT UIDVALIDITY)", "STATUS Old (");
    assert!(
        status.contains("MESSAGES 1") && status.contains("UNSEEN 0") && status.contains("UIDNEXT 2"),
        "{status}"
    );
    assert_eq!(mail_in(&site.maildir("bob").join(".Old")).len(), 1);
    let before = code(&imap.ok("SELECT Old"), "UIDVALIDITY");
    imap.ok("DELETE Old");
    imap.ok("CREATE Old");
    assert_ne!(code(&imap.ok("SELECT Old"), "UIDVALIDITY"), before);
    assert!(imap.refused("SELECT Nowhere").starts_with("NO"));
    assert!(imap.refused("APPEND Nowhere {5+}\r\nx\r\n\r\n").contains("[TRYCREATE]"));
    // Thunderbird sends a bare ampersand.
    imap.refused("CREATE this&that");
    assert!(imap.refused("DELETE INBOX").starts_with("NO"));
}

#[test]
fn annotations_and_uses_that_are_given_outlive_a_restart_and_save_dates_a_change_of_flags() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut imap = server.imap("bob");
    for word in [" METADATA ", " CREATE-SPECIAL-USE "] {
        assert!(imap.one("CAPABILITY", "CAPABILITY ").contains(word));
    }
    imap.ok("CREATE Boat");
    imap.ok("CREATE Gesendet (USE (\\Sent))");
    assert!(imap.refused("CREATE More (USE (\\Sent))").contains("[USEATTR]"));
    assert!(imap.refused("SELECT More").contains("[NONEXISTENT]"));
    imap.ok("SETMETADATA Boat (/private/comment {9+}\r\ntwo\r\nline /shared/vendor/x/y \"1\")");
    imap.ok("SETMETADATA Boat (/private/specialuse \"\\\\Archive\")");
    imap.ok("SETMETADATA \"\" (/private/vendor/x/theme \"dark\")");
    let (_, long) = imap.run(&format!("SETMETADATA Boat (/private/a {{40000+}}\r\n{})", "x".repeat(40_000)));
    assert!(long.contains("[METADATA MAXSIZE 32768]"), "{long}");
    imap.append("Boat", "() ", "Subject: x\r\n\r\nx\r\n");
    imap.ok("SELECT Boat");
    let saved = |imap: &mut Imap| imap.one("FETCH 1 (SAVEDATE)", "1 FETCH (SAVEDATE ");
    let before = saved(&mut imap);
    imap.ok("RENAME Boat Ship");
    server.stop();
    // So a ctime would be another one.
    std::thread::sleep(std::time::Duration::from_millis(1100));

    let server = Server::start(&site);
    let mut imap = server.imap("bob");
    let got = imap.ok("GETMETADATA (DEPTH infinity) Ship (/private /shared)").join("\n");
    for part in ["METADATA Ship (", "/private/comment {9}", "two\r\nline", "/shared/vendor/x/y \"1\""] {
        assert!(got.contains(part), "{got}");
    }
    let server_wide = imap.one("GETMETADATA \"\" /private/vendor/x/theme", "METADATA ");
    assert!(server_wide.ends_with("\"\" (/private/vendor/x/theme \"dark\")"), "{server_wide}");
    let listed = imap.ok("LIST (SPECIAL-USE) \"\" *");
    let use_of =
        |name: &str| listed.iter().find(|line| line.ends_with(name)).map(String::as_str).unwrap_or("");
    assert!(use_of(" Gesendet").contains("\\Sent") && use_of(" Ship").contains("\\Archive"), "{listed:?}");
    assert_eq!((use_of(" Sent"), use_of(" Archive")), ("", ""));
    imap.ok("SELECT Ship");
    imap.ok("STORE 1 +FLAGS (\\Seen \\Flagged)");
    assert_eq!(saved(&mut imap), before);
    imap.ok("UNSELECT");
    imap.ok("DELETE Ship");
    imap.ok("CREATE Ship");
    assert!(imap.one("GETMETADATA Ship /private/comment", "METADATA ").ends_with("(/private/comment NIL)"));
    assert!(imap.ok("LIST (SPECIAL-USE) \"\" *").iter().any(|line| line.ends_with(" Archive")));
}

#[test]
fn no_name_leads_out_of_the_maildir() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut imap = server.imap("bob");
    let (maildir, outside) = (site.maildir("bob"), site.maildir("bob").parent().unwrap().to_owned());
    let names = |dir: &std::path::Path| {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (before, before_outside) = (names(&maildir), names(&outside));
    let (long, deep) = ("x".repeat(300), vec!["a"; 40].join("."));
    let bad =
        ["..", ".", "../ann", "a/../../ann", "a/b", "/etc", ".a", "a..b", "a.", "\u{1}", "&AAE-", "&AAAALg-"];
    for name in bad.into_iter().chain([long.as_str(), deep.as_str()]) {
        for command in ["CREATE", "SELECT", "DELETE", "SUBSCRIBE", "RENAME INBOX"] {
            // CREATE of a name with a delimiter at its end is CREATE of the name.
            if !(command == "CREATE" && name == "a.") {
                imap.refused(&format!("{command} \"{name}\""));
            }
        }
        imap.refused(&format!("STATUS \"{name}\" (MESSAGES)"));
        imap.refused(&format!("APPEND \"{name}\" {{3+}}\r\nx\r\n"));
        imap.ok("NOOP");
    }
    assert_eq!((names(&maildir), names(&outside)), (before, before_outside));
}

#[test]
fn a_mailbox_that_is_renamed_stays_selected() {
    let site = Site::new();
    let server = Server::start(&site);
    let (mut imap, mut other) = (server.imap("ann"), server.imap("ann"));
    imap.ok("CREATE One");
    imap.append("One", "", "Subject: x\r\n\r\nx\r\n");
    imap.ok("SELECT One");
    other.ok("SELECT One");
    imap.ok("RENAME One Two.Three");
    assert!(imap.ok("NOOP").is_empty() && other.ok("NOOP").is_empty());
    imap.ok("STORE 1 +FLAGS (\\Seen)");
    assert!(imap.one("FETCH 1 BODY.PEEK[]", "1 FETCH").contains("Subject: x"));
    other.ok("NOOP");
    assert_eq!(uids_and_flags(&mut other), [(1, "\\Seen".to_owned())]);
    // What comes in under the new name is told.
    other.append("Two.Three", "", "Subject: y\r\n\r\ny\r\n");
    assert!(imap.ok("NOOP").contains(&"2 EXISTS".to_owned()));

    imap.append("INBOX", "", "Subject: z\r\n\r\nz\r\n");
    imap.ok("SELECT INBOX");
    imap.ok("RENAME INBOX Old");
    eventually("the messages that moved are told", || {
        imap.ok("NOOP").contains(&"1 EXPUNGE".to_owned()).then_some(())
    });
    assert_eq!(uids_and_flags(&mut imap), []);
    imap.ok("SELECT Old");
    assert_eq!(uids_and_flags(&mut imap).len(), 1);
    // A mailbox below INBOX is that in any case.
    imap.ok("CREATE inbox.below");
    assert!(imap.ok("LIST \"\" INBOX.%").iter().any(|line| line.ends_with(" INBOX.below")));
}

#[test]
fn copies_and_moves_keep_what_they_carry() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut imap = server.imap("ann");
    for number in 1..=4 {
        imap.append("INBOX", "(\\Flagged work) ", &format!("Subject: number {number}\r\n\r\nx\r\n"));
    }
    imap.ok("SELECT INBOX");
    let (_, end) = imap.run("UID COPY 1:2 Archive");
    assert!(end.contains("[COPYUID ") && end.contains(" 1:2 1:2]"), "{end}");
    let (untagged, end) = imap.run("UID MOVE 3,4 Archive");
    assert!(end.starts_with("OK"), "{end}");
    assert!(untagged.iter().any(|line| line.contains(" 3:4 3:4]")), "{untagged:?}");
    assert_eq!(untagged.iter().filter(|line| line.ends_with(" EXPUNGE")).count(), 2, "{untagged:?}");
    // RFC 3501 §6.4.7: copies are recent, flags or not.
    let selected = imap.ok("SELECT Archive");
    assert!(selected.contains(&"4 RECENT".to_owned()), "{selected:?}");
    let flags = uids_and_flags(&mut imap);
    assert_eq!(flags.len(), 4);
    assert!(flags.iter().all(|(_, flags)| flags == "\\Flagged work"), "{flags:?}");
    assert_eq!(imap.ok("UID SEARCH KEYWORD work SUBJECT \"number 3\""), ["SEARCH 3"]);
    // Of what is gone there is nothing to move.
    imap.ok("UID MOVE 99 INBOX");
}

#[test]
fn a_long_message_comes_back_octet_for_octet() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut text = String::from("Subject: long\r\nContent-Type: text/plain\r\n\r\n");
    for number in 0..200_000 {
        text.push_str(&format!("{number:08} .dots. and the like\r\n"));
    }
    let mut imap = server.imap("ann");
    imap.append("INBOX", "", &text);
    deliver(&server, "ann@example.test", &text.replace("\r\n", "\n"));
    imap.ok("SELECT INBOX");
    for message in 1..=2 {
        let whole = imap.one(&format!("FETCH {message} BODY.PEEK[TEXT]"), &format!("{message} FETCH"));
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(whole.contains(body), "{}", whole.len());
    }
    // In parts, as phones ask for it.
    let (mut parts, size) = (String::new(), text.len());
    for offset in (0..size).step_by(1 << 20) {
        let part = imap.one(&format!("FETCH 1 BODY.PEEK[]<{offset}.{}>", 1 << 20), "1 FETCH");
        let (_, part) = part.split_once("}\r\n").unwrap();
        parts.push_str(part.strip_suffix(')').unwrap());
    }
    assert_eq!(parts.len(), size);
    assert!(parts == text);
}

#[test]
fn commands_around_idle_and_in_one_packet_are_all_answered() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut imap = server.imap("ann");
    imap.append("INBOX", "", "Subject: x\r\n\r\nx\r\n");
    imap.wire().write(
        b"a1 SELECT INBOX\r\na2 IDLE\r\nDONE\r\na3 FETCH 1 FLAGS\r\na4 IDLE\r\nDONE\r\na5 STORE 1 +FLAGS (\\Seen)\r\n\
          a6 UID SEARCH SEEN\r\na7 NONSENSE\r\na8 NOOP\r\n",
    );
    let mut ends = Vec::new();
    while ends.last().is_none_or(|end: &String| !end.starts_with("a8 ")) {
        let response = imap.response().expect("an answer to each");
        if response.starts_with('a') {
            ends.push(response);
        }
    }
    let ends: Vec<&str> = ends.iter().map(|end| end.get(..5).unwrap()).collect();
    assert_eq!(ends, ["a1 OK", "a2 OK", "a3 OK", "a4 OK", "a5 OK", "a6 OK", "a7 BA", "a8 OK"]);
}

#[test]
fn locks_and_torn_lists_left_by_a_crash_block_nobody() {
    let site = Site::new();
    let server = Server::start(&site);
    for number in 1..=3 {
        deliver(&server, "ann@example.test", &format!("Subject: number {number}\n\nx\n"));
    }
    let mut imap = server.imap("ann");
    imap.ok("SELECT INBOX");
    imap.ok("STORE 1:3 +FLAGS (\\Seen)");
    let before = uids_and_flags(&mut imap);
    drop(imap);
    server.kill();
    let inbox = site.maildir("ann");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    // No process has this number: it is above what Linux gives out.
    fs::write(inbox.join("dovecot-uidlist.lock"), format!("{}:{}", 1 << 23, host.trim())).unwrap();
    let list = fs::read_to_string(inbox.join("dovecot-uidlist")).unwrap();
    fs::write(inbox.join("dovecot-uidlist"), list.clone() + "4 :17000").unwrap();
    let server = Server::start(&site);
    let mut imap = server.imap("ann");
    imap.ok("SELECT INBOX");
    assert_eq!(uids_and_flags(&mut imap), before);
    deliver(&server, "ann@example.test", "Subject: number 4\n\nx\n");
    eventually("the fourth mail", || {
        imap.ok("NOOP");
        (uids_and_flags(&mut imap).len() == 4).then_some(())
    });
    imap.ok("STORE 4 +FLAGS (\\Flagged)");
    let after = uids_and_flags(&mut imap);
    assert_eq!(after[..3], before[..]);
    assert!(after[3].0 >= 4, "{after:?}");
}

#[test]
fn a_search_in_many_mailboxes_names_each_that_has_something() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut imap = server.imap("ann");
    for name in ["Lists", "Lists.imap", "Boat"] {
        imap.ok(&format!("CREATE {name}"));
    }
    let about = |what: &str| format!("Subject: =?utf-8?q?{what}?=\r\n\r\nx\r\n");
    imap.append("INBOX", "", &about("Gr=C3=BCn"));
    imap.append("Lists", "", &about("gelb"));
    imap.append("Lists", "", &about("gr=C3=BCn"));
    imap.append("Lists.imap", "", &about("gr=C3=BCn"));
    let mut searched = |command: &str| -> Vec<String> {
        let found = imap.ok(command).into_iter().filter_map(|line| {
            let (_, mailbox) = line.strip_prefix("ESEARCH (TAG ")?.split_once(" MAILBOX ")?;
            let (name, rest) = mailbox.split_once(" UIDVALIDITY ")?;
            Some(format!("{name}: {}", rest.split_once(") UID ")?.1))
        });
        found.collect()
    };
    let subject = "CHARSET UTF-7 SUBJECT \"gr+APw-n\"";
    assert_eq!(
        searched(&format!("ESEARCH IN (personal) RETURN (MIN COUNT) {subject}")),
        ["INBOX: MIN 1 COUNT 1", "Lists: MIN 2 COUNT 1", "Lists.imap: MIN 1 COUNT 1"]
    );
    assert_eq!(searched(&format!("ESEARCH IN (mailboxes (Lists Nowhere) inboxes) {subject}")).len(), 2);
    assert_eq!(searched("ESEARCH IN (subtree-one Lists) SUBJECT gelb"), ["Lists: ALL 1"]);
    // The annotations of all of them in one LIST (RFC 9590).
    imap.ok("SETMETADATA Lists (/private/comment \"noisy\")");
    let listed = imap.ok("LIST \"\" \"*\" RETURN (METADATA (/private/comment))");
    let annotated: Vec<_> = listed.iter().filter(|line| line.starts_with("METADATA ")).collect();
    assert!(
        annotated.iter().any(|line| *line == "METADATA Lists (/private/comment \"noisy\")"),
        "{listed:?}"
    );
    assert!(annotated.iter().any(|line| *line == "METADATA Boat (/private/comment NIL)"), "{listed:?}");
}
