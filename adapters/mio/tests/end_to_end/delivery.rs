//! Mail from other servers: who gets it, what is refused, what is on the disk afterwards.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::harness::{Server, Site, eventually, mail_in};

/// Who has a mail with this text.
fn holders<'a>(site: &Site, users: &[&'a str], text: &str) -> Vec<&'a str> {
    let has = |user: &&&str| mail_in(&site.maildir(user)).iter().any(|mail| mail.text.contains(text));
    users.iter().filter(has).copied().collect()
}

#[test]
fn port_25_takes_mail_for_its_own_people_and_nobody_else() {
    let site = Site::new();
    site.add("aliases", "team: ann, bob\nsales@second.test: bob\n@second.test: ann\n");
    let server = Server::start(&site);
    let mut smtp = server.exchange();
    let hello = smtp.expect("EHLO other.example", 250);
    assert!(hello.has("STARTTLS") && !hello.has("AUTH"), "{hello:?}");
    let deliveries: [(&str, &[&str]); 9] = [
        ("ann@example.test", &["ann"]),
        ("BOB@Example.TEST", &["bob"]),
        ("ann+lists@example.test", &["ann"]),
        ("postmaster", &["ann"]),
        ("PostMaster@second.test", &["ann"]),
        ("team@example.test", &["ann", "bob"]),
        ("sales@second.test", &["bob"]),
        ("anything@second.test", &["ann"]),
        ("\"bob\"@example.test", &["bob"]),
    ];
    for (number, (to, expected)) in deliveries.into_iter().enumerate() {
        let mark = format!("Subject: number {number}\n");
        smtp.deliver("a@other.example", &[to], &format!("{mark}\nx\n"));
        assert_eq!(holders(&site, &["ann", "bob"], &mark), expected, "{to}");
    }
    smtp.deliver("", &["ann@example.test"], "Subject: a report\n\nx\n");
    let anns = mail_in(&site.maildir("ann"));
    let report = anns.iter().find(|mail| mail.text.contains("Subject: a report")).unwrap();
    assert!(report.text.starts_with("Return-Path: <>\n"), "{}", report.text);

    let mut smtp = server.exchange();
    smtp.expect("EHLO other.example", 250);
    smtp.expect("MAIL FROM: <a@other.example>", 250);
    for to in [
        "you@elsewhere.example",
        "you%elsewhere.example@example.test",
        "elsewhere.example!you@example.test",
        "@example.test:you@elsewhere.example",
        "@elsewhere.example:you@example.test",
        "\"you@elsewhere.example\"@example.test",
        "\"you%elsewhere.example\"@example.test",
        "you@[192.0.2.1]",
        "ann@[127.0.0.1]",
        "ann@[IPv6:::1]",
        "ann@sub.example.test",
        "ann@example.test.elsewhere.example",
        "ann@example.test@elsewhere.example",
        "nobody@example.test",
        "you",
    ] {
        let reply = smtp.say(&format!("RCPT TO:<{to}>"));
        assert!((500..600).contains(&reply.code), "{to}: {reply:?}");
    }
    let reply = smtp.say("DATA");
    assert!((500..600).contains(&reply.code), "{reply:?}");
}

#[test]
fn nothing_said_before_tls_is_believed_after_it() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut smtp = server.exchange();
    smtp.expect("EHLO other.example", 250);
    smtp.wire().write(b"STARTTLS\r\nMAIL FROM:<evil@other.example>\r\n");
    let said = smtp.wire().read_to_end();
    assert!(said.starts_with("501 ") && said.lines().count() == 1, "{said}");

    let mut smtp = server.exchange();
    smtp.expect("EHLO other.example", 250);
    smtp.expect("MAIL FROM:<a@other.example>", 250);
    smtp.expect("RCPT TO:<ann@example.test>", 250);
    smtp.start_tls();
    smtp.expect("DATA", 503);
    smtp.expect("EHLO other.example", 250);
    smtp.deliver("a@other.example", &["ann@example.test"], "Subject: private\n\nx\n");
    assert!(
        mail_in(&site.maildir("ann"))[0].text.contains("with ESMTPS"),
        "{:?}",
        mail_in(&site.maildir("ann"))
    );

    let mut imap = server.imap_greeted("imap");
    imap.wire().write(b"a STARTTLS\r\nb NOOP\r\n");
    let said = imap.wire().read_to_end();
    assert!(!said.contains("b OK") && !said.contains("a OK"), "{said}");
}

#[test]
fn only_crlf_dot_crlf_ends_a_message() {
    for refuse in [false, true] {
        let section = if refuse { "[inbound]\nbare_newline = \"refuse\"\n" } else { "" };
        let site = Site::with(section);
        let server = Server::start(&site);
        let smuggled = "MAIL FROM:<evil@other.example>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nevil\r\n";
        for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n"] {
            let mut smtp = server.exchange();
            smtp.expect("EHLO other.example", 250);
            smtp.expect("MAIL FROM:<a@other.example>", 250);
            smtp.expect("RCPT TO:<ann@example.test>", 250);
            smtp.expect("DATA", 354);
            let reply = smtp.say(&format!("Subject: s\r\n\r\ntext{end}{smuggled}\r\n."));
            assert_eq!(reply.code, if refuse { 550 } else { 250 }, "{end:?}: {reply:?}");
            smtp.expect("NOOP", 250);
        }
        assert_eq!(mail_in(&site.maildir("ann")).len(), if refuse { 0 } else { 6 });
        assert!(mail_in(&site.maildir("bob")).is_empty());
    }
}

