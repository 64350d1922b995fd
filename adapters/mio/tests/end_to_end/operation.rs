//! What whoever runs the server does to it: reloads, accounts, ends; and too many clients at once.

use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::harness::{PASSWORD, Server, Site, Smtp, eventually, mail_in, postier};

/// `postier user …` with a password on its standard input.
fn user(site: &Site, arguments: &[&str], password: &str) {
    use std::io::Write;
    let mut command = postier();
    command.arg("user").args(arguments).arg("--config").arg(site.config());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said == "the running server knows it\n", "{arguments:?}: {said}");
}

/// Whether this password opens this account, by IMAP and by submission.
fn opens(server: &Server, site: &Site, account: &str, password: &str) -> bool {
    let mut imap = server.imap_greeted("imaps");
    let (_, end) = imap.run(&format!("LOGIN {account} \"{password}\""));
    let mut smtp = Smtp::connect_tls(server.port("submissions"), &site.tls());
    smtp.expect("EHLO localhost", 250);
    let response = postier_core::wire::base64::encode(format!("\0{account}\0{password}").as_bytes());
    let code = smtp.say(&format!("AUTH PLAIN {response}")).code;
    assert_eq!(end.starts_with("OK"), code == 235, "IMAP: {end}, SMTP: {code}");
    code == 235
}

#[test]
fn accounts_change_in_the_running_server_at_once() {
    let site = Site::new();
    let server = Server::start(&site);
    assert!(!opens(&server, &site, "eve", "first-one"));
    user(&site, &["add", "eve", "--stdin"], "first-one\n");
    assert!(opens(&server, &site, "eve", "first-one"));
    assert!(!opens(&server, &site, "eve", "second-one"));
    user(&site, &["passwd", "eve", "--stdin"], "second-one\n");
    assert!(!opens(&server, &site, "eve", "first-one"));
    assert!(opens(&server, &site, "eve", "second-one"));
    user(&site, &["remove", "eve"], "");
    assert!(!opens(&server, &site, "eve", "second-one"));
    assert!(opens(&server, &site, "ann", PASSWORD));
    let users = std::fs::read_to_string(site.path("users")).unwrap();
    assert!(!users.contains("-one"), "{users}");
}

#[test]
fn a_reload_drops_no_connection_and_a_bad_one_changes_nothing() {
    let mut site = Site::new();
    let server = Server::start(&site);
    let old = site.tls();
    let mut reader = server.imap("ann");
    reader.ok("SELECT INBOX");
    let idle = reader.idle();
    let mut sender = server.exchange();
    sender.expect("EHLO other.example", 250);
    sender.expect("MAIL FROM:<a@other.example>", 250);
    sender.expect("RCPT TO:<ann@example.test>", 250);

    site.renew_certificate();
    site.add("users", &format!("eve@example.test:{{PLAIN}}{PASSWORD}\n"));
    server.after(|server| server.signal("HUP"), "reloaded");
    let port = server.port("submissions");
    let mut eve = Smtp::connect_tls(port, &site.tls());
    eve.expect("EHLO localhost", 250);
    eve.login("eve", PASSWORD);
    // Who trusts the old certificate alone is not served by it any more.
    assert!(crate::harness::Wire::connect(port).into_tls(&old).is_err());

    site.write("crt", "this is no certificate\n");
    server.after(|server| server.signal("HUP"), "the old one stays");
    site.add("postier.toml", "nonsense = true\n");
    server.after(|server| server.signal("HUP"), "the old one stays");
    let mut eve = Smtp::connect_tls(port, &site.tls());
    eve.expect("EHLO localhost", 250);

    sender.expect("DATA", 354);
    sender.expect("Subject: begun before\r\n\r\nx\r\n.", 250);
    reader.hear("* 1 EXISTS");
    reader.done(&idle);
}

#[test]
fn sigterm_says_good_bye_and_keeps_what_was_accepted() {
    let site = Site::new();
    let mut server = Server::start(&site);
    let mut reader = server.imap("ann");
    reader.ok("SELECT INBOX");
    reader.idle();
    let mut idler = server.imap("bob");
    let mut sender = server.exchange();
    sender.expect("EHLO other.example", 250);
    for number in 0..20 {
        sender.deliver("a@other.example", &["ann@example.test"], &format!("Subject: number {number}\n\nx\n"));
    }
    sender.expect("MAIL FROM:<a@other.example>", 250);
    server.signal("TERM");
    let rest = sender.wire().read_to_end();
    assert!(rest.starts_with("421 "), "{rest}");
    for imap in [&mut reader, &mut idler] {
        let rest = imap.wire().read_to_end();
        assert!(rest.lines().any(|line| line.starts_with("* BYE")), "{rest}");
    }
    assert!(server.ended().success());
    assert!(TcpStream::connect(("127.0.0.1", server.port("smtp"))).is_err());
    assert_eq!(mail_in(&site.maildir("ann")).len(), 20);
    assert!(!site.path("state/control.sock").exists());
}

