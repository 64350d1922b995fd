//! Real clients, each a test of its own that is ignored with its name: `.ci/run` has them all.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use postier_core::wire::base64;

use crate::harness::{PASSWORD, Server, Site, client, good, mail_in, run_with, write_private};

const MAIL: &str =
    "From: ann@example.test\r\nTo: bob@example.test\r\nSubject: Tea\r\n\r\nAt five.\r\n.\r\n..\r\n";
/// The end of it as it is stored.
const STORED: &str = "\n\nAt five.\n.\n..\n";

/// Somebody at a terminal: types a line, reads what comes.
struct Typing {
    child: Child,
    keyboard: ChildStdin,
    screen: BufReader<ChildStdout>,
}

impl Typing {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (keyboard, screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Typing { child, keyboard, screen: BufReader::new(screen) }
    }

    fn enter(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Reads up to a line that begins like this.
    fn read(&mut self, start: &str) {
        let mut seen = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.screen.read_line(&mut line).unwrap() > 0, "no {start:?} in {seen:#?}");
            if line.starts_with(start) {
                return;
            }
            seen.push(line);
        }
    }
}

#[test]
#[ignore = "needs openssl"]
fn the_session_everybody_types_through_openssl() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut command = client(&site, "openssl");
    command.args(["s_client", "-starttls", "smtp", "-crlf", "-ign_eof", "-CAfile", "crt", "-connect"]);
    command.arg(format!("localhost:{}", server.port("submission")));
    let mut session = Typing::start(&mut command);
    session.read("SSL handshake has read ");
    session.enter("EHLO moi");
    session.read("250 ");
    session.enter(&format!("AUTH PLAIN {}", base64::encode(format!("\0ann\0{PASSWORD}").as_bytes())));
    session.read("235 ");
    session.enter("MAIL FROM: <ann@example.test>");
    session.read("250 ");
    session.enter("RCPT TO: <bob@example.test>");
    session.read("250 ");
    session.enter("DATA");
    session.read("354 ");
    for line in ["Subject: Test", "", "it works!", "."] {
        session.enter(line);
    }
    session.read("250 ");
    session.enter("quit");
    session.read("221 ");
    let mut rest = String::new();
    session.screen.read_to_string(&mut rest).unwrap();
    assert!(session.child.wait().unwrap().success(), "{rest}");
    let mail = mail_in(&site.maildir("bob"));
    assert!(mail.len() == 1 && mail[0].text.ends_with("\n\nit works!\n"), "{mail:?}");
    assert!(mail[0].text.contains("\nSubject: Test\n"), "{mail:?}");
}

