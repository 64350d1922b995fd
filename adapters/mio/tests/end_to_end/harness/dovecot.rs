//! Dovecot, as a neighbour on the same Maildir.

use std::process::{Child, Command, Stdio};

use postier_host::identity::Identity;

use super::{Imap, Site, Wire};

/// Dovecot's IMAP process on ann's Maildir, as after a login.
pub(crate) struct Dovecot {
    child: Child,
    pub(crate) imap: Imap,
}

impl Dovecot {
    /// A site of a user that Dovecot may serve: not of root.
    pub(crate) fn site() -> (Site, Identity) {
        let (site, me) = (Site::new(), Identity::current().unwrap());
        if me.uid != 0 {
            return (site, me);
        }
        site.give_to("nobody");
        (site, Identity::lookup("nobody").unwrap().unwrap())
    }

    /// The program that speaks IMAP to whoever is ann, and its arguments.
    pub(crate) fn command(site: &Site, user: &Identity) -> Command {
        let at = |name: &str| site.path(name).display().to_string();
        site.write(
            "dovecot.conf",
            &format!(
                "mail_location = maildir:{}\nnamespace inbox {{\n  inbox = yes\n}}\nbase_dir = {}\nstate_dir = {}\n\
                 mail_uid = {}\nmail_gid = {}\nfirst_valid_uid = 1\nfirst_valid_gid = 0\nssl = no\n",
                site.maildir("ann").display(),
                at("dovecot-run"),
                at("dovecot-state"),
                user.uid,
                user.gid
            ),
        );
        let mut command = Command::new("/usr/lib/dovecot/imap");
        command.arg("-c").arg(at("dovecot.conf")).env("USER", &user.name).env("HOME", site.path(""));
        command
    }

    pub(crate) fn start(site: &Site, user: &Identity) -> Self {
        Self::start_with(site, user, "")
    }

    /// With more lines in its configuration.
    pub(crate) fn start_with(site: &Site, user: &Identity, lines: &str) -> Self {
        let mut command = Self::command(site, user);
        site.add("dovecot.conf", lines);
        // Its log is for its own people.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let wire = Wire::pipe(child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let imap = Imap::over(wire, &site.tls());
        assert!(imap.greeting().starts_with("* PREAUTH"), "{}", imap.greeting());
        Dovecot { child, imap }
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
