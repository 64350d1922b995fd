//! The two servers, each with its configuration, its Maildir and its processes.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postier_host::identity::Identity;
use postier_host::tls::{provider, self_signed};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::client::Client;
use super::generator;
use super::peers::{self, free_port, give, postier, stop};

const PASSWORD: &str = "sesame";
const DOVECOT: &str = "/usr/sbin/dovecot";

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Postier,
    Dovecot,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Postier => "postier",
            Kind::Dovecot => "Dovecot",
        }
    }
}

/// Which servers there are to be measured.
pub(crate) fn available() -> Result<Vec<Kind>, String> {
    postier()?;
    let version = Command::new(DOVECOT).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    match version {
        Ok(version) if version.starts_with("2.3.") => return Ok(vec![Kind::Postier, Kind::Dovecot]),
        Ok(version) => {
            eprintln!("Dovecot {version} wants another configuration than this has: postier alone")
        }
        Err(error) => eprintln!("{DOVECOT}: {error} (apt install dovecot-imapd): postier alone"),
    }
    Ok(vec![Kind::Postier])
}

/// A directory with the generated messages.
pub(crate) struct Site {
    dir: PathBuf,
    certificate: String,
    key: String,
    /// As whom both serve.
    user: Identity,
}

impl Site {
    pub(crate) fn new(parent: &Path, messages: u32) -> Result<Self, String> {
        let me = Identity::current().map_err(|error| error.to_string())?;
        let user = match me.uid {
            // Dovecot serves nobody as root.
            0 => Identity::lookup("nobody").ok().flatten().ok_or("there is no user nobody")?,
            _ => me,
        };
        let made = self_signed(&["localhost"])?;
        let dir = parent.join(format!("postier-mailboxes-{}", std::process::id()));
        let site = Self { dir, certificate: made.certificate, key: made.key, user };
        eprintln!("{messages} messages are made in {}", site.dir.display());
        generator::fill(&site.dir.join("messages"), messages).map_err(|error| site.problem(&error))?;
        Ok(site)
    }

    fn problem(&self, error: &dyn std::fmt::Display) -> String {
        format!("{}: {error}", self.dir.display())
    }

