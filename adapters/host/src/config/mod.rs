//! The configuration: one TOML file, and the files it names.
//!
//! ```toml
//! hostname = "mail.example.org"
//! domains  = ["example.org"]
//! [tls]
//! certificate = "/etc/ssl/certs/mail.example.org.crt"
//! key         = "/etc/ssl/private/mail.example.org.key"
//! [accounts]
//! file = "/etc/postier/users"
//! [mail]
//! maildir = "/var/mail/{domain}/{user}"
//! [aliases]
//! file = "/etc/aliases"
//! ```
//!
//! [`Settings`] is what the file says; [`Config`] is that with users, aliases and certificate read and found
//! to fit together. All mistakes are reported at once, each with file, line, caret and what to do.
//!
//! ```
//! use postier_host::config::Settings;
//! let errors = Settings::parse("postier.toml".as_ref(), "hostnmae = \"mail.example.org\"\n").unwrap_err();
//! let first = &errors.problems[0];
//! assert_eq!(first.title, "unknown key `hostnmae`");
//! assert_eq!(first.position(), Some((1, 1)));
//! assert_eq!(first.advice, ["did you mean `hostname`?"]);
//! ```

mod identity;
mod mail_root;
mod people;
mod sending;
mod settings;
mod table;

use std::io;
use std::path::Path;
use std::sync::Arc;

use postier_core::site::Site;

use crate::files::{DirectFiles, FileText, ReadFiles};
use crate::identity::Identity;
use crate::report::{Errors, Problem, Severity};
use crate::tls::{ServerTls, Tickets, TlsIdentity, server_config};

pub use sending::SendSettings;
pub use settings::{Listen, LogFormat, LogLevel, LogSettings, STATE, Settings, standard_port};
pub use table::Located;

/// A problem that does not keep the server from its work.
pub type Warning = Problem;

/// A whole configuration, ready to be served.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the file says.
    pub settings: Settings,
    /// Domains, accounts, aliases, limits.
    pub site: Arc<Site>,
    /// The certificate with its key.
    pub tls: TlsIdentity,
    /// Who the server is to be; the current user when it cannot become another.
    pub identity: Identity,
}

impl Config {
    /// Reads and checks everything with this process's own rights.
    ///
    /// # Errors
    /// All problems found, warnings included; at least one is an error.
    pub fn load(path: &Path) -> Result<(Self, Vec<Warning>), Errors> {
        Self::load_with(path, &DirectFiles)
    }

    /// The same through another reader, such as the [`PrivilegedReader`](crate::privileged::PrivilegedReader).
    ///
    /// # Errors
    /// All problems found, warnings included; at least one is an error.
    pub fn load_with(path: &Path, files: &dyn ReadFiles) -> Result<(Self, Vec<Warning>), Errors> {
        let settings = Settings::read(path, files)?;
        let mut problems = Vec::new();
        let identity = identity::check_user(&settings, &mut problems);
        if let Some(identity) = &identity {
            mail_root::check_mail_roots(&settings, identity, &mut problems);
        }
        let tls = identity::check_tls(&settings, files, &mut problems);
        let site = people::build_site(&settings, files, &mut problems);
        match (identity, tls, site) {
            (Some(identity), Some(tls), Some(site))
                if problems.iter().all(|problem| problem.severity == Severity::Warning) =>
            {
                Ok((Self { settings, site: Arc::new(site), tls, identity }, problems))
            }
            _ => Err(Errors { problems }),
        }
    }

    /// What a person should know, before a start, of the rights that the server will have: that it would stay root,
    /// or cannot become the user it is to be. At a reload nothing of this changes.
    pub fn warn_of_rights(&self) -> Option<Warning> {
        identity::warn_of_rights(&self.settings, &self.identity)
    }

    /// A warning when programs of other users cannot hand in mail.
    pub fn warn_of_closed_state(&self) -> Option<Warning> {
        let state = &self.settings.state;
        if crate::pickup::is_open(state) {
            return None;
        }
        let title =
            format!("programs of other users cannot send mail: {} is closed to them", state.display());
        let advice =
            format!("`chmod o+x {}` lets them through, to the place for their mail", state.display());
        Some(Problem::warning(title).in_file(&self.settings.path).advise(advice))
    }

    /// The TLS configuration of a listener.
    pub fn tls_config(&self, tickets: Tickets) -> ServerTls {
        server_config(std::slice::from_ref(&self.tls), tickets)
    }
}

/// Builds only the people of a configuration: accounts and aliases, with what is wrong about them. For the commands that
/// edit the users file, `accounts` takes the place of what is on disk.
///
/// # Errors
/// All problems found; at least one is an error.
pub fn check_people(
    settings: &Settings,
    files: &dyn ReadFiles,
    accounts: &[u8],
) -> Result<(Site, Vec<Warning>), Errors> {
    let mut problems = Vec::new();
    match people::build_site_from(settings, files, accounts, &mut problems) {
        Some(site) if problems.iter().all(|problem| problem.severity == Severity::Warning) => {
            Ok((site, problems))
        }
        Some(_) | None => Err(Errors { problems }),
    }
}

/// Reads a file the configuration names, or says why it cannot.
fn read_named(
    settings: &Settings,
    files: &dyn ReadFiles,
    what: &str,
    place: &Located<std::path::PathBuf>,
    advice: &str,
    problems: &mut Vec<Problem>,
) -> Option<FileText> {
    let error = match files.read(&place.value) {
        Ok(text) => return Some(text),
        Err(error) => error,
    };
    let title = match error.kind() {
        io::ErrorKind::NotFound => format!("{what} does not exist: {}", place.value.display()),
        _ => format!("{what} cannot be read: {}: {}", place.value.display(), reason(&error)),
    };
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "start the server as root, which it gives up after reading, or let its user read the file"
        }
        _ => advice,
    };
    problems.push(settings.point(Problem::error(title), place.span.clone(), "").advise(advice));
    None
}

/// An error of the file system without its number.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.chars()
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(text.chars().skip(1)).collect())
}

#[cfg(test)]
mod tests;
