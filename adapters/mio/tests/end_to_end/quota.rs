//! Accounts with a limit: mail that has no room is refused at RCPT, after DATA, at APPEND and COPY, and what makes room
//! helps at once. Dovecot on the same Maildir counts the same.

use crate::harness::{Dovecot, Imap, Server, Site, mail_in};

fn message(octets: usize) -> String {
    format!("Subject: x\n\n{}\n", "x".repeat(octets))
}

#[test]
fn a_full_mailbox_refuses_mail_until_there_is_room() {
    let site = Site::with("[quota]\nbytes = 4000\n");
    site.edit(
        "users",
        "bob@example.test:{PLAIN}sesame-4711",
        "bob@example.test:{PLAIN}sesame-4711::::::userdb_quota_rule=*:bytes=1M",
    );
    let server = Server::start(&site);
    let mut smtp = server.exchange();
    smtp.expect("EHLO elsewhere.example", 250);
    smtp.deliver("you@elsewhere.example", &["ann@example.test"], &message(1500));
    smtp.deliver("you@elsewhere.example", &["ann@example.test"], &message(1500));
    // A mail that never fits, one that does not fit now, and one that does.
    smtp.expect("MAIL FROM:<you@elsewhere.example> SIZE=5000", 250);
    assert!(smtp.expect("RCPT TO:<ann@example.test>", 552).has("5.2.2"));
    smtp.expect("RCPT TO:<bob@example.test>", 250);
    smtp.expect("RSET", 250);
    smtp.expect("MAIL FROM:<you@elsewhere.example> SIZE=2000", 250);
    assert!(smtp.expect("RCPT TO:<ann@example.test>", 452).has("4.2.2"));
    smtp.expect("RSET", 250);
    smtp.expect("MAIL FROM:<you@elsewhere.example> SIZE=100", 250);
    smtp.expect("RCPT TO:<ann@example.test>", 250);
    smtp.expect("RSET", 250);
    assert_eq!(mail_in(&site.maildir("ann")).len(), 2);

    let mut imap = server.imap("ann");
    imap.ok("SELECT INBOX");
    let refused = imap.refused("APPEND INBOX {2000}");
    assert!(refused.contains("[OVERQUOTA]"), "{refused}");
    let refused = imap.refused("COPY 1 Trash");
    assert!(refused.contains("[OVERQUOTA]"), "{refused}");
    // A move takes no room.
    imap.ok("MOVE 1 Trash");
    imap.ok("STORE 1 +FLAGS (\\Deleted)");
    imap.ok("EXPUNGE");
    imap.append("INBOX", "", &message(1500).replace('\n', "\r\n"));
    smtp.expect("MAIL FROM:<you@elsewhere.example> SIZE=2000", 250);
    smtp.expect("RCPT TO:<ann@example.test>", 452);
    server.stop();
}

#[test]
fn a_size_that_nobody_announced_is_checked_when_it_is_known() {
    let site = Site::with("[quota]\nbytes = 4000\n");
    let server = Server::start(&site);
    let mut smtp = server.exchange();
    smtp.expect("EHLO elsewhere.example", 250);
    let from = "you@elsewhere.example";
    assert_eq!(smtp.mail(from, &["ann@example.test"], &message(4000)).code, 552);
    smtp.deliver(from, &["ann@example.test"], &message(2000));
    let reply = smtp.mail(from, &["ann@example.test"], &message(2000));
    assert!(reply.code == 452 && reply.has("4.2.2"), "{reply:?}");
    // The same in chunks.
    smtp.expect(&format!("MAIL FROM:<{from}>"), 250);
    smtp.expect("RCPT TO:<ann@example.test>", 250);
    let text = message(2000).replace('\n', "\r\n");
    assert_eq!(smtp.say(&format!("BDAT {} LAST\r\n{}", text.len(), text.trim_end_matches("\r\n"))).code, 452);
    assert_eq!(mail_in(&site.maildir("ann")).len(), 1);
    // One of several who is full does not keep the others from it, and is refused from then on.
    smtp.deliver(from, &["ann@example.test", "bob@example.test"], &message(2000));
    assert_eq!((mail_in(&site.maildir("ann")).len(), mail_in(&site.maildir("bob")).len()), (2, 1));
    smtp.expect(&format!("MAIL FROM:<{from}>"), 250);
    smtp.expect("RCPT TO:<ann@example.test>", 452);
    smtp.expect("RCPT TO:<bob@example.test>", 250);
    server.stop();
}

/// A message for APPEND, as a literal that nobody waits for.
fn literal(octets: usize) -> String {
    let text = message(octets).replace('\n', "\r\n");
    format!("{{{}+}}\r\n{text}", text.len())
}

