//! MTA-STS: a real resolver (Unbound), a web server of Python's with the policies, certificates of an authority that the
//! machine trusts.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::dane::shell;
use crate::harness::{Server, Site, eventually, in_own_network, postier};
use crate::internet::{one_mail, site_at, start_unbound};
use crate::sending::command;

/// Domains with a policy, the host it names, and what comes of mail to them.
const POLICIES: &[(&str, &str, &str)] = &[
    ("there.test", "enforce", "mx.there.test"),
    ("name.test", "enforce", "other.name.test"),
    ("cert.test", "enforce", "*.cert.test"),
    ("testing.test", "testing", "elsewhere.test"),
    ("web.test", "enforce", "elsewhere.test"),
];

/// Every domain's exchanger is at one address, and every policy at another; nobody is at that of `dead.test`.
fn zone(domains: &[(&str, &str, &str)]) -> String {
    let mut lines = String::from(" local-zone: \"test.\" static\n");
    for (domain, id, mx) in domains {
        let web = if *domain == "dead.test" { "127.0.0.9" } else { "127.0.0.8" };
        let mut records = vec![
            format!("{domain}. MX 10 {mx}."),
            format!("{mx}. A 127.0.0.4"),
            format!("mta-sts.{domain}. A {web}"),
        ];
        if !id.is_empty() {
            records.push(format!("_mta-sts.{domain}. TXT \"v=STSv1; id={id};\""));
        }
        for record in records {
            lines.push_str(&format!(" local-data: '{record}'\n"));
        }
    }
    lines
}

/// An authority, a web server's certificate for the hosts of policies (but that of `web.test`), and a mail server's.
fn make_certificates(dir: &Path) {
    let web: Vec<String> = POLICIES.iter().map(|(domain, ..)| format!("DNS:mta-sts.{domain}")).collect();
    let web = web.join(",").replace("DNS:mta-sts.web.test", "DNS:web.test");
    shell(
        dir,
        &format!(
            "key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'\n\
             openssl req -x509 $key -keyout ca.key -out ca.crt -subj '/CN=Authority' -days 30 2>&1\n\
             issue() {{ openssl req $key -keyout $1.key -out $1.csr -subj \"/CN=$1\" 2>&1\n\
             echo \"subjectAltName=$2\" > $1.ext\n\
             openssl x509 -req -in $1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile $1.ext \
             -out $1.crt 2>&1; }}\n\
             issue web {web}\n\
             issue mail DNS:mx.there.test,DNS:mx.name.test,DNS:evil.test"
        ),
    );
}

/// Serves `policies/HOST` to whoever asks for a policy with that name.
const WEB_SERVER: &str = "\
import http.server, ssl
class Policies(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        assert self.path == '/.well-known/mta-sts.txt'
        text = open('policies/' + self.headers['Host'], 'rb').read()
        self.send_response(200)
        self.send_header('Content-Type', 'text/plain')
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)
server = http.server.ThreadingHTTPServer(('127.0.0.8', 443), Policies)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('web.crt', 'web.key')
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
";

fn start_web_server(dir: &Path) -> Program {
    let mut python = Command::new("python3");
    python.args(["-c", WEB_SERVER]).current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null());
    let program = Program(python.spawn().unwrap());
    eventually("the web server", || TcpStream::connect("127.0.0.8:443").ok());
    program
}

fn write_policy(dir: &Path, domain: &str, mode: &str, mx: &str) {
    let text = format!("version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 604800\r\n");
    fs::write(dir.join("policies").join(format!("mta-sts.{domain}")), text).unwrap();
}

/// Ended when it goes.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_trusting(site: &Site, dir: &Path) -> Server {
    let mut command = postier();
    command.arg("serve").arg("--config").arg(site.config()).env("SSL_CERT_FILE", dir.join("ca.crt"));
    Server::spawn(site, command)
}

/// How mails have been protected, as the journal has it.
fn was_sent(site: &Site, to: &str, tls: &str) -> bool {
    let journal = fs::read_to_string(site.path("state/journal.jsonl")).unwrap();
    let mut lines = journal.lines().filter(|line| line.contains(&format!("\"to\":\"{to}\",\"host\"")));
    lines.any(|line| line.contains(&format!("\"tls\":\"{tls}\"")))
}

