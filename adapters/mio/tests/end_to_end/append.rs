//! What APPEND can do besides taking one message, and what FETCH then says of it: over the wire, into a Maildir.

use std::fs;

use postier_core::wire::deflate::{Deflater, Inflater};

use crate::harness::{Imap, Server, Site, eventually, mail_in};

fn literal(text: &str) -> String {
    format!("{{{}+}}\r\n{text}", text.len())
}

/// The octets of a message as BODY[] has them.
fn body(imap: &mut Imap, uid: u32) -> String {
    let row = imap.one(&format!("UID FETCH {uid} BODY.PEEK[]"), "");
    let (_, rest) = row.split_once("}\r\n").unwrap_or_else(|| panic!("{row}"));
    rest.strip_suffix(')').unwrap().to_owned()
}

#[test]
fn several_messages_come_all_or_none() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut imap = server.imap("ann");
    let (one, two) = (literal("Subject: one\r\n\r\n1\r\n"), literal("Subject: two\r\n\r\n2\r\n"));
    let (_, end) = imap
        .run(&format!("APPEND INBOX (\\Seen) {one} (\\Flagged) \"24-Dec-2025 18:00:00 +0100\" {two} {one}"));
    assert!(end.starts_with("OK [APPENDUID ") && end.contains(" 1:3]"), "{end}");
    imap.ok("SELECT INBOX");
    let rows = imap.ok("FETCH 1:* (FLAGS INTERNALDATE)");
    assert!(
        rows[0].contains("\\Seen")
            && rows[1].contains("\\Flagged")
            && rows[1].contains("24-Dec-2025 17:00:00 +0000")
    );
    // The second one is too large: the first does not stay either, and neither does anything in tmp.
    let refused = imap.refused(&format!("APPEND INBOX {one} {{99999999}}"));
    assert!(refused.starts_with("NO [TOOBIG]"), "{refused}");
    let refused = imap.refused(&format!("APPEND INBOX {one} (\\Bogus) {two}"));
    assert!(refused.starts_with("BAD "), "{refused}");
    assert_eq!(imap.one("STATUS INBOX (MESSAGES UIDNEXT)", "STATUS"), "STATUS INBOX (MESSAGES 3 UIDNEXT 4)");
    assert_eq!(mail_in(&site.maildir("ann")).len(), 3);
    eventually("an empty tmp", || {
        fs::read_dir(site.maildir("ann").join("tmp")).unwrap().next().is_none().then_some(())
    });
    imap.ok("LOGOUT");
    server.stop();
}

#[test]
fn messages_are_put_together_and_replaced() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut imap = server.imap("ann");
    imap.ok("CREATE Drafts.x");
    let selected = imap.ok("SELECT INBOX");
    let validity = selected.iter().find_map(|line| line.strip_prefix("OK [UIDVALIDITY ")).unwrap();
    let validity = validity.split_once(']').unwrap().0;
    let text = |text: &str| format!("TEXT {}", literal(text));
    imap.ok(&format!(
        "APPEND INBOX (\\Seen) CATENATE ({} {})",
        text("From: a@b.test\r\n"),
        text("\r\nHello\r\n")
    ));
    imap.ok(&format!(
        "APPEND Drafts.x CATENATE (URL \"/INBOX;UIDVALIDITY={validity}/;UID=1/;SECTION=HEADER\" {}) (\\Flagged) {}",
        text("body1\r\n"),
        literal("Subject: plain\r\n\r\nx\r\n")
    ));
    let bad = "/INBOX;UIDVALIDITY=12345/;UID=1/;SECTION=HEADER";
    let command = format!("APPEND Drafts.x CATENATE ({} URL \"{bad}\" {})", text("A: b\r\n"), text("x"));
    let refused = imap.refused(&command);
    assert!(refused.starts_with(&format!("NO [BADURL {bad}]")), "{refused}");
    let refused = imap.refused("APPEND Drafts.x CATENATE (URL \"/INBOX/;UID=1/;SECTION=9\")");
    assert!(refused.starts_with("NO [BADURL "), "{refused}");
    let refused = imap.refused("APPEND Nowhere CATENATE (URL \"/INBOX/;UID=1/;SECTION=1\")");
    assert!(refused.starts_with("NO [TRYCREATE]"), "{refused}");
    imap.ok("SELECT Drafts.x");
    assert_eq!(body(&mut imap, 1), "From: a@b.test\r\n\r\nbody1\r\n");
    assert_eq!(body(&mut imap, 2), "Subject: plain\r\n\r\nx\r\n");
    let rows =
        imap.ok(&format!("UID REPLACE 1 Drafts.x (\\Draft) {}", literal("Subject: newer\r\n\r\ny\r\n")));
    assert!(rows[0].starts_with("OK [APPENDUID ") && rows[0].contains(" 3]"), "{rows:?}");
    assert!(rows.contains(&"1 EXPUNGE".to_owned()) && rows.contains(&"2 EXISTS".to_owned()), "{rows:?}");
    assert_eq!(imap.one("UID SEARCH ALL", "SEARCH"), "SEARCH 2 3");
    imap.ok("LOGOUT");
    server.stop();
}

