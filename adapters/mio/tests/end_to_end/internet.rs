//! A small internet on the loopback addresses of a network namespace: a real DNS server (Unbound), a real Postfix, two
//! postiers and a server that greylists, all on port 25, write to each other.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{Server, Site, client, eventually, good, in_own_network, mail_in, run_with};
use crate::sending::{Manner, Sink};
use crate::signing::{dkim, zone_lines};

const ZONE: &[&str] = &[
    "here.test. MX 10 mx.here.test.",
    // What connects to an address of the loopback interface comes from the same one: here, Postfix's.
    "here.test. TXT \"v=spf1 ip4:127.0.0.2 -all\"",
    "mx.here.test. TXT \"v=spf1 ip4:127.0.0.2 -all\"",
    "mx.here.test. A 127.0.0.3",
    "there.test. MX 10 mx.there.test.",
    "mx.there.test. A 127.0.0.4",
    "postfix.test. MX 5 dead.postfix.test.",
    "postfix.test. MX 10 mx.postfix.test.",
    "dead.postfix.test. A 127.0.0.9",
    "mx.postfix.test. A 127.0.0.2",
    "null.test. MX 0 .",
    "six.test. MX 10 mx.six.test.",
    "mx.six.test. AAAA ::1",
    "grey.test. MX 10 mx.grey.test.",
    "mx.grey.test. A 127.0.0.5",
];

const AUTHENTIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/end_to_end/authentic.py");

/// Programs that end with the test.
struct Internet {
    dir: tempfile::TempDir,
    unbound: Child,
}

impl Internet {
    /// With more records, as in a zone file.
    fn start(site: &Site, records: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let unbound = start_unbound(dir.path(), &(local_zone() + &local_data(records)));
        start_postfix(dir.path(), site);
        Internet { dir, unbound }
    }

    /// What a receiver's programs say of each mail: see `authentic.py`.
    fn authentic(&self, mails: &[String]) -> Vec<String> {
        let mut python = Command::new("python3");
        python.arg(AUTHENTIC);
        for (n, mail) in mails.iter().enumerate() {
            let path = self.dir.path().join(format!("{n}.eml"));
            fs::write(&path, mail).unwrap();
            python.arg(path);
        }
        good(&mut python, "").lines().map(str::to_owned).collect()
    }

    fn postfix_mail(&self) -> Vec<String> {
        let maildir = self.dir.path().join("mail/bob");
        if !maildir.join("new").exists() {
            return Vec::new();
        }
        mail_in(&maildir).into_iter().map(|mail| mail.text).collect()
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        let _ = postfix(self.dir.path()).arg("stop").status();
        let _ = self.unbound.kill();
        let _ = self.unbound.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.path().join("maillog")).unwrap_or_default();
            eprintln!("Postfix's log:\n{log}");
        }
    }
}

/// Unbound's words for the lines of a zone file.
fn local_data(lines: &str) -> String {
    lines.lines().map(|line| format!(" local-data: '{line}'\n")).collect()
}

fn local_zone() -> String {
    let data = local_data(&ZONE.join("\n"));
    format!(" local-zone: \"test.\" static\n{data}")
}