#[test]
#[ignore = "needs root, a network namespace, unbound, openssl and python3"]
fn what_a_domain_says_of_its_mail_servers_counts() {
    if !in_own_network("mta_sts::what_a_domain_says_of_its_mail_servers_counts") {
        return;
    }
    let (here, there) = (site_at("here.test", "127.0.0.3"), site_at("there.test", "127.0.0.4"));
    let names = "\"there.test\", \"name.test\", \"testing.test\", \"web.test\", \"dead.test\"";
    there.edit("postier.toml", "\"there.test\"", names);
    there.add("users", "bob@name.test:{PLAIN}x\nbob@testing.test:{PLAIN}x\n");
    there.add("users", "bob@web.test:{PLAIN}x\nbob@dead.test:{PLAIN}x\n");
    here.add("postier.toml", "[queue]\nretry_seconds = 1\nlongest_retry_seconds = 1\n");
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    make_certificates(dir.path());
    for (ours, made) in [("crt", "mail.crt"), ("key", "mail.key")] {
        fs::write(there.path(ours), fs::read(dir.path().join(made)).unwrap()).unwrap();
    }
    fs::create_dir(dir.path().join("policies")).unwrap();
    for (domain, mode, mx) in POLICIES {
        write_policy(dir.path(), domain, mode, mx);
    }
    let mut domains = vec![("dead.test", "1", "mx.dead.test")];
    let mx = ["mx.there.test", "mx.name.test", "mx.cert.test", "mx.testing.test", "mx.web.test"];
    domains.extend(POLICIES.iter().zip(mx).map(|((domain, ..), mx)| (*domain, "1", mx)));
    let unbound = Program(start_unbound(dir.path(), &zone(&domains)));
    let web = start_web_server(dir.path());
    let there_server = Server::start(&there);

    let server = start_trusting(&here, dir.path());
    let text = "From: ann@here.test\nSubject: Tea\n\nAt five.\n";
    let to: Vec<String> = domains.iter().map(|(domain, ..)| format!("bob@{domain}")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    server.submission("ann").deliver("ann@here.test", &to, text);
    for (domain, tls) in [
        ("there.test", "TLSv1.3 MTA-STS"),
        ("testing.test", "TLSv1.3 (MTA-STS testing: the policy does not name the host)"),
        ("dead.test", "TLSv1.3"),
        ("web.test", "TLSv1.3"),
    ] {
        one_mail(domain, &there.path(&format!("mail/{domain}/bob")));
        eventually("how it was protected", || was_sent(&here, &format!("bob@{domain}"), tls).then_some(()));
    }
    for mark in [
        "mta-sts.dead.test: Connection refused",
        "not valid for name \\\"mta-sts.web.test\\\"",
        "the policy that the domain tests is broken (MTA-STS)",
        "policy fetched (MTA-STS)",
    ] {
        server.wait_for_log(mark);
    }
    eventually("why the others wait", || {
        let list = command(&here, &["list"]);
        let name = "DNS says that mx.name.test takes mail for name.test, and the policy of name.test (MTA-STS) \
                    does not name it";
        let certificate = "454 4.7.5 TLS with mx.cert.test failed: ";
        let policy = "(the policy of cert.test, MTA-STS, wants it verified)";
        [name, certificate, policy].iter().all(|words| list.contains(words)).then_some(())
    });
    eventually("policies on disk", || here.path("state/mta-sts/name.test.policy").exists().then_some(()));
    eventually("policies on disk", || here.path("state/mta-sts/there.test.policy").exists().then_some(()));
    server.stop();

    // Somebody hides record and policy, and says that another server takes the mail.
    drop((web, unbound));
    let mut forged = domains.clone();
    forged.retain(|(domain, ..)| *domain != "there.test");
    forged.push(("there.test", "", "evil.test"));
    let unbound = Program(start_unbound(dir.path(), &zone(&forged)));
    let server = start_trusting(&here, dir.path());
    server.submission("ann").deliver("ann@here.test", &["bob@there.test"], "Subject: Secret\n\nSh.\n");
    eventually("why it waits", || {
        let list = command(&here, &["list"]);
        list.contains("DNS says that evil.test takes mail for there.test").then_some(())
    });
    server.stop();

    // The truth is back, and a domain that had made a mistake has another policy.
    drop(unbound);
    let mended = domains.iter().map(|&(domain, id, mx)| match domain {
        "name.test" => (domain, "2", mx),
        _ => (domain, id, mx),
    });
    write_policy(dir.path(), "name.test", "enforce", "mx.name.test");
    let _unbound = Program(start_unbound(dir.path(), &zone(&mended.collect::<Vec<_>>())));
    let _web = start_web_server(dir.path());
    let server = start_trusting(&here, dir.path());
    command(&here, &["flush"]);
    one_mail("the mail under the new policy", &there.path("mail/name.test/bob"));
    eventually("how it was protected", || was_sent(&here, "bob@name.test", "TLSv1.3 MTA-STS").then_some(()));
    eventually("the secret", || {
        let maildir = there.path("mail/there.test/bob");
        let mails = crate::harness::mail_in(&maildir);
        mails.iter().any(|mail| mail.text.contains("Subject: Secret")).then_some(())
    });
    server.stop();
    there_server.stop();
}
