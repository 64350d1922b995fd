//! Logins by SCRAM, bound to the TLS connection and not. The real clients are ignored with the name of what they need.

use std::process::Command;

use postier_core::wire::base64;
use postier_host::password::{format_scram, hash_password, make_scram};

use crate::harness::{PASSWORD, Server, Site, client, good, mail_in, run_with, write_private};

/// A site where everybody has a verifier: ann beside her hash, bob in the place of it.
fn site() -> Site {
    let site = Site::new();
    let verifier = || format_scram(&make_scram(PASSWORD.as_bytes()).unwrap());
    let hash = hash_password(PASSWORD.as_bytes());
    let ann = format!("ann@example.test:{hash}::::::postier_scram={}\n", verifier());
    site.write("users", &format!("{ann}bob@example.test:{}\n", verifier()));
    site
}

/// The salt and the iterations that a server tells somebody.
fn challenge(server: &Server, name: &str) -> String {
    let mut smtp = server.smtp("submission");
    smtp.start_tls();
    smtp.expect("EHLO localhost", 250);
    let first = base64::encode(format!("n,,n={name},r=abc").as_bytes());
    let reply = smtp.expect(&format!("AUTH SCRAM-SHA-256 {first}"), 334);
    let challenge = base64::decode(reply.lines[0].as_bytes(), 1000).unwrap();
    let challenge = String::from_utf8(challenge).unwrap();
    assert!(challenge.starts_with("r=abc"), "{challenge}");
    challenge.split_once(',').unwrap().1.to_owned()
}

#[test]
fn scram_is_offered_where_everybody_has_a_verifier() {
    let site = site();
    let server = Server::start(&site);
    let mut smtp = server.smtp("submission");
    smtp.start_tls();
    let hello = smtp.expect("EHLO localhost", 250);
    assert!(hello.has("AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN"), "{hello:?}");
    // The password still does.
    server.imap("bob@example.test").ok("SELECT INBOX");

    site.add("users", "eve@example.test:{PLAIN}x\n");
    server.signal("HUP");
    server.wait_for_log("reloaded");
    let mut smtp = server.smtp("submission");
    smtp.start_tls();
    let hello = smtp.expect("EHLO localhost", 250);
    assert!(hello.has("AUTH PLAIN LOGIN") && !hello.has("SCRAM"), "{hello:?}");
}

#[test]
fn nobody_has_a_salt_like_everybody_even_after_a_restart() {
    let site = site();
    let server = Server::start(&site);
    let (ann, nobody) = (challenge(&server, "ann"), challenge(&server, "nobody"));
    assert_eq!(challenge(&server, "ANN@example.test"), ann);
    assert_eq!(challenge(&server, "Nobody@Example.Test"), nobody);
    assert_ne!(ann, nobody);
    let shape = |text: &str| (text.len(), text.rsplit_once(",i=").unwrap().1.to_owned());
    assert_eq!(shape(&ann), shape(&nobody));
    server.stop();
    let server = Server::start(&site);
    assert_eq!((challenge(&server, "ann"), challenge(&server, "nobody")), (ann, nobody));
}

fn gsasl(
    site: &Site,
    server: &Server,
    (protocol, port): (&str, &str),
    mechanism: [&str; 2],
    password: &str,
) -> Command {
    let mut command = client(site, "gsasl");
    command.arg(protocol).args(["--connect", &format!("localhost:{}", server.port(port))]);
    command.arg("--mechanism").args(mechanism);
    command.args(["--starttls", "--x509-ca-file"]).arg(site.path("crt"));
    command.args(["--authentication-id=ann@example.test", &format!("--password={password}")]);
    command
}

#[test]
#[ignore = "needs gsasl"]
fn gsasl_logs_in_bound_to_the_connection_and_unbound() {
    let site = site();
    let server = Server::start(&site);
    let (bound, unbound) = (["SCRAM-SHA-256-PLUS", "--verbose"], ["SCRAM-SHA-256", "--no-cb"]);
    for protocol in [("--imap", "imap"), ("--smtp", "submission")] {
        for mechanism in [bound, unbound] {
            good(&mut gsasl(&site, &server, protocol, mechanism, PASSWORD), "");
            let run = run_with(&mut gsasl(&site, &server, protocol, mechanism, "wrong"), "");
            assert!(!run.status.success(), "{protocol:?} {mechanism:?}: {run:?}");
        }
    }
}

#[test]
#[ignore = "needs msmtp"]
fn msmtp_sends_by_scram() {
    let site = site();
    let server = Server::start(&site);
    for (number, mechanism) in ["scram-sha-256", "on"].into_iter().enumerate() {
        write_private(
            &site.path("msmtprc"),
            &format!(
                "account default\nhost localhost\nport {}\ntls on\ntls_starttls off\ntls_trust_file {}\n\
                 auth {mechanism}\nuser ann@example.test\npassword {PASSWORD}\nfrom ann@example.test\n",
                server.port("submissions"),
                site.path("crt").display()
            ),
        );
        let mut msmtp = client(&site, "msmtp");
        msmtp.arg("-C").arg(site.path("msmtprc")).arg("bob@example.test");
        good(&mut msmtp, "Subject: tea\n\nAt five.\n");
        assert_eq!(mail_in(&site.maildir("bob")).len(), number + 1, "{mechanism}");
    }
}

#[test]
#[ignore = "needs scramp (pip)"]
fn scramp_logs_in_bound_to_the_certificate() {
    let site = site();
    let server = Server::start(&site);
    let mut command = client(&site, "python3");
    command.arg(format!("{}/tests/end_to_end/scram.py", env!("CARGO_MANIFEST_DIR")));
    command.args([server.port("imaps").to_string(), server.port("submissions").to_string()]);
    command.args(["bob@example.test", PASSWORD, "crt"]);
    good(&mut command, "");
}
