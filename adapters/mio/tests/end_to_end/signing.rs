//! Mail leaves signed: the keys are made, their records pasted into a real DNS server (Unbound), and what another server gets is
//! checked by dkimpy.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{Server, Site, eventually, good, postier, run_with};
use crate::sending::{Manner, Sink, route};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/tests/dkim_verify.py");

/// An Unbound that knows some records.
struct Dns(Child);

impl Dns {
    fn start(dir: &Path, port: u16, records: &str) -> Self {
        let data: String = records.lines().map(|line| format!(" local-data: '{line}'\n")).collect();
        let config = format!(
            "server:\n interface: 127.0.0.1\n port: {port}\n username: \"\"\n chroot: \"\"\n directory: \"{0}\"\n \
             pidfile: \"{0}/unbound.pid\"\n use-syslog: no\n logfile: \"{0}/unbound.log\"\n local-zone: \"test.\" static\n\
             {data}remote-control:\n control-enable: no\n",
            dir.display()
        );
        fs::write(dir.join("unbound.conf"), config).unwrap();
        let mut unbound = Command::new("unbound");
        unbound.arg("-d").arg("-c").arg(dir.join("unbound.conf"));
        Dns(unbound.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("apt install unbound"))
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn dkim(site: &Site, words: &[&str]) -> Command {
    let mut command = postier();
    command.arg("dkim").args(words).arg("--config").arg(site.config());
    command
}

/// The lines for a zone file that `postier dkim` has printed, without the parentheses, which only zone files know.
pub(crate) fn zone_lines(printed: &str) -> String {
    let lines = printed.lines().filter(|line| line.contains(" IN TXT ( "));
    lines.map(|line| line.replace("( ", "").replace(" )", "") + "\n").collect()
}

/// What dkimpy says of each mail, with the records as `postier dkim list` prints them for programs.
fn verify(site: &Site, mails: &[String]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let list: serde_json::Value =
        serde_json::from_str(&good(&mut dkim(site, &["list", "--json"]), "")).unwrap();
    let line = |key: &serde_json::Value| {
        format!("{} {}\n", key["name"].as_str().unwrap(), key["text"].as_str().unwrap())
    };
    fs::write(dir.path().join("records"), list.as_array().unwrap().iter().map(line).collect::<String>())
        .unwrap();
    let mut python = Command::new("python3");
    python.arg(SCRIPT).arg(dir.path().join("records"));
    for (n, mail) in mails.iter().enumerate() {
        let unstuffed = mail.lines().map(|line| line.strip_prefix('.').unwrap_or(line));
        let octets: String = unstuffed.map(|line| format!("{line}\r\n")).collect();
        let path = dir.path().join(n.to_string());
        fs::write(&path, octets).unwrap();
        python.arg(path);
    }
    good(&mut python, "").lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs unbound and Python's dkimpy and PyNaCl"]
fn what_leaves_is_signed_once_the_records_are_in_the_dns() {
    let sink = Sink::start(Manner::EightBit);
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let site =
        Site::with(&format!("[dns]\nservers = [\"127.0.0.1:{port}\"]\n{}", route("there.test", sink.port)));
    let server = Server::start(&site);
    let head = "From: Ann <ann@example.test>\nTo: bob@there.test\nSubject: Tea\n";
    let messages = [
        "\nAt five.\n",
        "\n",
        "\nAt five.\n\n\n \n\n",
        "\n  At \t five, with caf\u{e9}. \n.dot\n..\n",
        "References: <1@a>\n\t<2@a>\nSubject: twice\n\nx\n",
        "MIME-Version: 1.0\nContent-Type: multipart/mixed;\n boundary=\"=_x\"\n\n--=_x\n\nx\n--=_x--\n",
    ];
    let mut smtp = server.submission("ann");
    let mut send = |text: &str| {
        let before = sink.mails().len();
        smtp.deliver("ann@example.test", &["bob@there.test"], &format!("{head}{text}"));
        eventually("the mail", || sink.mails().get(before).cloned())
    };

    // A key that nobody can check is not used.
    let printed = good(&mut dkim(&site, &["new", "--selector", "one"]), "");
    assert!(printed.contains("oner._domainkey.example.test") && printed.contains("v=DKIM1; k=ed25519; p="));
    let output = run_with(&mut dkim(&site, &["check"]), "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("pending; the DNS does not say"), "{said}");
    assert!(send("\nAt five.\n").starts_with("Received: "));

    let dir = tempfile::tempdir().unwrap();
    let dns = Dns::start(dir.path(), port, &zone_lines(&printed));
    eventually("the records", || run_with(&mut dkim(&site, &["check"]), "").status.success().then_some(()));
    let listed = good(&mut dkim(&site, &["list"]), "");
    assert_eq!(listed.matches("  active\n").count(), 2, "{listed}");
    let mails: Vec<String> = messages.iter().map(|text| send(text)).collect();
    assert_eq!(verify(&site, &mails), ["2"; 6], "{}", mails[0]);
    assert!(mails.iter().all(|mail| mail.starts_with("DKIM-Signature: ")), "{}", mails[0]);
    let long = format!("\n{} {}\n", "x".repeat(900), "It was the best of times \n".repeat(20_000));
    assert_eq!(verify(&site, &[send(&long)]), ["2"]);
    let id = server.log().lines().rfind(|line| line.contains("\"signed\"")).map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["id"].as_str().unwrap().to_owned()
    });
    let mut trace = postier();
    let traced = good(trace.args(["trace", &id.unwrap(), "--config"]).arg(site.config()), "");
    assert!(traced.contains("  signed  domain=\"example.test\"  selectors=\"onee oner\"\n"), "{traced}");

    // The next keys take over, also in a server that was told nothing.
    let next = good(&mut dkim(&site, &["new", "--selector", "two"]), "");
    drop(dns);
    let _dns = Dns::start(dir.path(), port, &(zone_lines(&printed) + &zone_lines(&next)));
    eventually("the new records", || {
        run_with(&mut dkim(&site, &["check"]), "").status.success().then_some(())
    });
    let listed = good(&mut dkim(&site, &["list"]), "");
    assert_eq!(
        (listed.matches("  active\n").count(), listed.matches("  retired\n").count()),
        (2, 2),
        "{listed}"
    );
    let mail = send("\nAt six.\n");
    assert!(mail.contains("s=twoe;") && mail.contains("s=twor;") && !mail.contains("s=one"), "{mail}");
    assert_eq!(verify(&site, &[mail]), ["2"]);
    for selector in ["twoe", "twor"] {
        good(&mut dkim(&site, &["retire", selector]), "");
    }
    assert!(send("\nAt seven.\n").starts_with("Received: "));
    server.stop();
}
