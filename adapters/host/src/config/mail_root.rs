//! The directories that Maildirs are made in: `/var/mail/example.org` for `/var/mail/{domain}/{user}`.
//!
//! The server makes a Maildir when its first mail comes, as its own user, long after it has given up root. So the
//! directory above must belong to it: one that is missing is made for it at the start, one that
//! exists is looked at. A domain that comes with a reload has no such start: whether the server can make its
//! directory is looked at, too. The state directory is the third of these.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::{Config, Settings};
use crate::identity::Identity;
use crate::report::{Errors, Problem};

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
    /// Makes the directories above the Maildirs where they are missing. To be called before the server gives up
    /// root.
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

/// Makes a directory with the mode and group of the one above where that is the server's already, else for the
/// server's user alone: `/var/mail` is open to a group that must not read everything below it.
fn make(path: &Path, owner: &Identity) -> io::Result<()> {
    let above = path.parent().map(fs::metadata).transpose()?;
    let (mode, group) = match above.filter(|above| above.uid() == owner.uid) {
        Some(above) => (above.mode() & 0o2777, above.gid()),
        None => (0o700, owner.gid),
    };
    DirBuilder::new().mode(0o700).create(path)?;
    if !owner.is_current() {
        chown(path, Some(owner.uid), Some(group))?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Warns of directories in which the server could not make a Maildir.
pub(super) fn check_mail_roots(settings: &Settings, owner: &Identity, problems: &mut Vec<Problem>) {
    let name = &owner.name;
    for root in mail_roots(settings) {
        let missing = !root.exists();
        // What is missing is made by a server that starts as root, whoever the directory above belongs to.
        if missing && rustix::process::geteuid().is_root() {
            continue;
        }
        let there = root.ancestors().find_map(|path| fs::metadata(path).ok());
        if there.is_none_or(|metadata| may_write(owner, &metadata)) {
            continue;
        }
        let root = root.display();
        let (title, advice) = if missing {
            (
                format!("{name} cannot make the directory {root}"),
                format!(
                    "`install -d -o {name} -m 700 {root}`, or restart the server as root, which makes it"
                ),
            )
        } else {
            (
                format!("{name} cannot make mailboxes in {root}"),
                format!("`chown {name} {root}`, or name the directory's owner as `user`"),
            )
        };
        problems
            .push(settings.point(Problem::warning(title), settings.maildir.span.clone(), "").advise(advice));
    }
}

impl Config {
    /// Looks at the state directory, as far as it is there already: it must be the server's own.
    ///
    /// # Errors
    /// What is wrong with it; a server would not start.
    pub fn check_state(&self) -> Result<(), Errors> {
        let (settings, owner) = (&self.settings, &self.identity);
        let state = settings.state.display();
        let (title, advice) = match fs::metadata(&settings.state) {
            Ok(metadata) if !metadata.is_dir() => (
                format!("the state directory is no directory: {state}"),
                "name another one as `state`".into(),
            ),
            Ok(metadata) if !may_write(owner, &metadata) => (
                format!("{} cannot write to the state directory {state}", owner.name),
                format!("`chown {} {state}`, or name another one as `state`", owner.name),
            ),
            Ok(_) | Err(_) => return Ok(()),
        };
        let problem = Problem::error(title).in_file(&settings.path).advise(advice);
        Err(Errors { problems: vec![problem] })
    }
}

/// Whether a user may make names in a directory, as far as its mode says.
fn may_write(user: &Identity, directory: &Metadata) -> bool {
    let mode = directory.mode();
    user.uid == 0
        || (directory.uid() == user.uid && mode & 0o200 != 0)
        || (mode & 0o020 != 0 && user.groups().contains(&directory.gid()))
        || mode & 0o002 != 0
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
        let stranger =
            Identity { name: "stranger".into(), full_name: String::new(), uid: 12_345, gid: 12_345 };
        let mut problems = Vec::new();
        check_mail_roots(&settings, &me, &mut problems);
        assert_eq!(problems, []);
        check_mail_roots(&settings, &stranger, &mut problems);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().contains("stranger cannot make mailboxes in"), "{}", problems[0]);
    }

    #[test]
    fn a_directory_that_will_be_missing_after_a_reload_is_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(&format!("{}/{{domain}}/{{user}}", dir.path().display()));
        let stranger =
            Identity { name: "stranger".into(), full_name: String::new(), uid: 12_345, gid: 12_345 };
        let mut problems = Vec::new();
        check_mail_roots(&settings, &stranger, &mut problems);
        if rustix::process::geteuid().is_root() {
            assert_eq!(problems, [], "the start makes it");
        } else {
            assert_eq!(problems.len(), 2);
            assert!(problems[0].to_string().contains("install -d -o stranger -m 700"), "{}", problems[0]);
        }
    }

    #[test]
    fn a_directory_is_made_like_the_one_above() {
        let dir = tempfile::tempdir().unwrap();
        let me = Identity::current().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        for wanted in [0o2770, 0o755, 0o700] {
            let above = dir.path().join(format!("{wanted:o}"));
            fs::create_dir(&above).unwrap();
            fs::set_permissions(&above, Permissions::from_mode(wanted)).unwrap();
            make(&above.join("a.example"), &me).unwrap();
            assert_eq!(mode(&above.join("a.example")), wanted);
        }
        let stranger =
            Identity { name: "stranger".into(), full_name: String::new(), uid: 12_345, gid: 12_345 };
        // Only root may give a directory away.
        if make(&dir.path().join("755/b.example"), &stranger).is_ok() {
            assert_eq!(mode(&dir.path().join("755/b.example")), 0o700);
        }
    }
}
