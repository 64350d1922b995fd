//! Clients that fetch, mirror and wait, each set up as its user would and driven through a day's work. Like
//! [`crate::clients`], ignored with the name of what they need.

use std::fs;
use std::process::Command;

use crate::harness::{Imap, PASSWORD, Server, Site, client, good, mail_in, run_with, write_private};

/// "Grün" and "日本" in it, as folder names, in modified UTF-7 (RFC 3501 §5.1.3).
const GREEN: &str = "Gr&APw-n";
const GREEN_JAPAN: &str = "Gr&APw-n.&ZeVnLA-";

/// A message with an attachment, of which every client shows that it takes it apart.
fn attached(number: usize) -> String {
    format!(
        "From: Ann <ann@example.test>\r\nTo: bob@example.test\r\nSubject: number {number}\r\n\
         Date: Thu, 1 Feb 2024 03:04:05 +0100\r\nMessage-ID: <{number}@example.test>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\nGrüße {number}\r\n.\r\nFrom here on\r\n--b\r\n\
         Content-Type: application/octet-stream; name=o\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=o\r\n\r\nAAH/\r\n--b--\r\n"
    )
}

fn fill(imap: &mut Imap, folder: &str, numbers: std::ops::RangeInclusive<usize>) {
    for number in numbers {
        imap.append(folder, "", &attached(number));
    }
}

/// A script of the tests' own, given the port of IMAP with TLS.
fn script(site: &Site, server: &Server, interpreter: &str, name: &str) -> Command {
    let mut command = client(site, interpreter);
    command.arg(format!("{}/tests/end_to_end/{name}", env!("CARGO_MANIFEST_DIR")));
    command.arg(server.port("imaps").to_string()).args(["bob@example.test", PASSWORD, "crt"]);
    command
}

#[test]
#[ignore = "needs offlineimap"]
fn offlineimap_mirrors_a_thousand_and_both_sides_change() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut imap = server.imap("ann");
    imap.ok(&format!("CREATE {GREEN_JAPAN}"));
    fill(&mut imap, "INBOX", 1..=1000);
    fill(&mut imap, GREEN_JAPAN, 1001..=1010);
    write_private(
        &site.path("offlineimaprc"),
        &format!(
            "[general]\naccounts = a\nmetadata = meta\n[Account a]\nlocalrepository = near\nremoterepository = far\n\
             [Repository near]\ntype = Maildir\nlocalfolders = {}\nsep = .\n[Repository far]\ntype = IMAP\n\
             remotehost = localhost\nremoteport = {}\nremoteuser = ann@example.test\nremotepass = {PASSWORD}\nssl = yes\n\
             sslcacertfile = {}\n",
            site.path("mirror").display(),
            server.port("imaps"),
            site.path("crt").display()
        ),
    );
    let sync = || {
        let mut command = client(&site, "offlineimap");
        let output = run_with(command.args(["-c", "offlineimaprc", "-o", "-u", "basic"]), "");
        let said = format!("{output:?}");
        assert!(output.status.success() && !said.contains("ERROR"), "{said}");
        said
    };
    let near = site.path("mirror/INBOX");
    sync();
    assert_eq!(mail_in(&near).len(), 1000);
    assert_eq!(mail_in(&site.path("mirror").join(GREEN_JAPAN)).len(), 10);
    let again = sync();
    assert!(!again.contains("Copy message"), "{again}");

    // Flagged here, deleted here, new here; answered there.
    let [one, two, ..] = &*mail_in(&near) else { panic!("an empty mirror") };
    let base = one.name().split(":2,").next().unwrap().to_owned();
    fs::rename(&one.path, near.join("cur").join(format!("{base}:2,FS"))).unwrap();
    fs::remove_file(&two.path).unwrap();
    fs::write(near.join("new/1700000000.1.me"), "Message-ID: <new@x>\nSubject: mine\n\nx\n").unwrap();
    imap.ok("SELECT INBOX");
    imap.ok("STORE 500 +FLAGS (\\Answered)");
    sync();
    let far = mail_in(&site.maildir("ann"));
    assert_eq!(far.len(), 1000);
    assert_eq!(far.iter().filter(|mail| mail.name().contains(":2,FS")).count(), 1);
    assert!(far.iter().any(|mail| mail.text.contains("Subject: mine")));
    assert!(mail_in(&near).iter().any(|mail| mail.name().contains(":2,R")));
}