#[test]
fn binary_goes_in_and_comes_out() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut imap = server.imap("ann");
    let message = "Subject: b\r\nMIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\na\0b\nc";
    let (_, end) = imap.run(&format!("APPEND INBOX ~{}", literal(message)));
    assert!(end.starts_with("OK [APPENDUID "), "{end}");
    imap.ok("SELECT INBOX");
    assert!(body(&mut imap, 1).ends_with("Content-Transfer-Encoding: base64\r\n\r\nYQBiCmM="));
    let row = imap.one("FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1] PREVIEW EMAILID)", "1 FETCH");
    assert!(
        row.starts_with("1 FETCH (BINARY.SIZE[1] 5 BINARY[1] ~{5}\r\na\0b\nc PREVIEW \"\" EMAILID (M"),
        "{row:?}"
    );
    let id = row.split_once("EMAILID (").unwrap().1.split_once(')').unwrap().0.to_owned();
    assert_eq!(imap.one(&format!("SEARCH EMAILID {id} SAVEDSINCE 1-Jan-2020"), "SEARCH"), "SEARCH 1");
    let (created, end) = imap.run("CREATE Other");
    assert!(created.is_empty() && end.starts_with("OK [MAILBOXID (F"), "{end}");
    let mailbox = end.split_once('(').unwrap().1.split_once(')').unwrap().0.to_owned();
    imap.ok("MOVE 1 Other");
    imap.ok("RENAME Other Elsewhere");
    let selected = imap.ok("SELECT Elsewhere");
    assert!(selected.iter().any(|line| line.contains(&format!("[MAILBOXID ({mailbox})]"))), "{selected:?}");
    assert!(imap.one("FETCH 1 EMAILID", "1 FETCH").contains(&id));
    imap.ok("LOGOUT");
    server.stop();
}

#[test]
fn everything_is_packed_after_compress() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut imap = server.imap("ann");
    imap.ok("SELECT INBOX");
    imap.ok("COMPRESS DEFLATE");
    let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
    let mut heard = String::new();
    // Its files are read on their way out, and more than one step of unpacking comes in.
    let text = "All work and no play makes Jack a dull boy.\r\n".repeat(8000);
    let message = format!("Subject: packed\r\n\r\n{text}");
    let append = format!("a APPEND INBOX {}\r\n", literal(&message));
    for (command, end) in
        [(&*append, "a OK "), ("b NOOP\r\n", "b OK "), ("c FETCH 1 BODY.PEEK[]\r\n", "c OK ")]
    {
        let mut packed = Vec::new();
        deflater.feed(command.as_bytes(), &mut packed);
        deflater.flush(&mut packed);
        imap.wire().write(&packed);
        heard.clear();
        while !(heard.contains(&format!("\r\n{end}")) || heard.starts_with(end)) || !heard.ends_with("\r\n") {
            let mut plain = Vec::new();
            let octet = imap.wire().octets(1).expect("an octet");
            inflater.feed(&octet, &mut plain, 100_000).unwrap();
            while inflater.may_have_more() {
                inflater.feed(b"", &mut plain, 100_000).unwrap();
            }
            heard.push_str(core::str::from_utf8(&plain).unwrap());
        }
    }
    assert!(heard.contains(&message), "{} octets", heard.len());
    server.stop();
}