#[test]
#[ignore = "needs curl"]
fn curl_sends_and_reads_over_every_port() {
    let site = Site::new();
    let server = Server::start(&site);
    let user = format!("ann@example.test:{PASSWORD}");
    let curl = || {
        let mut command = client(&site, "curl");
        command.args(["-sS", "--ssl-reqd", "--cacert", "crt", "--user", &user]);
        command
    };
    let urls = [
        format!("smtp://localhost:{}", server.port("submission")),
        format!("smtps://localhost:{}", server.port("submissions")),
    ];
    for url in &urls {
        for option in ["AUTH=PLAIN", "AUTH=LOGIN"] {
            let mut command = curl();
            command.args(["--login-options", option, "--mail-from", "ann@example.test"]);
            command.args(["--mail-rcpt", "ann@example.test", "--mail-rcpt", "bob@example.test"]);
            good(command.args(["--upload-file", "-"]).arg(url), MAIL);
        }
        let mut command = curl();
        command.args(["--mail-from", "ann@example.test", "--mail-rcpt", "you@elsewhere.example"]);
        let refused = run_with(command.args(["--upload-file", "-"]).arg(url), MAIL);
        assert_eq!(refused.status.code(), Some(55), "{refused:?}");
    }
    let bobs = mail_in(&site.maildir("bob"));
    assert!(bobs.len() == 4 && bobs.iter().all(|mail| mail.text.ends_with(STORED)), "{bobs:?}");
    let wrong = ["ann@example.test:wrong", "nobody:wrong"];
    site.write("mail.txt", MAIL);
    let imap = [
        format!("imap://localhost:{}", server.port("imap")),
        format!("imaps://localhost:{}", server.port("imaps")),
    ];
    for url in &imap {
        for user in wrong {
            let mut command = curl();
            let output = run_with(command.args(["--user", user]).arg(url), "");
            assert_eq!(output.status.code(), Some(67), "{output:?}");
        }
        let folders = good(curl().arg(url), "");
        assert!(folders.contains("INBOX") && folders.contains("Trash"), "{folders}");
        let text = good(curl().arg(format!("{url}/INBOX;MAILINDEX=1")), "");
        assert!(text.contains("Subject: Tea\r\n") && text.ends_with("At five.\r\n.\r\n..\r\n"), "{text}");
        assert_eq!(
            good(curl().arg(format!("{url}/INBOX;UID=2;SECTION=TEXT")), ""),
            "At five.\r\n.\r\n..\r\n"
        );
        let found = good(curl().arg(format!("{url}/INBOX?SUBJECT%20Tea")), "");
        assert_eq!(found.trim_end(), "* SEARCH 1 2 3 4");
        // APPEND wants the size beforehand.
        good(curl().args(["--upload-file", "mail.txt"]).arg(format!("{url}/Drafts")), "");
        good(curl().args(["--request", "STORE 1 +FLAGS (\\Seen)"]).arg(format!("{url}/INBOX")), "");
    }
    assert_eq!(mail_in(&site.maildir("ann").join(".Drafts")).len(), 2);
    assert!(mail_in(&site.maildir("ann")).iter().any(|mail| mail.name().contains(":2,S")));
}

#[test]
#[ignore = "needs swaks"]
fn swaks_in_its_variants() {
    let site = Site::new();
    let server = Server::start(&site);
    let swaks = |service: &str, arguments: &[&str]| {
        let mut command = client(&site, "swaks");
        let port = server.port(service).to_string();
        command.args(["--server", "localhost", "--port", &port, "--helo", "client.example"]);
        command.args(["--to", "bob@example.test", "--from", "ann@example.test"]);
        command.args(arguments);
        command
    };
    let user = ["--auth-user", "ann@example.test", "--auth-password", PASSWORD];
    let verified = ["--tls-ca-path", "crt", "--tls-verify"];
    let taken: [(&str, &[&[&str]]); 12] = [
        ("smtp", &[]),
        ("smtp", &[&["--protocol", "SMTP"]]),
        ("smtp", &[&["--pipeline"]]),
        ("smtp", &[&["--tls"], &verified]),
        ("smtp", &[&["--tls", "--pipeline", "--to", "ann@example.test,bob@example.test"]]),
        ("smtp", &[&["--from", "<>"]]),
        ("smtp", &[&["--body", ".\n..\n.x\n", "--header", "Subject: Grüße"]]),
        ("smtp", &[&["--attach", "@crt"]]),
        ("submission", &[&["--tls", "--auth", "PLAIN"], &verified, &user]),
        ("submission", &[&["--tls", "--auth", "LOGIN", "--pipeline"], &user]),
        ("submissions", &[&["--tls-on-connect", "--auth", "PLAIN"], &verified, &user]),
        ("submissions", &[&["--tlsc", "--tls-protocol", "tlsv1_2", "--auth", "LOGIN"], &user]),
    ];
    for (number, (service, arguments)) in taken.iter().enumerate() {
        good(&mut swaks(service, &arguments.concat()), "");
        let bobs = mail_in(&site.maildir("bob"));
        assert_eq!(bobs.len(), number + 1, "{service} {arguments:?}");
    }
    let dotted = mail_in(&site.maildir("bob")).into_iter().find(|mail| mail.text.contains("Grüße")).unwrap();
    assert!(dotted.text.contains("\n\n.\n..\n.x\n"), "{}", dotted.text);
    assert_eq!(mail_in(&site.maildir("ann")).len(), 1);

    // 23: MAIL, 24: RCPT, 28: AUTH, 29: STARTTLS (swaks(1), exit codes).
    let wrong = ["--auth-user", "ann@example.test", "--auth-password", "wrong"];
    let refused: [(&str, &[&[&str]], i32); 6] = [
        ("smtp", &[&["--to", "you@elsewhere.example"]], 24),
        ("smtp", &[&["--to", "you%elsewhere.example@example.test"]], 24),
        ("smtp", &[&["--auth", "PLAIN"], &user], 28),
        ("submission", &[], 23),
        ("submission", &[&["--tls", "--auth", "PLAIN"], &wrong], 28),
        ("submission", &[&["--tls", "--auth", "PLAIN", "--from", "eve@example.test"], &user], 23),
    ];
    for (service, arguments, code) in refused {
        let output = run_with(&mut swaks(service, &arguments.concat()), "");
        assert_eq!(output.status.code(), Some(code), "{service} {arguments:?}: {output:?}");
    }
    assert_eq!(mail_in(&site.maildir("bob")).len(), taken.len());
}