#[test]
#[ignore = "needs getmail"]
fn getmail_fetches_once_and_can_delete() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut imap = server.imap("ann");
    imap.ok(&format!("CREATE {GREEN}"));
    fill(&mut imap, "INBOX", 1..=5);
    fill(&mut imap, GREEN, 6..=8);
    let fetch = |delete: bool| {
        // Its own Maildir delivery refuses to work as root; it encodes the names of folders itself.
        write_private(
            &site.path("getmailrc"),
            &format!(
                "[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = localhost\nport = {}\n\
                 username = ann@example.test\npassword = {PASSWORD}\nmailboxes = (\"INBOX\", \"Grün\")\n\
                 ca_certs = {}\n[destination]\ntype = MDA_external\npath = /usr/bin/tee\n\
                 arguments = (\"-a\", \"{}\")\nallow_root_commands = true\n\
                 [options]\nread_all = false\ndelete = {delete}\n",
                server.port("imaps"),
                site.path("crt").display(),
                site.path("got").display()
            ),
        );
        let dir = site.path("").display().to_string();
        good(client(&site, "getmail").args(["--getmaildir", &dir, "--rcfile", "getmailrc"]), "");
        fs::read_to_string(site.path("got")).unwrap().matches("\nAAH/\n").count()
    };
    assert_eq!(fetch(false), 8);
    assert_eq!(fetch(false), 8, "a message came twice");
    fill(&mut imap, "INBOX", 9..=9);
    assert_eq!(fetch(true), 9);
    assert_eq!(mail_in(&site.maildir("ann")).len(), 0);
}

#[test]
#[ignore = "needs fetchmail"]
fn fetchmail_fetches_keeps_and_flushes() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut imap = server.imap("ann");
    fill(&mut imap, "INBOX", 1..=5);
    let fetch = |options: &str| {
        write_private(
            &site.path("fetchmailrc"),
            &format!(
                "poll localhost protocol IMAP port {} user \"ann@example.test\" password \"{PASSWORD}\" ssl \
                 sslcertck sslcertfile \"{}\" mda \"cat >>{}\" {options}\n",
                server.port("imaps"),
                site.path("crt").display(),
                site.path("got").display()
            ),
        );
        let mut command = client(&site, "fetchmail");
        command.args(["--fetchmailrc", "fetchmailrc", "--nosyslog", "--pidfile", "fetchmail.pid"]);
        let code = run_with(&mut command, "").status.code();
        (code, fs::read_to_string(site.path("got")).unwrap_or_default().matches("\nAAH/\n").count())
    };
    // 0: mail was fetched, 1: there was none (fetchmail(1), exit codes).
    assert_eq!(fetch("keep"), (Some(0), 5));
    let kept = mail_in(&site.maildir("ann"));
    assert!(kept.len() == 5 && kept.iter().all(|mail| mail.name().contains(":2,S")), "{kept:?}");
    assert_eq!(fetch("keep"), (Some(1), 5));
    fill(&mut imap, "INBOX", 6..=6);
    assert_eq!(fetch("nokeep flush"), (Some(0), 6));
    assert_eq!(mail_in(&site.maildir("ann")).len(), 0);
}