#[test]
fn a_whole_dialogue_may_come_in_one_packet() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut smtp = server.exchange();
    smtp.wire().write(
        b"EHLO other.example\r\nMAIL FROM:<a@other.example> SIZE=30 BODY=8BITMIME\r\nRCPT TO:<ann@example.test>\r\n\
          RCPT TO:<nobody@example.test>\r\nDATA\r\n",
    );
    let codes: Vec<u16> = (0..5).map(|_| smtp.reply().unwrap().code).collect();
    assert_eq!(codes, [250, 250, 250, 550, 354]);
    smtp.wire().write(
        b"Subject: one\r\n\r\n..\r\n.\r\nMAIL FROM:<a@other.example>\r\nRCPT TO:<bob@example.test>\r\n\
          BDAT 16\r\nSubject: two\r\n\r\nBDAT 5\r\n.\r\nx\nBDAT 0 LAST\r\nQUIT\r\n",
    );
    let codes: Vec<u16> = (0..7).map(|_| smtp.reply().unwrap().code).collect();
    assert_eq!(codes, [250, 250, 250, 250, 250, 250, 221]);
    assert!(smtp.reply().is_none());
    assert!(mail_in(&site.maildir("ann"))[0].text.ends_with("\n\n.\n"));
    assert!(mail_in(&site.maildir("bob"))[0].text.ends_with("\n\n.\nx\n"));
}

#[test]
fn two_hundred_recipients_are_one_body_on_disk() {
    let users: Vec<String> = (0..200).map(|number| format!("user{number}")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let site = Site::of(&names, "");
    let server = Server::start(&site);
    let mut smtp = server.exchange();
    smtp.expect("EHLO other.example", 250);
    let addresses: Vec<String> = users.iter().map(|user| format!("{user}@example.test")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    smtp.deliver("a@other.example", &addresses, "Subject: all\n\nx\n");
    let inodes: Vec<(u64, u64)> = users
        .iter()
        .map(|user| {
            let mail = mail_in(&site.maildir(user));
            assert_eq!(mail.len(), 1, "{user}");
            let facts = fs::metadata(&mail[0].path).unwrap();
            (facts.ino(), facts.nlink())
        })
        .collect();
    assert!(inodes.iter().all(|facts| *facts == (inodes[0].0, 200)), "{inodes:?}");
    // One of many changes nothing for the others.
    let mut imap = server.imap("user7");
    imap.ok("SELECT INBOX");
    imap.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    imap.ok("EXPUNGE");
    assert!(mail_in(&site.maildir("user7")).is_empty());
    assert_eq!(mail_in(&site.maildir("user8")).len(), 1);
}

#[test]
fn all_recipients_get_it_or_none() {
    let site = Site::new();
    let server = Server::start(&site);
    // A first mail makes the Maildirs.
    let mut smtp = server.exchange();
    smtp.expect("EHLO other.example", 250);
    smtp.deliver("a@other.example", &["ann@example.test", "bob@example.test"], "Subject: first\n\nx\n");
    // Not even root writes into a file that stands where a directory was.
    let tmp = site.maildir("bob").join("tmp");
    fs::remove_dir_all(&tmp).unwrap();
    fs::write(&tmp, "").unwrap();
    let reply =
        smtp.mail("a@other.example", &["ann@example.test", "bob@example.test"], "Subject: second\n\nx\n");
    assert_eq!(reply.code, 451, "{reply:?}");
    assert!(holders(&site, &["ann", "bob"], "Subject: second").is_empty());
    assert_eq!(fs::read_dir(site.maildir("ann").join("tmp")).unwrap().count(), 0);
    server.wait_for_log("not delivered");
    smtp.deliver("a@other.example", &["ann@example.test"], "Subject: third\n\nx\n");
    fs::remove_file(&tmp).unwrap();
    fs::create_dir(&tmp).unwrap();
    smtp.deliver("a@other.example", &["bob@example.test"], "Subject: fourth\n\nx\n");
}

#[test]
fn a_file_that_cannot_grow_is_no_mail() {
    let site = Site::new();
    let mut command = std::process::Command::new("/bin/sh");
    // What a full disk does to a write, without root: no file may be longer than 64 KiB.
    command.args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" serve --config \"$1\""]);
    command.arg(assert_cmd::cargo::cargo_bin("postier")).arg(site.config());
    let server = Server::spawn(&site, command);
    let mut smtp = server.exchange();
    smtp.expect("EHLO other.example", 250);
    let long = format!("Subject: long\n\n{}", "0123456789abcdef\n".repeat(20_000));
    let reply = smtp.mail("a@other.example", &["ann@example.test"], &long);
    assert!((451..=452).contains(&reply.code), "{reply:?}");
    assert!(mail_in(&site.maildir("ann")).is_empty());
    assert_eq!(fs::read_dir(site.maildir("ann").join("tmp")).map_or(0, Iterator::count), 0);
    smtp.deliver("a@other.example", &["ann@example.test"], "Subject: short\n\nx\n");
}

