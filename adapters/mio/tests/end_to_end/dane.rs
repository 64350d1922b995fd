//! DANE over a real resolver that validates (Unbound) and a zone that ldns has signed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::harness::{Server, Site, eventually, in_own_network};
use crate::internet::{one_mail, site_at, start_unbound};
use crate::sending::command;

/// `there.test` names its server's key, `wrong.test` another one; `web.test` names an authority of the web, which means
/// nothing between mail servers; `strict.test` says nothing. Then names that lead to others (RFC 7672 §2.2): a domain that is
/// another's alias, hosts that are aliases with the record at the one end or the other, an alias that is signed of a host
/// that is not, a domain without MX.
fn zone(key: &str) -> String {
    let other = "00".repeat(32);
    format!(
        "$ORIGIN test.\n$TTL 300\n@ SOA ns root 1 3600 900 86400 300\n@ NS ns\nns A 127.0.0.1\n\
         here MX 10 mx.here\nmx.here A 127.0.0.3\n\
         there MX 10 mx.there\nmx.there A 127.0.0.4\n_25._tcp.mx.there TLSA 3 1 1 {key}\n\
         wrong MX 10 mx.wrong\nmx.wrong A 127.0.0.4\n_25._tcp.mx.wrong TLSA 3 1 1 {other}\n\
         web MX 10 mx.web\nmx.web A 127.0.0.4\n_25._tcp.mx.web TLSA 1 1 1 {other}\n\
         strict MX 10 mx.strict\nmx.strict A 127.0.0.4\n\
         alias CNAME there\n\
         far MX 10 mx.far\nmx.far CNAME mx.there\n\
         near MX 10 mx.near\nmx.near CNAME mx.strict\n_25._tcp.mx.near TLSA 3 1 1 {key}\n\
         half MX 10 mx.half\nmx.half CNAME host.cloud.\n_25._tcp.mx.half TLSA 3 1 1 {key}\n\
         bare A 127.0.0.4\n_25._tcp.bare TLSA 3 1 1 {key}\n"
    )
}

pub(crate) fn shell(dir: &Path, script: &str) -> String {
    let output = Command::new("sh").arg("-ec").arg(script).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The SHA-256 of the public key of a site's certificate, in hexadecimal.
fn key_of(site: &Site, dir: &Path) -> String {
    let certificate = site.path("crt").display().to_string();
    let script = "| openssl pkey -pubin -outform DER | openssl dgst -sha256 -r | cut -d' ' -f1";
    shell(dir, &format!("openssl x509 -in {certificate} -noout -pubkey {script}"))
}

/// Signs the zone; the lines that make Unbound serve and validate it.
fn sign(dir: &Path, zone: &str) -> String {
    fs::write(dir.join("zone"), zone).unwrap();
    shell(
        dir,
        "KSK=$(ldns-keygen -k -a ECDSAP256SHA256 test.); ZSK=$(ldns-keygen -a ECDSAP256SHA256 test.)\n\
         cp $KSK.key anchor; ldns-signzone -o test. -f signed zone $KSK $ZSK",
    );
    let at = dir.display();
    format!(
        " local-zone: \"test.\" nodefault\n trust-anchor-file: \"{at}/anchor\"\nauth-zone:\n name: \"test.\"\n \
         zonefile: \"{at}/signed\"\n for-downstream: no\n for-upstream: yes\n"
    )
}

#[test]
#[ignore = "needs root, a network namespace, unbound, ldnsutils and openssl"]
fn the_certificate_must_be_the_one_that_dns_names() {
    if !in_own_network("dane::the_certificate_must_be_the_one_that_dns_names") {
        return;
    }
    let (here, there) = (site_at("here.test", "127.0.0.3"), site_at("there.test", "127.0.0.4"));
    // An unsigned domain of whose host a signed record says something; who can forge the MX could have left that out.
    let others =
        ["web.test", "alias.test", "far.test", "near.test", "half.test", "bare.test", "plain.example"];
    for domain in others {
        there.edit("postier.toml", "\"there.test\"", &format!("\"there.test\", \"{domain}\""));
        there.add("users", &format!("bob@{domain}:{{PLAIN}}x\n"));
    }
    here.add("postier.toml", "\"strict.test\" = { via = \"mx\", tls = \"verify\" }\n");
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let unsigned =
        " local-zone: \"plain.example.\" static\n local-data: \"plain.example. MX 10 mx.wrong.test.\"\n";
    fs::write(
        dir.path().join("cloud"),
        "$ORIGIN cloud.\n$TTL 300\n@ SOA ns root 1 3600 900 86400 300\n@ NS ns\nns A 127.0.0.1\nhost A 127.0.0.4\n",
    )
    .unwrap();
    let at = dir.path().display();
    let cloud = format!(
        "auth-zone:\n name: \"cloud.\"\n zonefile: \"{at}/cloud\"\n for-downstream: no\n for-upstream: yes\n"
    );
    let zones = unsigned.to_owned() + &sign(dir.path(), &zone(&key_of(&there, dir.path()))) + &cloud;
    let mut unbound = start_unbound(dir.path(), &zones);
    let (here_server, there_server) = (Server::start(&here), Server::start(&there));

    let text = "From: ann@here.test\nSubject: Tea\n\nAt five.\n";
    let mut smtp = here_server.submission("ann");
    let to = ["there.test", "wrong.test", "strict.test"].iter().chain(&others);
    let to: Vec<String> = to.map(|domain| format!("bob@{domain}")).collect();
    smtp.deliver("ann@here.test", &to.iter().map(String::as_str).collect::<Vec<_>>(), text);
    one_mail("the mail", &there.path("mail/there.test/bob"));
    for domain in others {
        one_mail(domain, &there.path(&format!("mail/{domain}/bob")));
    }
    let journal = || fs::read_to_string(here.path("state/journal.jsonl")).unwrap();
    eventually("how they were protected", || {
        let journal = journal();
        let sent = |to: &str, host: &str, tls: &str| {
            journal.contains(&format!("\"to\":\"{to}\",\"host\":\"{host}\",\"tls\":\"{tls}\""))
        };
        let dane = [
            ("there.test", "mx.there.test"),
            ("alias.test", "mx.there.test"),
            ("far.test", "mx.far.test"),
            ("near.test", "mx.near.test"),
            ("half.test", "mx.half.test"),
            ("bare.test", "bare.test"),
        ];
        let all = dane.iter().all(|(domain, host)| sent(&format!("bob@{domain}"), host, "TLSv1.3 DANE"));
        let unvalidated = sent("bob@plain.example", "mx.wrong.test", "TLSv1.3");
        (all && unvalidated && sent("bob@web.test", "mx.web.test", "TLSv1.3")).then_some(())
    });
    eventually("why the others wait", || {
        let list = command(&here, &["list"]);
        (list.contains("the certificate is none of those that the TLSA records of mx.wrong.test name (DANE)")
            && list
                .contains("454 4.7.5 TLS with mx.strict.test failed: no authority that this machine trusts"))
        .then_some(())
    });
    // A server that was told of a recipient is in the journal with how it was protected.
    let journal = journal();
    let told = |to: &str| {
        let mut lines = journal.lines().filter(|line| line.contains(&format!("\"to\":\"{to}\"")));
        lines.any(|line| line.contains("\"tls\":"))
    };
    assert!(told("bob@web.test"));
    assert!(!told("bob@wrong.test") && !told("bob@strict.test"), "they have been tried without");

    here_server.stop();
    there_server.stop();
    unbound.kill().unwrap();
    unbound.wait().unwrap();
}