#[test]
fn a_mail_in_transit_at_sigterm_is_whole_or_not_there() {
    let site = Site::new();
    let mut server = Server::start(&site);
    let mut sender = server.exchange();
    sender.expect("EHLO other.example", 250);
    sender.expect("MAIL FROM:<a@other.example>", 250);
    sender.expect("RCPT TO:<ann@example.test>", 250);
    sender.expect("DATA", 354);
    server.signal("TERM");
    // A server that still reads takes it; one that has gone has said so.
    let _ = sender.wire().try_write(b"Subject: late\r\n\r\nx\r\n.\r\n");
    let said = sender.wire().read_to_end();
    let taken = said.starts_with("250 ");
    assert!(taken || said.starts_with("421 ") || said.is_empty(), "{said}");
    assert!(server.ended().success());
    let mail = mail_in(&site.maildir("ann"));
    assert!(!taken || mail.len() == 1, "acknowledged and lost: {said}");
    assert!(mail.iter().all(|mail| mail.text.ends_with("Subject: late\n\nx\n")), "{mail:?}");
}

#[test]
fn one_address_cannot_have_every_connection() {
    let site = Site::with("[limits]\nconnections_per_address = 4\n");
    let server = Server::start(&site);
    let mut held: Vec<Smtp> = (0..4).map(|_| server.exchange()).collect();
    for _ in 0..3 {
        let (mut smtp, greeting) = Smtp::connect_any(server.port("smtp"), &site.tls());
        if let Some(greeting) = greeting {
            assert_eq!(greeting.code, 421, "{greeting:?}");
            assert!(smtp.reply().is_none());
        }
    }
    held[0].expect("NOOP", 250);
    held.pop().unwrap().expect("QUIT", 221);
    eventually("the place of the one that left", || {
        let (_, greeting) = Smtp::connect_any(server.port("smtp"), &site.tls());
        greeting.filter(|greeting| greeting.code == 220)
    });
}

#[test]
fn running_out_of_descriptors_is_survived() {
    let site = Site::with("[limits]\nconnections = 10000\nconnections_per_address = 10000\n");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -n 64; exec \"$0\" serve --config \"$1\""]);
    command.arg(assert_cmd::cargo::cargo_bin("postier")).arg(site.config());
    let server = Server::spawn(&site, command);
    let mut first = server.exchange();
    first.expect("EHLO other.example", 250);
    let many: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(("127.0.0.1", server.port("smtp"))).unwrap()).collect();
    // Who is in goes on.
    first.deliver("a@other.example", &["ann@example.test"], "Subject: in the crowd\n\nx\n");
    drop(many);
    eventually("a greeting after the crowd has gone", || {
        let (mut smtp, greeting) = Smtp::connect_any(server.port("smtp"), &site.tls());
        let greeted = greeting.filter(|greeting| greeting.code == 220);
        greeted.map(|_| smtp.expect("NOOP", 250))
    });
    let mut imap = server.imap("ann");
    assert!(imap.ok("SELECT INBOX").contains(&"1 EXISTS".to_owned()));
    server.stop();
}

#[test]
fn a_state_directory_serves_one_server() {
    let site = Site::new();
    let server = Server::start(&site);
    let output = postier().arg("serve").arg("--config").arg(site.config()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("runs with the state directory"));
    server.exchange().expect("NOOP", 250);
    server.stop();
}

#[test]
fn many_clients_at_once_are_all_served() {
    let site = Site::new();
    let server = Server::start(&site);
    std::thread::scope(|scope| {
        for sender in 0..16 {
            let server = &server;
            scope.spawn(move || {
                let mut smtp = server.exchange();
                smtp.expect("EHLO other.example", 250);
                for number in 0..10 {
                    let message = format!("Subject: {sender}-{number}\n\nx\n");
                    smtp.deliver("a@other.example", &["ann@example.test", "bob@example.test"], &message);
                }
            });
        }
        for reader in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let mut imap = server.imap(if reader % 2 == 0 { "ann" } else { "bob" });
                imap.ok("SELECT INBOX");
                let mut seen = 0;
                eventually("all mails", || {
                    for line in imap.ok("NOOP") {
                        if let Some(count) = line.strip_suffix(" EXISTS") {
                            let count = count.parse().unwrap();
                            assert!(count >= seen, "{count} after {seen}");
                            seen = count;
                        }
                    }
                    (imap.ok("UID SEARCH ALL")[0].split(' ').count() == 161).then_some(())
                });
                let found = imap.ok("FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])");
                assert_eq!(found.iter().filter(|row| row.contains("Subject: ")).count(), 160);
            });
        }
    });
    for user in ["ann", "bob"] {
        let mut subjects: Vec<String> = mail_in(&site.maildir(user))
            .iter()
            .map(|mail| mail.text.lines().find(|line| line.starts_with("Subject: ")).unwrap().to_owned())
            .collect();
        subjects.sort();
        subjects.dedup();
        assert_eq!(subjects.len(), 160);
    }
    server.stop();
}
