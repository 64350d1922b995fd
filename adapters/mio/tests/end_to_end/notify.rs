//! NOTIFY (RFC 5465): what happens in other mailboxes is told without asking, whoever does it.

use std::fs;

use crate::harness::{Dovecot, Server, Site};

const EVENTS: &str =
    "(MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange)";

#[test]
fn what_others_do_is_told_between_commands() {
    let site = Site::new();
    let server = Server::start(&site);
    let (mut ann, mut other) = (server.imap("ann"), server.imap("ann"));
    other.ok("CREATE Lists");
    other.append("Lists", "", "Subject: one\r\n\r\none\r\n");
    ann.ok("SELECT INBOX");
    let before = ann.ok(&format!(
        "NOTIFY SET STATUS (selected (MessageNew (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)]) MessageExpunge FlagChange)) \
         (personal {EVENTS})"
    ));
    let lists = before.iter().find(|line| line.starts_with("STATUS Lists ")).unwrap();
    assert!(lists.contains("(MESSAGES 1 UIDNEXT 2 UIDVALIDITY ") && lists.contains(" UNSEEN 1 "), "{lists}");
    assert!(!before.iter().any(|line| line.starts_with("STATUS INBOX")), "{before:?}");

    // The selected mailbox: a delivery, and what another session does.
    let mut smtp = server.exchange();
    smtp.expect("EHLO other.example", 250);
    smtp.deliver("a@other.example", &["ann@example.test"], "Subject: hello\n\nx\n");
    ann.hear("* 1 EXISTS");
    ann.hear("* 1 FETCH (UID 1 BODY[HEADER.FIELDS (SUBJECT)] {18}\r\nSubject: hello\r\n\r\n)");
    other.ok("SELECT INBOX");
    other.ok("STORE 1 +FLAGS (\\Deleted)");
    ann.hear("* 1 FETCH (");
    other.ok("EXPUNGE");
    ann.hear("* 1 EXPUNGE");

    // Another one: flags, and a file that some program puts there.
    other.ok("SELECT Lists");
    other.ok("STORE 1 +FLAGS (\\Seen)");
    ann.hear("* STATUS Lists (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ");
    let lists = site.maildir("ann").join(".Lists");
    fs::write(lists.join("tmp/1.x.y"), "Subject: two\n\ntwo\n").unwrap();
    fs::rename(lists.join("tmp/1.x.y"), lists.join("new/1.x.y")).unwrap();
    ann.hear("* STATUS Lists (MESSAGES 2 UIDNEXT 3 ");

    // Names.
    other.ok("CREATE Boat");
    ann.hear("* LIST () \".\" Boat");
    other.append("Boat", "", "Subject: three\r\n\r\nthree\r\n");
    ann.hear("* STATUS Boat (MESSAGES 1 UIDNEXT 2 ");
    other.ok("RENAME Boat Ship");
    ann.hear("* LIST () \".\" Ship (\"OLDNAME\" (Boat))");
    other.ok("SUBSCRIBE Ship");
    ann.hear("* LIST (\\Subscribed) \".\" Ship");
    other.ok("SETMETADATA Ship (/private/comment \"leaks\")");
    ann.hear("* METADATA Ship /private/comment");
    other.ok("UNSUBSCRIBE Ship");
    ann.hear("* LIST () \".\" Ship");
    other.ok("DELETE Ship");
    ann.hear("* LIST (\\NonExistent");

    // In IDLE, too; and nothing when nothing is wanted.
    let idle = ann.idle();
    other.append("Lists", "", "Subject: four\r\n\r\nfour\r\n");
    ann.hear("* STATUS Lists (MESSAGES 3 UIDNEXT 4 ");
    ann.done(&idle);
    ann.ok("NOTIFY NONE");
    other.append("Lists", "", "Subject: five\r\n\r\nfive\r\n");
    other.append("INBOX", "", "Subject: five\r\n\r\nfive\r\n");
    assert_eq!(ann.ok("NOOP"), [""; 0]);
    assert!(ann.one("STATUS Lists (MESSAGES)", "STATUS").contains("MESSAGES 4"));
    assert_eq!(ann.ok("SELECT INBOX").iter().filter(|line| *line == "1 EXISTS").count(), 1);
}

#[test]
#[ignore = "needs dovecot"]
fn what_dovecot_does_beside_us_is_told() {
    let (site, user) = Dovecot::site();
    let server = Server::start(&site);
    let mut ann = server.imap("ann");
    let mut dovecot = Dovecot::start(&site, &user);
    dovecot.imap.ok("CREATE Lists");
    ann.ok(&format!("NOTIFY SET STATUS (personal {EVENTS})"));
    dovecot.imap.append("Lists", "", "Subject: one\r\n\r\none\r\n");
    ann.hear("* STATUS Lists (MESSAGES 1 UIDNEXT 2 ");
    dovecot.imap.ok("SELECT Lists");
    dovecot.imap.ok("STORE 1 +FLAGS (\\Seen \\Deleted)");
    ann.hear("* STATUS Lists (MESSAGES 1 UIDNEXT 2 ");
    dovecot.imap.ok("EXPUNGE");
    ann.hear("* STATUS Lists (MESSAGES 0 UIDNEXT 2 ");
    // Of names it is told when the tree is looked at the next time.
    dovecot.imap.ok("CREATE Boat");
    ann.hear("* LIST () \".\" Boat");
    dovecot.imap.append("Boat", "", "Subject: two\r\n\r\ntwo\r\n");
    ann.hear("* STATUS Boat (MESSAGES 1 ");
}