#[test]
#[ignore = "needs unshare and the right to mount"]
fn a_full_disk_is_said_so_and_nothing_is_half_written() {
    let site = Site::new();
    fs::create_dir_all(site.path("mail")).unwrap();
    let mut command = std::process::Command::new("unshare");
    command.args(["-rm", "/bin/sh", "-c"]);
    command.arg("mount -t tmpfs -o size=1m none \"$2\" && exec \"$0\" serve --config \"$1\"");
    command.arg(assert_cmd::cargo::cargo_bin("postier")).arg(site.config()).arg(site.path("mail"));
    let server = Server::spawn(&site, command);
    let inbox = format!("/proc/{}/root{}", server.pid(), site.maildir("ann").display());
    let mut smtp = server.exchange();
    smtp.expect("EHLO other.example", 250);
    smtp.deliver("a@other.example", &["ann@example.test"], "Subject: first\n\nx\n");
    let long = format!("Subject: long\n\n{}", "0123456789abcdef\n".repeat(100_000));
    let reply = smtp.mail("a@other.example", &["ann@example.test"], &long);
    assert_eq!(reply.code, 452, "{reply:?}");
    assert_eq!(mail_in(inbox.as_ref()).len(), 1);
    assert_eq!(fs::read_dir(format!("{inbox}/tmp")).unwrap().count(), 0);
    let mut imap = server.imap("ann");
    let tag = imap.begin(&format!("APPEND INBOX {{{}}}", long.len()));
    assert!(imap.response().unwrap().starts_with('+'));
    imap.wire().write(format!("{long}\r\n").as_bytes());
    let (_, end) = imap.finish(&tag);
    assert!(end.starts_with("NO "), "{end}");
    assert_eq!(fs::read_dir(format!("{inbox}/tmp")).unwrap().count(), 0);
    smtp.deliver("a@other.example", &["ann@example.test"], "Subject: second\n\nx\n");
    assert!(imap.ok("SELECT INBOX").contains(&"2 EXISTS".to_owned()));
}

#[test]
fn what_is_too_big_or_goes_in_circles_is_refused() {
    let site = Site::with("[limits]\nmessage_bytes = 65536\n");
    let server = Server::start(&site);
    let mut smtp = server.exchange();
    assert!(smtp.expect("EHLO other.example", 250).has("SIZE 65536"));
    smtp.expect("MAIL FROM:<a@other.example> SIZE=65537", 552);
    let long = format!("Subject: long\n\n{}", "0123456789abcdef\n".repeat(5_000));
    assert_eq!(smtp.mail("a@other.example", &["ann@example.test"], &long).code, 552);
    let circles = "Received: from here by there; 1 Jan 2026 00:00:00 +0000\n".repeat(101);
    let reply = smtp.mail("a@other.example", &["ann@example.test"], &format!("{circles}\nx\n"));
    assert_eq!(reply.code, 554, "{reply:?}");
    assert!(mail_in(&site.maildir("ann")).is_empty());
    smtp.deliver("a@other.example", &["ann@example.test"], "Subject: short\n\nx\n");
}

#[test]
fn a_client_that_goes_away_in_the_middle_leaves_nothing() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut smtp = server.exchange();
    smtp.expect("EHLO other.example", 250);
    smtp.deliver("a@other.example", &["ann@example.test"], "Subject: first\n\nx\n");
    smtp.expect("MAIL FROM:<a@other.example>", 250);
    smtp.expect("RCPT TO:<ann@example.test>", 250);
    smtp.expect("DATA", 354);
    let half = "half of a mail\r\n".repeat(20_000);
    server.after(
        |_| {
            smtp.wire().write(half.as_bytes());
            drop(smtp);
        },
        "\"disconnected\"",
    );
    let tmp = site.maildir("ann").join("tmp");
    eventually("an empty tmp", || (fs::read_dir(&tmp).unwrap().count() == 0).then_some(()));
    assert_eq!(mail_in(&site.maildir("ann")).len(), 1);
}

#[test]
fn strangers_to_the_protocol_are_shown_out() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut smtp = server.exchange();
    smtp.wire().write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let said = smtp.wire().read_to_end();
    assert!(said.starts_with("500 ") && said.lines().count() == 1, "{said}");

    let mut smtp = server.exchange();
    let mut codes = Vec::new();
    for _ in 0..50 {
        if smtp.wire().try_write(b"NONSENSE\r\n").is_err() {
            break;
        }
        let Some(reply) = smtp.reply() else { break };
        codes.push(reply.code);
    }
    assert!(codes.len() < 50 && codes.last() == Some(&421), "{codes:?}");
}
