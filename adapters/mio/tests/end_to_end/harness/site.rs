//! A directory with a whole configuration: `ann` and `bob` of `example.test`, on ports the system picks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use postier_host::identity::Identity;
use postier_host::tls::{provider, self_signed};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Everybody's, unless a test says otherwise. It must never be seen in a log.
pub(crate) const PASSWORD: &str = "sesame-4711";

pub(crate) struct Site {
    dir: tempfile::TempDir,
    certificate: String,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// With more sections at the end of the configuration.
    pub(crate) fn with(sections: &str) -> Self {
        Self::of(&["ann", "bob"], sections)
    }

    /// With these accounts; the first one is the postmaster.
    pub(crate) fn of(accounts: &[&str], sections: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = self_signed(&["localhost", "127.0.0.1"]).unwrap();
        let listen: String = ["smtp", "submission", "submissions", "imap", "imaps"]
            .map(|service| format!("{service} = [\"127.0.0.1:0\"]\n"))
            .concat();
        let me = Identity::current().unwrap().name;
        // Tests send nowhere unless they say where.
        let quiet = if sections.contains("[routes]") { "" } else { "[queue]\nsend = false\n" };
        let config = format!(
            "hostname = \"localhost\"\ndomains = [\"example.test\", \"second.test\"]\nuser = \"{me}\"\nstate = \"state\"\n\
             [tls]\ncertificate = \"crt\"\nkey = \"key\"\n[accounts]\nfile = \"users\"\n\
             [mail]\nmaildir = \"mail/{{domain}}/{{user}}\"\n[aliases]\nfile = \"aliases\"\n[listen]\n{listen}{quiet}{sections}"
        );
        // Hashing well is slow on purpose; here it proves nothing.
        let users: String =
            accounts.iter().map(|user| format!("{user}@example.test:{{PLAIN}}{PASSWORD}\n")).collect();
        let site = Self { dir, certificate: made.certificate };
        site.write("postier.toml", &config);
        site.write("crt", &site.certificate);
        site.write("key", &made.key);
        site.write("users", &users);
        site.write("aliases", &format!("postmaster: {}\n", accounts[0]));
        fs::set_permissions(site.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("postier.toml")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Lines for the configuration, if there are not enough.
    pub(crate) fn add(&self, name: &str, lines: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        self.write(name, &(text + lines));
    }

    /// Writes `after` for `before`, which must be there.
    pub(crate) fn edit(&self, name: &str, before: &str, after: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(before), "no {before} in {text}");
        self.write(name, &text.replace(before, after));
    }

    pub(crate) fn maildir(&self, user: &str) -> PathBuf {
        self.path("mail/example.test").join(user)
    }

    /// Gives the site, and the server that will serve it, to another user. Only root can.
    pub(crate) fn give_to(&self, user: &str) {
        let name = Identity::current().unwrap().name;
        self.edit("postier.toml", &format!("user = \"{name}\""), &format!("user = \"{user}\""));
        let done = Command::new("chown").arg("-R").arg(user).arg(self.dir.path()).status().unwrap();
        assert!(done.success());
    }

    /// A new certificate and key in the place of the old ones.
    pub(crate) fn renew_certificate(&mut self) {
        self.certify(&["localhost", "127.0.0.1"]);
    }

    /// Another name for the server, and a certificate that has it.
    pub(crate) fn call_it(&mut self, hostname: &str) {
        self.edit("postier.toml", "hostname = \"localhost\"", &format!("hostname = \"{hostname}\""));
        self.certify(&["localhost", "127.0.0.1", hostname]);
    }

    fn certify(&mut self, names: &[&str]) {
        let made = self_signed(names).unwrap();
        self.write("crt", &made.certificate);
        self.write("key", &made.key);
        self.certificate = made.certificate;
    }

    /// For clients that trust this site's certificate and no other.
    pub(crate) fn tls(&self) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()).unwrap();
        let config =
            rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        Arc::new(config.unwrap().with_root_certificates(roots).with_no_client_auth())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("POSTIER_KEEP").is_some() {
            self.dir.disable_cleanup(true);
            eprintln!("kept: {}", self.dir.path().display());
        }
    }
}