#[test]
fn all_messages_of_one_append_are_counted_and_what_replace_takes_away() {
    let site = Site::with("[quota]\nbytes = 3000\nmessages = 2\n");
    let server = Server::start(&site);
    let mut imap = server.imap("ann");
    imap.ok("SELECT INBOX");
    let root = "QUOTAROOT INBOX \"User quota\"";
    let quota = "QUOTA \"User quota\" (STORAGE 0 2 MESSAGE 0 2)";
    assert_eq!(imap.ok("GETQUOTAROOT INBOX"), [root, quota]);
    // RFC 3502: all or none. What CATENATE puts together is counted when it is whole.
    let (one, small) = (literal(1500), literal(10));
    for more in [
        format!("{one} {one}"),
        format!("{small} {small} {small}"),
        format!("CATENATE (TEXT {one} TEXT {one})"),
    ] {
        let refused = imap.refused(&format!("APPEND INBOX {more}"));
        assert!(refused.starts_with("NO [OVERQUOTA]"), "{refused}");
    }
    assert_eq!(imap.ok("STATUS INBOX (MESSAGES)"), ["STATUS INBOX (MESSAGES 0)"]);
    imap.ok(&format!("APPEND INBOX {one} {small}"));
    let refused = imap.refused(&format!("APPEND INBOX {small}"));
    assert!(refused.starts_with("NO [OVERQUOTA]"), "{refused}");
    // The next draft takes the place of the one before.
    imap.ok(&format!("REPLACE 1 INBOX {}", literal(2500)));
    let refused = imap.refused(&format!("REPLACE 1 INBOX {}", literal(2500)));
    assert!(refused.starts_with("NO [OVERQUOTA]"), "{refused}");
    imap.ok("STORE 2 +FLAGS (\\Deleted)");
    assert_eq!(
        imap.ok("STATUS INBOX (DELETED DELETED-STORAGE)"),
        [format!("STATUS INBOX (DELETED 1 DELETED-STORAGE {})", message(2500).len())]
    );
    assert_eq!(imap.ok("GETQUOTA \"User quota\""), ["QUOTA \"User quota\" (STORAGE 3 2 MESSAGE 2 2)"]);
    assert!(imap.refused("SETQUOTA \"User quota\" (STORAGE 9000)").starts_with("NO [NOPERM]"));
    server.stop();
}

#[test]
#[ignore = "needs dovecot-imapd"]
fn dovecot_counts_as_we_do() {
    let (site, user) = Dovecot::site();
    site.edit(
        "users",
        "ann@example.test:{PLAIN}sesame-4711",
        "ann@example.test:{PLAIN}sesame-4711::::::userdb_quota_rule=*:storage=1M:messages=100",
    );
    let server = Server::start(&site);
    let mut ours = server.imap("ann");
    ours.ok("SELECT INBOX");
    for (mailbox, octets) in [("INBOX", 3000), ("INBOX", 500), ("Sent", 70_000)] {
        ours.ok(&format!("APPEND {mailbox} {}", literal(octets)));
    }
    let plugins = "mail_plugins = quota imap_quota\nplugin {\n  quota = maildir:User quota\n  \
                   quota_rule = *:storage=1M:messages=100\n}\n";
    let mut theirs = Dovecot::start_with(&site, &user, plugins);
    // What the neighbour does to the selected mailbox may be told in between.
    let tell = |imap: &mut Imap, command: &str| {
        let told = imap.ok(command).into_iter();
        told.filter(|line| line.starts_with("QUOTA")).collect::<Vec<_>>()
    };
    let agree = |ours: &mut Imap, theirs: &mut Imap, messages: u32| {
        let told = tell(ours, "GETQUOTAROOT INBOX");
        assert!(told[1].ends_with(&format!(" MESSAGE {messages} 100)")), "{told:?}");
        assert_eq!(told, tell(theirs, "GETQUOTAROOT INBOX"));
        assert_eq!(tell(ours, "GETQUOTA \"User quota\""), tell(theirs, "GETQUOTA \"User quota\""));
    };
    agree(&mut ours, &mut theirs.imap, 3);
    // Each adds its lines to the same file.
    theirs.imap.append("INBOX", "", &message(9000).replace('\n', "\r\n"));
    agree(&mut ours, &mut theirs.imap, 4);
    ours.ok("STORE 1 +FLAGS (\\Deleted)");
    ours.ok("EXPUNGE");
    agree(&mut ours, &mut theirs.imap, 3);
    // Each counts anew.
    let file = site.maildir("ann").join("maildirsize");
    std::fs::remove_file(&file).unwrap();
    let told = tell(&mut theirs.imap, "GETQUOTAROOT INBOX");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(tell(&mut ours, "GETQUOTAROOT INBOX"), told);
    server.stop();
}
