//! Users send mail: TLS and login first, then only what is theirs; and they read it back.

use std::time::{Duration, Instant};

use postier_core::wire::base64;

use crate::harness::{PASSWORD, Server, Site, Smtp, mail_in};

#[test]
fn a_mail_goes_in_by_submission_and_comes_out_by_imap() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut smtp = server.submission("ann");
    let text = "From: ann@example.test\nTo: bob@example.test\nSubject: Tea\n\nAt five.\n.\n..two dots\n";
    smtp.deliver("ann@example.test", &["bob@example.test"], text);
    smtp.expect("QUIT", 221);

    let stored = mail_in(&site.maildir("bob"));
    let [mail] = stored.as_slice() else { panic!("{stored:?}") };
    assert!(mail.text.starts_with("Return-Path: <ann@example.test>\n"), "{}", mail.text);
    let (header, body) = mail.text.split_once("\n\n").unwrap();
    assert!(header.contains("\nSubject: Tea\n") && body == "At five.\n.\n..two dots\n", "{}", mail.text);
    for field in ["\nDate: ", "\nMessage-ID: <", "\nReceived: "] {
        assert_eq!(header.matches(field).count(), 1, "{field} in {header}");
    }
    // Where users sit is nobody's business.
    assert!(!header.contains("127.0.0.1"), "{header}");
    let crlf = mail.text.replace('\n', "\r\n");
    assert!(
        mail.name().ends_with(&format!(",S={},W={}", mail.text.len(), crlf.len())),
        "{}: {} {}",
        mail.name(),
        mail.text.len(),
        crlf.len()
    );

    let mut imap = server.imap("bob@example.test");
    assert!(imap.ok("SELECT INBOX").contains(&"1 EXISTS".to_owned()));
    let fetched = imap.one("FETCH 1 (RFC822.SIZE BODY.PEEK[])", "1 FETCH (");
    assert!(fetched.contains(&crlf) && fetched.contains(&format!("RFC822.SIZE {}", crlf.len())), "{fetched}");
    let envelope = imap.one("FETCH 1 ENVELOPE", "1 FETCH (ENVELOPE (");
    assert!(envelope.contains("\"Tea\" ((NIL NIL \"ann\" \"example.test\"))"), "{envelope}");
    server.stop();
}

#[test]
fn submission_wants_tls_then_a_login_then_an_address_of_the_account() {
    let site = Site::new();
    site.add("aliases", "tea@example.test: ann\nteam: ann, bob\n");
    let server = Server::start(&site);
    let mut smtp = server.smtp("submission");
    let hello = smtp.expect("EHLO localhost", 250);
    assert!(hello.has("STARTTLS") && !hello.has("AUTH"), "{hello:?}");
    smtp.expect("MAIL FROM:<ann@example.test>", 530);
    assert!((530..=538).contains(&smtp.say(&format!("AUTH PLAIN {}", base64::encode(b"\0ann\0x"))).code));
    smtp.start_tls();
    smtp.expect("MAIL FROM:<ann@example.test>", 503);
    let hello = smtp.expect("EHLO localhost", 250);
    assert!(hello.has("AUTH PLAIN LOGIN") && !hello.has("STARTTLS"), "{hello:?}");
    smtp.expect("MAIL FROM:<ann@example.test>", 530);
    smtp.expect("AUTH PLAIN", 334);
    smtp.expect("*", 501);
    smtp.expect("AUTH PLAIN =", 501);
    smtp.expect(&format!("AUTH PLAIN {}", base64::encode(b"\0ann\0wrong")), 535);
    smtp.expect(&format!("AUTH PLAIN {}", base64::encode(b"\0nobody\0wrong")), 535);
    let prompt = smtp.expect("AUTH LOGIN", 334);
    assert_eq!(prompt.lines, ["VXNlcm5hbWU6"]);
    let prompt = smtp.expect(&base64::encode(b"Ann@Example.Test"), 334);
    assert_eq!(prompt.lines, ["UGFzc3dvcmQ6"]);
    smtp.expect(&base64::encode(PASSWORD.as_bytes()), 235);
    smtp.expect("AUTH PLAIN", 503);
    for (from, code) in [
        ("bob@example.test", 553),
        ("ann@elsewhere.example", 553),
        ("ann@example.test", 250),
        ("Ann+travels@EXAMPLE.test", 250),
        ("tea@example.test", 250),
        ("team@example.test", 250),
    ] {
        smtp.expect(&format!("MAIL FROM:<{from}>"), code);
        smtp.expect("RSET", 250);
    }
    smtp.expect("MAIL FROM:<ann@example.test>", 250);
    let reply = smtp.expect("RCPT TO:<you@elsewhere.example>", 550);
    assert!(reply.has("5.7.1"), "{reply:?}");
    smtp.expect("RCPT TO:<bob@example.test>", 250);
    smtp.expect("QUIT", 221);
    assert!(mail_in(&site.maildir("bob")).is_empty());
}