#[test]
#[ignore = "needs s-nail"]
fn s_nail_reads_flags_copies_and_deletes() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut imap = server.imap("ann");
    fill(&mut imap, "INBOX", 1..=4);
    let url = format!("imaps://ann%40example.test:{PASSWORD}@localhost:{}", server.port("imaps"));
    let mut command = client(&site, "s-nail");
    command.args(["-n", "-#", "-S", "v15-compat", "-S", "tls-ca-file=crt", "-S", "tls-verify=strict"]);
    let said = good(
        &mut command,
        &format!(
            "folder {url}/INBOX\nfolders\nfrom *\ntype 1\nflag 2\ncopy 3 {url}/Archive\ndelete 4\nfolder {url}/Archive\nxit\n"
        ),
    );
    assert!(said.contains("number 4") && said.contains("Grüße 1"), "{said}");
    let left = mail_in(&site.maildir("ann"));
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(
        left.iter().any(|mail| mail.name().contains(":2,F") && mail.text.contains("number 2")),
        "{left:?}"
    );
    let archived = mail_in(&site.maildir("ann").join(".Archive"));
    assert!(archived.len() == 1 && archived[0].text.contains("number 3"), "{archived:?}");
}

#[test]
#[ignore = "needs neomutt and script"]
fn neomutt_flags_saves_and_deletes() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut imap = server.imap("ann");
    imap.ok(&format!("CREATE {GREEN}"));
    fill(&mut imap, "INBOX", 1..=4);
    write_private(
        &site.path("neomuttrc"),
        &format!(
            "set folder=imaps://ann@localhost:{}/ imap_pass={PASSWORD} spoolfile=+INBOX\n\
             set certificate_file=crt ssl_force_tls=yes ssl_verify_host=yes sort=mailbox-order\n\
             set confirm_append=no confirm_create=no delete=yes move=no quit=yes wait_key=no resolve=no sleep_time=0\n\
             set imap_idle=yes imap_condstore=yes imap_qresync=yes tmpdir=/tmp header_cache=\n",
            server.port("imaps")
        ),
    );
    let keys = "<first-entry><display-message><exit><next-entry><flag-message><next-entry><save-message>=Grün<enter>\
                <last-entry><delete-message><sync-mailbox><quit>";
    let neomutt = format!("neomutt -n -F neomuttrc -e 'push {keys}'");
    good(client(&site, "script").args(["-qec", &neomutt, "/dev/null"]), "");
    let left = mail_in(&site.maildir("ann"));
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(
        left.iter().any(|mail| mail.name().contains(":2,F") && mail.text.contains("number 2")),
        "{left:?}"
    );
    assert!(
        left.iter().any(|mail| mail.name().contains(":2,S") && mail.text.contains("number 1")),
        "{left:?}"
    );
    let saved = mail_in(&site.maildir("ann").join(format!(".{GREEN}")));
    assert!(saved.len() == 1 && saved[0].text.contains("number 3"), "{saved:?}");
}

#[test]
#[ignore = "needs Mail::IMAPClient for perl"]
fn mail_imapclient_of_perl() {
    let site = Site::new();
    let server = Server::start(&site);
    fill(&mut server.imap("bob"), "INBOX", 1..=5);
    let said = good(&mut script(&site, &server, "perl", "imapclient.pl"), "");
    assert!(said.ends_with("all done\n"), "{said}");
}

#[test]
#[ignore = "needs imapclient for python3"]
fn imapclient_of_python() {
    let site = Site::new();
    let server = Server::start(&site);
    fill(&mut server.imap("bob"), "INBOX", 1..=1000);
    let said = good(&mut script(&site, &server, "python3", "imapclient_session.py"), "");
    assert!(said.ends_with("all done\n"), "{said}");
}

#[test]
#[ignore = "needs imapflow for node"]
fn imapflow_of_node() {
    let site = Site::new();
    let server = Server::start(&site);
    fill(&mut server.imap("bob"), "INBOX", 1..=1000);
    let modules = Command::new("npm").args(["root", "--global"]).output().unwrap().stdout;
    let modules = String::from_utf8(modules).unwrap();
    let said = good(script(&site, &server, "node", "imapflow.cjs").env("NODE_PATH", modules.trim()), "");
    assert!(said.ends_with("all done\n"), "{said}");
}
