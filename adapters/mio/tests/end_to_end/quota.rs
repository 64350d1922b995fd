//! Accounts with a limit: mail that has no room is refused at RCPT, APPEND and COPY, and what makes room helps at once.

use crate::harness::{Server, Site, mail_in};

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
