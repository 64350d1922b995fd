//! Clients that want to cost the server more than they pay, over real sockets: each is refused at once, the connection
//! goes on or ends with a word, and the server's memory stays where it was.

use std::fs;

use crate::harness::{Server, Site};

/// Resident memory of the server in KiB.
fn resident(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn repeat(before: &str, piece: &str, times: usize, after: &str) -> Vec<u8> {
    [before, &piece.repeat(times), after].concat().into_bytes()
}

/// Commands with the tag `x` that no client means.
fn bombs() -> Vec<Vec<u8>> {
    let line = |text: &[u8]| [text, b"\r\n"].concat();
    vec![
        repeat("x FETCH ", "1:4294967295,", 10_000, "1 FLAGS\r\n"),
        repeat("x SEARCH ", "(", 30_000, "ALL\r\n"),
        repeat("x SEARCH ", "NOT ", 15_000, "ALL\r\n"),
        repeat("x SEARCH ", "OR ALL ", 9_000, "ALL\r\n"),
        repeat("x LIST \"\" \"", "*%", 30_000, "\"\r\n"),
        repeat("x NOOP ", "a", 1 << 20, "\r\n"),
        line(b"x LOGIN \"a\0b\" c"),
        line(b"x \0\0\0"),
        line(b"x SELECT {18446744073709551616}"),
        line(b"x SELECT {4294967295}"),
        line(b"x SELECT \"&AOk\""),
        line(b"x SELECT \"../../etc\""),
        line(b"x SELECT \"a\x01b\""),
        line(b"x SELECT {2+}\r\n\xff\xfe"),
        repeat("x FETCH 1 BODY[", "1.", 30_000, "1]\r\n"),
        repeat("x FETCH 1 (", "FLAGS ", 20_000, "UID)\r\n"),
    ]
}

#[test]
fn bombs_are_refused_and_cost_no_memory() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut inside = server.imap("ann");
    inside.append("INBOX", "", "Subject: x\r\n\r\nx\r\n");
    inside.ok("SELECT INBOX");
    let before = resident(&server);
    for round in 0..3 {
        for bomb in bombs() {
            let shown = String::from_utf8_lossy(&bomb[..bomb.len().min(40)]).into_owned();
            inside.wire().write(&bomb);
            let answer = loop {
                let line = inside.response().unwrap_or_else(|| panic!("{round}: {shown}: closed"));
                // A search of many keys finds what there is first.
                if line.starts_with("x ") || line.starts_with("* BAD") {
                    break line;
                }
            };
            let harmless = answer.starts_with("x OK") && shown.contains("BODY[1.1.");
            let refused = ["x BAD", "x NO", "* BAD"].iter().any(|start| answer.starts_with(start));
            assert!(refused || harmless, "{shown}: {answer}");
            inside.ok("NOOP");

            // The same before login: refused, too, or shown the door.
            let mut outside = server.imap_greeted("imaps");
            let _ = outside.wire().try_write(&bomb);
            let said = outside.response();
            let told = ["x BAD", "x NO", "* BAD", "* BYE"];
            assert!(
                said.as_ref().is_none_or(|line| told.iter().any(|start| line.starts_with(start))),
                "{shown}: {said:?}"
            );
        }
    }
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 24 * 1024, "{grown} KiB more than before");
    server.imap("bob").ok("SELECT INBOX");
}

/// Literals that announce more than comes: what is waited for is not kept for.
#[test]
fn unfinished_literals_of_many_cost_no_memory() {
    let site = Site::new();
    let server = Server::start(&site);
    let before = resident(&server);
    let mut waiting = Vec::new();
    for number in 0..60 {
        let mut imap = server.imap("ann");
        let command = match number % 3 {
            0 => "x APPEND INBOX {30000000+}\r\nSubject: never\r\n",
            1 => "x SEARCH SUBJECT {60000+}\r\nhalf",
            _ => "x SELECT \"no end",
        };
        imap.wire().write(command.as_bytes());
        waiting.push(imap);
    }
    let mut other = server.imap("bob");
    other.ok("SELECT INBOX");
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 24 * 1024, "{grown} KiB more than before, for {} connections", waiting.len());
    drop(waiting);
    other.ok("NOOP");
    assert!(crate::harness::mail_in(&site.maildir("ann")).is_empty());
}