/// On the only name server there is, with these lines about zones.
pub(crate) fn start_unbound(dir: &Path, zones: &str) -> Child {
    let at = dir.display();
    let config = format!(
        "server:\n interface: 127.0.0.1\n port: 53\n username: \"\"\n chroot: \"\"\n directory: \"{at}\"\n \
         pidfile: \"{at}/unbound.pid\"\n use-syslog: no\n logfile: \"{at}/unbound.log\"\n \
         access-control: 127.0.0.0/8 allow\n{zones}remote-control:\n control-enable: no\n"
    );
    fs::write(dir.join("unbound.conf"), config).unwrap();
    fs::write(dir.join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    let mounted =
        Command::new("mount").arg("--bind").arg(dir.join("resolv.conf")).arg("/etc/resolv.conf").status();
    assert!(mounted.unwrap().success());
    let mut unbound = Command::new("unbound");
    unbound.arg("-d").arg("-c").arg(dir.join("unbound.conf"));
    unbound.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn postfix(dir: &Path) -> Command {
    let mut command = Command::new("postfix");
    command.arg("-c").arg(dir.join("postfix")).stdout(Stdio::null());
    command
}

/// Its own directories, an address that it finds on an interface, and what Debian's `master.cf` says, without the chroot, which has another resolv.conf.
fn start_postfix(dir: &Path, site: &Site) {
    let address = Command::new("ip").args(["address", "add", "127.0.0.2/32", "dev", "lo"]).status();
    assert!(address.unwrap().success());
    let (at, config) = (dir.display(), dir.join("postfix"));
    fs::create_dir(&config).unwrap();
    fs::create_dir(dir.join("mail")).unwrap();
    fs::set_permissions(dir.join("mail"), fs::Permissions::from_mode(0o777)).unwrap();
    let (certificate, key) = (site.path("crt"), site.path("key"));
    let main = format!(
        "compatibility_level = 3.6\nqueue_directory = {at}/spool\ndata_directory = {at}/data\n\
         myhostname = mx.postfix.test\nmydestination =\ninet_interfaces = 127.0.0.2\ninet_protocols = ipv4\n\
         mynetworks = 127.0.0.0/8\nvirtual_mailbox_domains = postfix.test\nvirtual_mailbox_base = {at}/mail\n\
         virtual_mailbox_maps = static:bob/\nvirtual_uid_maps = static:65534\nvirtual_gid_maps = static:65534\n\
         smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n\
         smtpd_tls_received_header = yes\nsmtp_tls_security_level = may\n\
         maillog_file_prefixes = {at}\nmaillog_file = {at}/maillog\n",
        certificate.display(),
        key.display(),
    );
    fs::write(config.join("main.cf"), main).unwrap();
    let master = fs::read_to_string("/etc/postfix/master.cf").expect("apt install postfix");
    let master = master.lines().map(|line| {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if !line.starts_with([' ', '\t', '#']) && words.len() >= 8 {
            words[4] = "n";
            return words.join(" ");
        }
        line.to_owned()
    });
    let master: Vec<String> = master.collect();
    fs::write(config.join("master.cf"), master.join("\n") + "\n").unwrap();
    for sub in ["spool", "data"] {
        fs::create_dir(dir.join(sub)).unwrap();
    }
    assert!(Command::new("chown").arg("postfix").arg(dir.join("data")).status().unwrap().success());
    assert!(postfix(dir).arg("start").status().unwrap().success(), "Postfix starts");
}

/// A site of this domain with port 25 at this address.
pub(crate) fn site_at(domain: &str, address: &str) -> Site {
    // No routes: DNS shows the way.
    let mut site = Site::with("[routes]\n");
    site.edit("postier.toml", "\"example.test\", \"second.test\"", &format!("\"{domain}\""));
    site.call_it(&format!("mx.{domain}"));
    site.edit("postier.toml", "smtp = [\"127.0.0.1:0\"]", &format!("smtp = [\"{address}:25\"]"));
    site.edit("users", "example.test", domain);
    site
}

pub(crate) fn one_mail(what: &str, maildir: &Path) -> String {
    eventually(what, || {
        let mails = if maildir.join("new").exists() { mail_in(maildir) } else { Vec::new() };
        mails.into_iter().next().map(|mail| mail.text)
    })
}

#[test]
#[ignore = "needs root, a network namespace, unbound, postfix and swaks"]
fn two_postiers_and_a_postfix_write_to_each_other() {
    if !in_own_network("internet::two_postiers_and_a_postfix_write_to_each_other") {
        return;
    }
    let (here, there) = (site_at("here.test", "127.0.0.3"), site_at("there.test", "127.0.0.4"));
    // One that is reached over IPv6 only, and one that says "later" first.
    there.edit("postier.toml", "\"there.test\"", "\"there.test\", \"six.test\"");
    there.edit("postier.toml", "\"127.0.0.4:25\"", "\"127.0.0.4:25\", \"[::1]:25\"");
    there.add("users", "bob@six.test:{PLAIN}x\n");
    let grey = Sink::at("127.0.0.5:25", Manner::Greylisting);
    here.add("postier.toml", "[queue]\nretry_seconds = 1\n");
    let internet = Internet::start(&here, "");
    let (here_server, there_server) = (Server::start(&here), Server::start(&there));
    let text = "From: ann@here.test\nSubject: Tea\n\nAt five, with caf\u{e9}.\n.dot\n";

    // The first exchanger of postfix.test is down.
    let mut smtp = here_server.submission("ann");
    smtp.deliver("ann@here.test", &["bob@there.test", "bob@postfix.test"], text);
    let mail = one_mail("the mail at the other postier", &there.path("mail/there.test/bob"));
    assert!(mail.ends_with("\n\nAt five, with caf\u{e9}.\n.dot\n") && mail.contains("ESMTPS"), "{mail}");
    let mail = eventually("the mail at Postfix", || internet.postfix_mail().into_iter().next());
    assert!(mail.ends_with("\n\nAt five, with caf\u{e9}.\n.dot\n"), "{mail}");
    let header = mail.split_once("\n\n").unwrap().0;
    assert!(header.contains("(using TLSv1.3 ") && header.contains("from mx.here.test ("), "{header}");
    assert_eq!(header.matches("Return-Path: ").count(), 1, "{header}");

    smtp.deliver("ann@here.test", &["bob@six.test", "bob@grey.test"], "Subject: Cake\n\nPlain.\n");
    one_mail("the mail over IPv6", &there.path("mail/six.test/bob"));
    eventually("the mail at the second try", || grey.mails().into_iter().next());

    // And back.
    there_server.submission("bob").deliver("bob@there.test", &["ann@here.test"], text);
    one_mail("the answer of the other postier", &here.path("mail/here.test/ann"));
    let mut swaks = client(&here, "swaks");
    swaks.args(["--server", "127.0.0.2", "--from", "bob@postfix.test", "--to", "bob@here.test"]);
    good(swaks.args(["--h-Subject", "Cake"]), "");
    let mail = one_mail("the mail of Postfix", &here.path("mail/here.test/bob"));
    assert!(mail.contains("\nSubject: Cake\n") && mail.contains("ESMTPS"), "{mail}");

    // Who takes no mail, and who does not exist.
    smtp.deliver("ann@here.test", &["you@null.test", "you@nowhere.test"], text);
    eventually("two notices", || {
        let mails = mail_in(&here.path("mail/here.test/ann"));
        let has = |words: &str| mails.iter().any(|mail| mail.text.contains(words));
        (has("The domain null.test says that it takes no mail")
            && has("The domain nowhere.test does not exist"))
        .then_some(())
    });
    eventually("an empty queue", || {
        here.path("state/queue/mail").read_dir().unwrap().next().is_none().then_some(())
    });
    here_server.stop();
    there_server.stop();
}

#[test]
#[ignore = "needs root, a network namespace, unbound, postfix, swaks and Python's dkimpy, PyNaCl and pyspf"]
fn what_leaves_passes_dkim_and_spf_where_it_arrives() {
    if !in_own_network("internet::what_leaves_passes_dkim_and_spf_where_it_arrives") {
        return;
    }
    let here = site_at("here.test", "127.0.0.3");
    here.add("aliases", "away: you@nowhere.test\n");
    let records = good(&mut dkim(&here, &["new"]), "");
    let internet = Internet::start(&here, &zone_lines(&records));
    eventually("the records", || run_with(&mut dkim(&here, &["check"]), "").status.success().then_some(()));
    let server = Server::start(&here);
    // What a user writes, plain and not, and what the server itself has to say to somebody elsewhere.
    let mut smtp = server.submission("ann");
    for text in ["Subject: Tea\n\nAt five.\n", "Subject: Tea\n\nAt five, with caf\u{e9}.\n.dot\n"] {
        smtp.deliver("ann@here.test", &["bob@postfix.test"], &format!("From: ann@here.test\n{text}"));
    }
    let mut swaks = client(&here, "swaks");
    swaks.args(["--server", "127.0.0.3", "--from", "bob@postfix.test", "--to", "away@here.test"]);
    good(&mut swaks, "");
    let mails = eventually("three mails at Postfix", || {
        Some(internet.postfix_mail()).filter(|mails| mails.len() == 3)
    });
    assert_eq!(mails.iter().filter(|mail| mail.starts_with("Return-Path: <>\n")).count(), 1);
    assert_eq!(internet.authentic(&mails), ["pass 2 2"; 3], "{mails:?}");
    // What is wrong would be found out.
    let forged = [mails[0].replace("[127.0.0.2]", "[127.0.0.9]"), mails[0].replace("\nFrom: ", "\nFrom: x")];
    assert_eq!(internet.authentic(&forged), ["fail 2 2", "pass 0 2"]);
    server.stop();
}
