//! The running server as its owner meets it: `postier try`, `postier serve`, reloads, an end in order.
//!
//! Everything is waited for by what the server says, never by the clock.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use postier_host::tls::{provider, self_signed};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

/// A server, killed with the test.
struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("postier"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        Self::spawn(command)
    }

    /// A server whose log is read, instead of what it says.
    fn start_logging(arguments: &[&str]) -> Self {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "exec \"$0\" \"$@\" 2>&1"])
            .arg(assert_cmd::cargo::cargo_bin("postier"))
            .args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// Everything said up to a line that holds `mark`, this line included.
    fn hear(&mut self, mark: &str) -> String {
        let mut heard = String::new();
        loop {
            let before = heard.len();
            assert!(self.out.read_line(&mut heard).unwrap() > 0, "no {mark:?} in:\n{heard}");
            if heard[before..].contains(mark) {
                return heard;
            }
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Ends it in order; what it said to the end.
    fn stop(mut self) -> (ExitStatus, String) {
        self.signal("INT");
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An SMTP dialogue: after each command the reply's code is compared.
fn smtp(port: u16, dialogue: &[(&str, &str)]) {
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut replies = BufReader::new(&socket);
    for (command, code) in [("", "220"), ("EHLO localhost", "250")].iter().chain(dialogue) {
        if !command.is_empty() {
            (&socket).write_all(format!("{command}\r\n").as_bytes()).unwrap();
        }
        let mut reply = String::new();
        while {
            reply.clear();
            replies.read_line(&mut reply).unwrap();
            reply.as_bytes().get(3) == Some(&b'-')
        } {}
        assert!(reply.starts_with(code), "{command}: {reply}");
    }
}

/// The number behind `before` in a text.
fn number_after(text: &str, before: &str) -> u16 {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in:\n{text}"));
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

fn files(dir: &Path) -> usize {
    fs::read_dir(dir).map_or(0, Iterator::count)
}

const FREE_PORTS: [&str; 10] =
    ["--smtp", "0", "--submission", "0", "--submissions", "0", "--imap", "0", "--imaps", "0"];

#[test]
fn a_trial_welcomes_says_what_arrives_and_starts_again() {
    let world = tempfile::tempdir().unwrap();
    let dir = world.path().join("mine");
    let dir_name = dir.to_str().unwrap();
    let arguments = |more: &[&'static str]| -> Vec<String> {
        let all = ["try", "--dir", dir_name].into_iter().chain(FREE_PORTS).chain(more.iter().copied());
        all.map(str::to_owned).collect()
    };
    let start = |more: &[&'static str]| {
        let arguments = arguments(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Server::start(&arguments)
    };

    let mut server = start(&[]);
    let said = server.hear("Ctrl-C stops the server.");
    let password = said.lines().find_map(|line| line.strip_prefix("password:  ")).unwrap().to_owned();
    assert_eq!(password.len(), 23, "{said}");
    assert!(said.contains("smtp://localhost:") && said.contains("imaps://localhost:"), "{said}");
    let welcome = server.hear("octets");
    assert!(
        welcome.contains("mail for you@example.test from you@example.test: Welcome to postier ("),
        "{welcome}"
    );
    smtp(
        number_after(&said, "comes in at port "),
        &[
            ("MAIL FROM:<a@elsewhere.example>", "250"),
            ("RCPT TO:<You+tag@Example.test>", "250"),
            ("DATA", "354"),
            ("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nx\r\n.", "250"),
            ("QUIT", "221"),
        ],
    );
    let arrived = server.hear("octets");
    assert!(arrived.contains("mail for you@example.test from a@elsewhere.example: Grüße ("), "{arrived}");
    let (status, rest) = server.stop();
    assert!(
        status.success() && rest.ends_with(&format!("stopped; the mail stays in {dir_name}\n")),
        "{rest}"
    );
    let inbox = dir.join("mail/example.test/you");
    assert_eq!(files(&inbox.join("new")), 2);
    assert!(inbox.join(".Sent").is_dir());
    assert_eq!(fs::metadata(dir.join("key.pem")).unwrap().permissions().mode() & 0o777, 0o600);

    let mut server = start(&[]);
    let said = server.hear("Ctrl-C stops the server.");
    assert!(said.contains("password:  as printed at the first start") && !said.contains(&password), "{said}");
    let (_, rest) = server.stop();
    assert!(!rest.contains("mail for"), "a second welcome: {rest}");

    let mut server = start(&["--password", "it's new"]);
    let said = server.hear("Ctrl-C stops the server.");
    assert!(said.contains("--user 'you@example.test:it'\\''s new'"), "{said}");
    assert!(server.stop().0.success());
    assert_eq!(files(&inbox.join("new")), 2);
}

#[test]
fn a_trial_explains_what_it_cannot_do() {
    let world = tempfile::tempdir().unwrap();
    let dir = world.path().join("mine");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("postier"));
        let output = command.args(["try", "--dir"]).arg(&dir).args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, err) = run(&["--user", "nonsense"]);
    assert!(code == 2 && err.contains("\"nonsense\" is no address"), "{code} {err}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut arguments = FREE_PORTS;
    arguments[1] = &port;
    let (code, err) = run(&arguments);
    assert!(code == 1 && err.contains(&port), "{code} {err}");
    let (code, err) = run(&[&FREE_PORTS[..], &["--user", "ann@other.test"]].concat());
    assert!(code == 2 && err.contains("is for example.test"), "{code} {err}");
}

/// A directory with a whole configuration on free ports, which logs JSON.
fn site(user: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let made = self_signed(&["localhost"]).unwrap();
    let listen: String = ["smtp", "submission", "submissions", "imap", "imaps"]
        .map(|service| format!("{service} = [\"127.0.0.1:0\"]\n"))
        .concat();
    let config = format!(
        "hostname = \"localhost\"\ndomains = [\"one.example\"]\nuser = \"{user}\"\nstate = \"state\"\n[tls]\n\
         certificate = \"crt\"\nkey = \"key\"\n[accounts]\nfile = \"users\"\n[mail]\nmaildir = \"mail/{{domain}}/{{user}}\"\n\
         [aliases]\nfile = \"aliases\"\n[log]\nformat = \"json\"\n[listen]\n{listen}"
    );
    for (name, text) in [
        ("postier.toml", config.as_str()),
        ("crt", &made.certificate),
        ("key", &made.key),
        ("users", "ann@one.example:{PLAIN}secret\n"),
        ("aliases", "postmaster: ann\n"),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    fs::set_permissions(dir.path().join("key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// The port of a service, from the log up to "serving".
fn port(log: &str, service: &str) -> u16 {
    let named = format!("\"service\":\"{service}\"");
    let line =
        log.lines().find(|line| line.contains(&named)).unwrap_or_else(|| panic!("no {service} in:\n{log}"));
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    event["address"].as_str().unwrap().parse::<SocketAddr>().unwrap().port()
}

fn user_command(dir: &Path, arguments: &[&str]) {
    let mut command = assert_cmd::Command::cargo_bin("postier").unwrap();
    let command = command.arg("user").args(arguments).arg("--config").arg(dir.join("postier.toml"));
    command.assert().success().stderr("the running server knows it\n");
}

#[test]
fn changes_take_effect_without_a_restart_and_mistakes_do_not() {
    let dir = site(&postier_host::identity::Identity::current().unwrap().name);
    let config = dir.path().join("postier.toml");
    let mut server = Server::start_logging(&["serve", "--config", config.to_str().unwrap()]);
    let log = server.hear("\"serving\"");
    let exchange = port(&log, "smtp");
    let is = |address: &str, code: &str| {
        smtp(exchange, &[("MAIL FROM:<>", "250"), (&format!("RCPT TO:<{address}>"), code), ("QUIT", "221")]);
    };
    is("bob@one.example", "550");
    user_command(dir.path(), &["add", "bob", "--generate"]);
    server.hear("reloaded");
    is("bob@one.example", "250");

    fs::write(dir.path().join("aliases"), "postmaster: ann\nhelp: bob\n").unwrap();
    server.signal("HUP");
    server.hear("reloaded");
    is("help@one.example", "250");

    fs::write(dir.path().join("aliases"), "postmaster: ann\nhelp: help\n").unwrap();
    server.signal("HUP");
    let heard = server.hear("the old one stays");
    assert!(heard.contains("circle") && heard.contains("aliases:2"), "{heard}");
    is("help@one.example", "250");

    fs::write(dir.path().join("aliases"), "postmaster: ann\n").unwrap();
    user_command(dir.path(), &["remove", "bob"]);
    is("bob@one.example", "550");
    is("help@one.example", "550");

    server.hear("reloaded");
    let mail = [("MAIL FROM:<>", "250"), ("RCPT TO:<ann@one.example>", "250"), ("DATA", "354"), (".", "250")];
    smtp(exchange, &mail);
    let heard = server.hear("\"delivered\"");
    let number = |line: &str| number_after(line, "\"conn\":");
    let (connected, delivered) =
        (heard.lines().rfind(|line| line.contains("\"connected\"")), heard.lines().last());
    assert_eq!(delivered.map(number), connected.map(number), "{heard}");
    let (status, _) = server.stop();
    assert!(status.success());
}

/// Whether the certificate shown at an implicit TLS port is this one.
fn shows(port: u16, certificate: &str) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    let config =
        rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    client.complete_io(&mut socket).is_ok()
}

#[test]
#[ignore = "needs root: the server becomes another user"]
fn a_renewed_key_that_only_root_may_read_is_taken_over() {
    let dir = site("nobody");
    let config = dir.path().join("postier.toml");
    let mut server = Server::start_logging(&["serve", "--config", config.to_str().unwrap()]);
    let log = server.hear("\"serving\"");
    let (exchange, imaps) = (port(&log, "smtp"), port(&log, "imaps"));
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let nobody = postier_host::identity::Identity::lookup("nobody").unwrap().unwrap();
    let expected = format!("Uid:\t{0}\t{0}\t{0}\t{0}\n", nobody.uid);
    assert!(status.contains(&expected), "{status}");
    assert!(shows(imaps, &fs::read_to_string(dir.path().join("crt")).unwrap()));

    let renewed = self_signed(&["localhost"]).unwrap();
    assert!(!shows(imaps, &renewed.certificate));
    fs::write(dir.path().join("crt"), &renewed.certificate).unwrap();
    fs::write(dir.path().join("key"), &renewed.key).unwrap();
    fs::set_permissions(dir.path().join("users"), fs::Permissions::from_mode(0o600)).unwrap();
    server.signal("HUP");
    server.hear("reloaded");
    assert!(shows(imaps, &renewed.certificate));
    // What a reload cannot change is said once, and as what it is.
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("user = \"nobody\"", "user = \"daemon\"")).unwrap();
    server.signal("HUP");
    let heard = server.hear("reloaded");
    assert_eq!(heard.matches("WARN").count(), 1, "{heard}");
    assert!(heard.contains("a change of `user` needs a restart"), "{heard}");
    // And the directory for mail is the new user's.
    smtp(
        exchange,
        &[
            ("MAIL FROM:<>", "250"),
            ("RCPT TO:<ann@one.example>", "250"),
            ("DATA", "354"),
            ("\r\nx\r\n.", "250"),
        ],
    );
    assert_eq!(files(&dir.path().join("mail/one.example/ann/new")), 1);
    assert!(server.stop().0.success());
}

#[test]
fn systemd_hears_of_start_reload_and_end() {
    let dir = site(&postier_host::identity::Identity::current().unwrap().name);
    let path = dir.path().join("notify.sock");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let hear = || {
        let mut buffer = [0; 500];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    };
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("postier"));
    command.args(["serve", "--config"]).arg(dir.path().join("postier.toml")).env("NOTIFY_SOCKET", &path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = Server::spawn(command);
    assert_eq!(hear(), "READY=1\n");
    server.signal("HUP");
    let reloading = hear();
    // sd_notify(3): `Type=notify-reload` wants both.
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
    assert!(since.trim_end().parse::<u64>().unwrap() > 0);
    assert_eq!(hear(), "READY=1\n");
    server.signal("TERM");
    assert_eq!(hear(), "STOPPING=1\n");
    assert!(server.child.wait().unwrap().success());
}
