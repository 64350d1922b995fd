//! The directories that Maildirs are made in: `/var/mail/example.org` for `/var/mail/{domain}/{user}`.
//!
//! The server makes a Maildir when its first mail comes, as its own user, long after it has given up root. So the
//! directory above must belong to it: one that is missing is made for it at the start, one that
//! exists is looked at.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use super::{Config, Settings};
use crate::identity::Identity;
use crate::report::Problem;

/// The directory above the Maildirs of each domain. None where it is the user's own, as in `/home/{user}/Maildir`.
fn mail_roots(settings: &Settings) -> Vec<PathBuf> {
    let mut roots = Vec::new();
    for domain in &settings.domains {
        let above = |user: &[u8]| -> Option<PathBuf> {
            let path = settings.layout.expand(user, domain.value.as_bytes());
            Some(Path::new(std::ffi::OsStr::from_bytes(&path)).parent()?.to_owned())
        };
        if let (Some(one), Some(other)) = (above(b"a"), above(b"b"))
            && one == other
            && !roots.contains(&one)
        {
            roots.push(one);
        }
    }
    roots
}

impl Config {
    /// Makes the directories above the Maildirs where they are missing, for the server's user alone. To be
    /// called before the server gives up root.
    ///
    /// # Errors
    /// The directory that could not be made, and why.
    pub fn prepare_mail(&self) -> Result<(), (PathBuf, io::Error)> {
        for root in mail_roots(&self.settings) {
            // From the top, each directory we make being the server's.
            let mut missing: Vec<&Path> = root.ancestors().take_while(|path| !path.exists()).collect();
            missing.retain(|path| !path.as_os_str().is_empty());
            for path in missing.into_iter().rev() {
                make(path, &self.identity).map_err(|error| (path.to_owned(), error))?;
            }
        }
        Ok(())
    }
}

fn make(path: &Path, owner: &Identity) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    if owner.is_current() { Ok(()) } else { chown(path, Some(owner.uid), Some(owner.gid)) }
}

/// Warns of directories in which the server could not make a Maildir.
pub(super) fn check_mail_roots(settings: &Settings, owner: &Identity, problems: &mut Vec<Problem>) {
    for root in mail_roots(settings) {
        let Ok(metadata) = fs::metadata(&root) else { continue };
        let mode = metadata.mode();
        let may_write = owner.uid == 0
            || (metadata.uid() == owner.uid && mode & 0o200 != 0)
            || (mode & 0o020 != 0 && owner.groups().contains(&metadata.gid()))
            || mode & 0o002 != 0;
        if may_write {
            continue;
        }
        let name = &owner.name;
        let problem = Problem::warning(format!("{name} cannot make mailboxes in {}", root.display()));
        let advice = format!("`chown {name} {}`, or name the directory's owner as `user`", root.display());
        problems.push(settings.point(problem, settings.maildir.span.clone(), "").advise(advice));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(maildir: &str) -> Settings {
        let text = format!(
            "hostname = \"h.example\"\ndomains = [\"a.example\", \"b.example\"]\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n\
             [accounts]\nfile = \"u\"\n[mail]\nmaildir = \"{maildir}\"\n"
        );
        Settings::parse(Path::new("/etc/postier/postier.toml"), &text).unwrap()
    }

    #[test]
    fn directories_of_users_are_theirs() {
        let roots = |maildir| mail_roots(&settings(maildir));
        assert_eq!(roots("/m/{domain}/{user}"), [Path::new("/m/a.example"), Path::new("/m/b.example")]);
        assert_eq!(roots("/m/{user}"), [Path::new("/m")]);
        assert_eq!(roots("mail/{user}@{domain}"), [Path::new("/etc/postier/mail")]);
        assert!(roots("/home/{user}/Maildir").is_empty());
    }

    #[test]
    fn a_directory_of_somebody_else_is_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(&format!("{}/{{user}}", dir.path().display()));
        let me = Identity::current().unwrap();
        let stranger = Identity { name: "stranger".into(), uid: 12_345, gid: 12_345 };
        let mut problems = Vec::new();
        check_mail_roots(&settings, &me, &mut problems);
        assert_eq!(problems, []);
        check_mail_roots(&settings, &stranger, &mut problems);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().contains("stranger cannot make mailboxes in"), "{}", problems[0]);
    }
}