#[test]
#[ignore = "needs python3"]
fn python_smtplib_and_imaplib() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut command = client(&site, "python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/end_to_end/clients.py"));
    for service in ["submission", "submissions", "imap", "imaps"] {
        command.arg(server.port(service).to_string());
    }
    command.args(["ann", "bob@example.test", PASSWORD, "crt"]);
    let said = good(&mut command, "");
    assert!(said.ends_with("all done\n"), "{said}");
}

#[test]
#[ignore = "needs msmtp"]
fn msmtp_sends_with_a_verified_certificate() {
    let site = Site::new();
    let server = Server::start(&site);
    let (submission, submissions) = (server.port("submission"), server.port("submissions"));
    write_private(
        &site.path("msmtprc"),
        &format!(
            "defaults\nhost localhost\ntls on\ntls_trust_file crt\nauth on\nuser ann@example.test\n\
             password {PASSWORD}\nfrom ann@example.test\n\naccount starttls\nport {submission}\ntls_starttls on\n\n\
             account implicit\nport {submissions}\ntls_starttls off\n"
        ),
    );
    for account in ["starttls", "implicit"] {
        let mut command = client(&site, "msmtp");
        command.args(["-C", "msmtprc", "-a", account, "bob@example.test", "ann@example.test"]);
        good(&mut command, &MAIL.replace("\r\n", "\n"));
        let mut command = client(&site, "msmtp");
        command.args(["-C", "msmtprc", "-a", account, "--serverinfo"]);
        let said = good(&mut command, "");
        assert!(said.contains("PLAIN") && said.contains("PIPELINING"), "{said}");
    }
    for user in ["ann", "bob"] {
        let mail = mail_in(&site.maildir(user));
        assert!(mail.len() == 2 && mail.iter().all(|mail| mail.text.ends_with(STORED)), "{mail:?}");
    }
}

#[test]
#[ignore = "needs mutt and script"]
fn mutt_sends_flags_saves_and_deletes() {
    let site = Site::new();
    let server = Server::start(&site);
    let (submissions, imaps) = (server.port("submissions"), server.port("imaps"));
    write_private(
        &site.path("muttrc"),
        &format!(
            "set from=ann@example.test use_from=yes realname=Ann hostname=localhost copy=no\n\
             set smtp_url=smtps://ann@localhost:{submissions}/ smtp_pass={PASSWORD}\n\
             set folder=imaps://ann@localhost:{imaps}/ imap_pass={PASSWORD} spoolfile=+INBOX\n\
             set certificate_file=crt ssl_force_tls=yes ssl_verify_host=yes\n\
             set confirmappend=no confirmcreate=no delete=yes move=no quit=yes wait_key=no resolve=no sleep_time=0\n\
             set imap_check_subscribed=yes imap_idle=no tmpdir=/tmp\n"
        ),
    );
    for number in 1..=4 {
        let mut command = client(&site, "mutt");
        command.args(["-F", "muttrc", "-s", &format!("number {number}"), "--", "ann@example.test"]);
        good(&mut command, "Hello from mutt.\n");
    }
    let inbox = site.maildir("ann");
    assert_eq!(mail_in(&inbox).len(), 4);
    // Keys as a person presses them: read one, flag one, save one into Archive, delete one.
    let keys = "<first-entry><display-message><exit><next-entry><flag-message><next-entry><save-message>=Archive<enter>\
                <last-entry><delete-message><sync-mailbox><quit>";
    let mutt = format!("mutt -F muttrc -e 'push {keys}'");
    let mut command = client(&site, "script");
    good(command.args(["-qec", &mutt, "/dev/null"]), "");
    let mail = mail_in(&inbox);
    let flags: Vec<String> =
        mail.iter().map(|mail| mail.name().split_once(":2,").unwrap().1.to_owned()).collect();
    assert_eq!(flags.len(), 2, "{mail:?}");
    assert!(flags.contains(&"S".into()) && flags.iter().any(|flags| flags.contains('F')), "{flags:?}");
    let archived = mail_in(&inbox.join(".Archive"));
    assert!(archived.len() == 1 && archived[0].text.contains("Subject: number 3"), "{archived:?}");
}