    /// For clients that trust this site's certificate.
    fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        roots.add(certificate.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let config = config.map_err(|error| error.to_string())?;
        Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A server that runs, with a Maildir of its own whose mailbox `box` has the messages.
pub(crate) struct Server {
    kind: Kind,
    home: PathBuf,
    maildir: PathBuf,
    owner: (u32, u32),
    ports: (u16, u16),
    tls: Arc<ClientConfig>,
    child: Child,
}

impl Server {
    pub(crate) fn start(site: &Site, kind: Kind) -> Result<Self, String> {
        let home = site.dir.join(kind.name());
        let maildir = home.join("mail/example.test/ann");
        let files = [("crt", &site.certificate), ("key", &site.key)];
        let made = (|| {
            for part in ["cur", "new", "tmp", ".box/cur", ".box/new", ".box/tmp"] {
                fs::create_dir_all(maildir.join(part))?;
            }
            for (name, text) in files {
                fs::write(home.join(name), text)?;
            }
            fs::set_permissions(home.join("key"), fs::Permissions::from_mode(0o600))?;
            fs::write(maildir.join(".box/maildirfolder"), "")?;
            for entry in fs::read_dir(site.dir.join("messages"))? {
                let entry = entry?;
                fs::hard_link(entry.path(), maildir.join(".box/cur").join(entry.file_name()))?;
            }
            Ok::<(), std::io::Error>(())
        })();
        made.map_err(|error| site.problem(&error))?;
        let (ports, owner) = ((free_port()?, free_port()?), (site.user.uid, site.user.gid));
        let config = match kind {
            Kind::Postier => postier_config(site, ports),
            Kind::Dovecot => dovecot_config(site, &home, ports),
        };
        fs::write(home.join("config"), config).map_err(|error| site.problem(&error))?;
        let users = format!("ann@example.test:{{PLAIN}}{PASSWORD}\n");
        fs::write(home.join("users"), users).map_err(|error| site.problem(&error))?;
        fs::write(home.join("aliases"), "postmaster: ann\n").map_err(|error| site.problem(&error))?;
        give(&home, owner).map_err(|error| site.problem(&error))?;
        let tls = site.tls()?;
        let child = run(kind, &home, ports.0)?;
        Ok(Self { kind, home, maildir, owner, ports, tls, child })
    }

    /// A connection that is logged in.
    pub(crate) fn client(&self, tls: bool) -> Result<Client, String> {
        let (port, tls) = if tls { (self.ports.1, Some(self.tls.clone())) } else { (self.ports.0, None) };
        let mut client = Client::connect(port, tls)?;
        client.command(&format!("LOGIN ann@example.test {PASSWORD}"))?;
        Ok(client)
    }

    /// Another process, and no file of its own in the mailbox.
    pub(crate) fn forget(&mut self) -> Result<(), String> {
        stop(&mut self.child);
        for entry in fs::read_dir(self.maildir.join(".box")).map_err(|error| error.to_string())?.flatten() {
            let name = entry.file_name();
            let is_ours = ["dovecot", "postier"].iter().any(|own| name.to_string_lossy().starts_with(own));
            if is_ours {
                fs::remove_file(entry.path()).map_err(|error| error.to_string())?;
            }
        }
        self.child = run(self.kind, &self.home, self.ports.0)?;
        Ok(())
    }

    /// Makes a mailbox that has no message.
    pub(crate) fn empty_mailbox(&self, name: &str) -> Result<(), String> {
        let path = self.maildir.join(format!(".{name}"));
        let made = (|| {
            let _ = fs::remove_dir_all(&path);
            for part in ["cur", "new", "tmp"] {
                fs::create_dir_all(path.join(part))?;
            }
            give(&path, self.owner)
        })();
        made.map_err(|error| format!("{}: {error}", path.display()))
    }

    /// PSS of the server and all processes it has started, in kilobytes.
    pub(crate) fn memory(&self) -> f64 {
        peers::memory(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

fn postier_config(site: &Site, (plain, tls): (u16, u16)) -> String {
    format!(
        "hostname = \"localhost\"\ndomains = [\"example.test\"]\nuser = \"{}\"\nstate = \"state\"\n\
         [tls]\ncertificate = \"crt\"\nkey = \"key\"\n[accounts]\nfile = \"users\"\n\
         [mail]\nmaildir = \"mail/{{domain}}/{{user}}\"\n[aliases]\nfile = \"aliases\"\n[login]\nwithout_tls = \"loopback\"\n\
         [listen]\nsmtp = [\"127.0.0.1:0\"]\nsubmission = [\"127.0.0.1:0\"]\nsubmissions = [\"127.0.0.1:0\"]\n\
         imap = [\"127.0.0.1:{plain}\"]\nimaps = [\"127.0.0.1:{tls}\"]\n",
        site.user.name
    )
}

fn dovecot_config(site: &Site, home: &Path, (plain, tls): (u16, u16)) -> String {
    let (home, user) = (home.display(), &site.user);
    let own_users = match Identity::current() {
        Ok(me) if me.uid != 0 => {
            format!("default_internal_user = {0}\ndefault_login_user = {0}\n", me.name)
        }
        Ok(_) | Err(_) => String::new(),
    };
    format!(
        "protocols = imap\nlisten = 127.0.0.1\nbase_dir = {home}/run\nstate_dir = {home}/state\nlog_path = {home}/log\n\
         ssl = yes\nssl_cert = <{home}/crt\nssl_key = <{home}/key\ndisable_plaintext_auth = no\n\
         passdb {{\n  driver = static\n  args = password={PASSWORD}\n}}\n\
         userdb {{\n  driver = static\n  args = uid={uid} gid={gid} home={home}\n}}\n\
         mail_location = maildir:{home}/mail/example.test/ann\nfirst_valid_uid = 1\nfirst_valid_gid = 0\n\
         mail_max_userip_connections = 200\nnamespace inbox {{\n  inbox = yes\n}}\n{own_users}\
         service imap-login {{\n  inet_listener imap {{\n    port = {plain}\n  }}\n  inet_listener imaps {{\n    port = {tls}\n  }}\n}}\n",
        uid = user.uid,
        gid = user.gid,
    )
}

/// Starts a server and waits until it answers.
fn run(kind: Kind, home: &Path, port: u16) -> Result<Child, String> {
    let mut command = match kind {
        Kind::Postier => Command::new(postier()?),
        Kind::Dovecot => Command::new(DOVECOT),
    };
    match kind {
        Kind::Postier => command.arg("serve").arg("--config").arg(home.join("config")),
        Kind::Dovecot => command.arg("-F").arg("-c").arg(home.join("config")),
    };
    let log = fs::File::create(home.join("output")).map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", kind.name()))?;
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let is_over = !matches!(child.try_wait(), Ok(None));
        if is_over || start.elapsed() > Duration::from_secs(20) {
            stop(&mut child);
            let said = fs::read_to_string(home.join("output")).unwrap_or_default();
            return Err(format!("{} does not start: {said}", kind.name()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(child)
}