#[test]
fn submissions_begins_with_tls() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut smtp = Smtp::connect_tls(server.port("submissions"), &site.tls());
    smtp.expect("EHLO [127.0.0.1]", 250);
    // The initial response of LOGIN is the name (Outlook).
    smtp.expect(&format!("AUTH LOGIN {}", base64::encode(b"ann")), 334);
    smtp.expect(&base64::encode(PASSWORD.as_bytes()), 235);
    smtp.deliver("ann@example.test", &["ann@example.test"], "Subject: to myself\n\nx\n");
    assert_eq!(mail_in(&site.maildir("ann")).len(), 1);
}

#[test]
fn passwords_never_reach_the_log() {
    let site = Site::with("[log]\nformat = \"json\"\nlevel = \"trace\"\n");
    let server = Server::start(&site);
    let secrets = [PASSWORD, "Geheim-1", "Geheim-2", "Geheim-3", "Geheim-4", "Geheim-5"];
    let mut smtp = server.submission("ann");
    smtp.deliver("ann@example.test", &["bob@example.test"], "Subject: x\n\nx\n");
    let mut smtp = Smtp::connect_tls(server.port("submissions"), &site.tls());
    smtp.expect("EHLO localhost", 250);
    smtp.expect(&format!("AUTH PLAIN {}", base64::encode(format!("\0ann\0{}", secrets[1]).as_bytes())), 535);
    smtp.expect("AUTH LOGIN", 334);
    smtp.expect(&base64::encode(b"ann"), 334);
    smtp.expect(&base64::encode(secrets[2].as_bytes()), 535);
    let mut imap = server.imap("ann");
    imap.ok("LOGOUT");
    let mut imap = server.imap_greeted("imaps");
    imap.refused(&format!("LOGIN ann {}", secrets[3]));
    imap.refused(&format!("LOGIN ann \"{}\"", secrets[4]));
    let response = base64::encode(format!("\0ann\0{}", secrets[5]).as_bytes());
    imap.refused(&format!("AUTHENTICATE PLAIN {response}"));
    server.signal("TERM");
    server.wait_for_log("\"ended\"");
    let log = server.log();
    for secret in secrets {
        for form in [secret.to_owned(), base64::encode(secret.as_bytes()).trim_end_matches('=').to_owned()] {
            assert!(!log.contains(&form), "{form} is in the log:\n{log}");
        }
    }
    let (whole, _) = response.split_at(response.len() - 3);
    assert!(!log.contains(whole), "a response is in the log:\n{log}");
    assert!(log.contains("login failed") && log.contains("logged in") && log.contains("delivered"), "{log}");
}

#[test]
fn who_has_failed_three_times_waits_whatever_the_service() {
    let site = Site::new();
    let server = Server::start(&site);
    let fail = || server.imap_greeted("imaps").refused("LOGIN ann wrong");
    fail();
    fail();
    let before = Instant::now();
    assert!(fail().contains("[AUTHENTICATIONFAILED]"));
    // The right password waits, too: a second from the third failure on.
    server.submission("ann");
    assert!(before.elapsed() >= Duration::from_secs(1), "{:?}", before.elapsed());
    server.stop();
}