#[test]
#[ignore = "needs mbsync"]
fn mbsync_mirrors_and_has_nothing_to_do_the_second_time() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut imap = server.imap("ann");
    imap.ok("CREATE Lists.Gr&APwA3w-e");
    for number in 1..=20 {
        let text = format!("Message-ID: <{number}@example.test>\r\nSubject: number {number}\r\n\r\nx\r\n");
        let folder = if number % 2 == 0 { "INBOX" } else { "Lists.Gr&APwA3w-e" };
        imap.append(folder, "(\\Seen) ", &text);
    }
    write_private(
        &site.path("mbsyncrc"),
        &format!(
            "IMAPAccount a\nHost localhost\nPort {}\nUser ann@example.test\nPass {PASSWORD}\nSSLType IMAPS\n\
             CertificateFile crt\n\nIMAPStore far\nAccount a\n\nMaildirStore near\nPath mirror/\nInbox mirror/INBOX\n\
             SubFolders Verbatim\n\nChannel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\n\
             SyncState *\n",
            server.port("imaps")
        ),
    );
    fs::create_dir(site.path("mirror")).unwrap();
    let sync = || {
        let mut command = client(&site, "mbsync");
        good(command.args(["-c", "mbsyncrc", "-a"]), "");
    };
    let names = |path: &Path| mail_in(path).iter().map(|mail| mail.name()).collect::<Vec<_>>();
    let near = site.path("mirror/INBOX");
    let state = || {
        // mbsync may or may not keep the modified UTF-7 of the name.
        let lists = fs::read_dir(site.path("mirror/Lists")).unwrap().next().unwrap().unwrap().path();
        (names(&near), names(&lists), names(&site.maildir("ann")))
    };
    sync();
    let first = state();
    assert_eq!((first.0.len(), first.1.len()), (10, 10), "{first:?}");
    sync();
    assert_eq!(state(), first);

    // Read here, flagged there, deleted here, new here.
    let [one, two, ..] = &*mail_in(&near) else { panic!("{first:?}") };
    let (base, flags) = one.name().split_once(":2,").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    fs::rename(&one.path, near.join("cur").join(format!("{base}:2,F{flags}"))).unwrap();
    fs::remove_file(&two.path).unwrap();
    fs::write(near.join("new/1700000000.1.me"), "Message-ID: <new@x>\nSubject: mine\n\nx\n").unwrap();
    sync();
    let far = mail_in(&site.maildir("ann"));
    assert_eq!(far.len(), 10, "{far:?}");
    assert_eq!(far.iter().filter(|mail| mail.name().contains(":2,F")).count(), 1, "{far:?}");
    assert!(far.iter().any(|mail| mail.text.contains("Subject: mine")));
    imap.ok("SELECT INBOX");
    imap.ok("STORE 1 +FLAGS (\\Answered)");
    sync();
    let answered = |name: &String| name.split_once(":2,").is_some_and(|(_, flags)| flags.contains('R'));
    assert!(names(&near).iter().any(answered), "{:?}", names(&near));
    let last = state();
    sync();
    assert_eq!(state(), last);
}
