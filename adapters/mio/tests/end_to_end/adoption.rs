//! A Maildir of Dovecot's with 10,000 mails becomes postier's, and Dovecot's again: clients that were synchronized with
//! one are synchronized with the other, download nothing again and lose no flag.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::harness::{Dovecot, Imap, PASSWORD, Server, Site, client, good, mail_in, write_private};
use crate::ledger::number_after;

/// Mailboxes as they are stored, with their number of mails; three are subscribed.
const MAILBOXES: [(&str, usize); 5] =
    [("INBOX", 6000), ("Archive.2023", 2500), ("Gr&APwA3w-e", 1000), ("Work.&ZeVnLIqe-", 400), ("Sent", 100)];
const FLAGS: [&str; 8] = [
    "",
    "\\Seen",
    "\\Seen \\Answered",
    "\\Flagged",
    "\\Seen work",
    "$Label1 work",
    "\\Draft",
    "\\Seen $Forwarded later",
];
/// Mails in one command: it is one transaction for Dovecot.
const BATCH: usize = 500;

fn fill(imap: &mut Imap) {
    for (mailbox, count) in MAILBOXES {
        if mailbox != "INBOX" {
            imap.ok(&format!("CREATE {mailbox}"));
        }
        if mailbox != "Sent" {
            imap.ok(&format!("SUBSCRIBE {mailbox}"));
        }
        for first in (0..count).step_by(BATCH) {
            let mut command = format!("APPEND {mailbox}");
            for number in first..count.min(first + BATCH) {
                let text = format!(
                    "From: a@other.example\r\nMessage-ID: <{number}.{mailbox}@other.example>\r\nSubject: mail {number}\r\n\r\n{}",
                    "text\r\n".repeat(1 + number % 50)
                );
                let (flags, day) = (FLAGS[number % FLAGS.len()], 1 + number % 28);
                command +=
                    &format!(" ({flags}) \"{day:02}-Mar-2023 04:05:06 +0000\" {{{}+}}\r\n{text}", text.len());
            }
            imap.ok(&command);
        }
    }
}

/// Everything a client can keep of a mailbox: UIDVALIDITY, and date, size and flags by UID.
type Known = BTreeMap<&'static str, (String, BTreeMap<u32, String>)>;

fn known(imap: &mut Imap) -> Known {
    let mut known = Known::new();
    for (mailbox, _) in MAILBOXES {
        let selected = imap.ok(&format!("SELECT {mailbox}"));
        let validity = selected.iter().find_map(|line| line.split_once("[UIDVALIDITY ")).unwrap().1;
        let validity = validity.split_once(']').unwrap().0.to_owned();
        let mut mails = BTreeMap::new();
        for row in imap.ok("UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)") {
            let Some(uid) = number_after(&row, "UID ") else { continue };
            let flags = row.split_once("FLAGS (").unwrap().1.split_once(')').unwrap().0;
            let mut flags: Vec<&str> = flags.split_whitespace().filter(|flag| *flag != "\\Recent").collect();
            flags.sort_unstable();
            let date = row.split_once("INTERNALDATE \"").unwrap().1.split_once('"').unwrap().0;
            // The day is filled with a space or, by Dovecot, with a zero (RFC 3501 §9, date-day-fixed).
            let date = date.trim_start_matches([' ', '0']);
            let size = number_after(&row, "RFC822.SIZE ").unwrap();
            mails.insert(uid, format!("{date} {size} {}", flags.join(" ")));
        }
        known.insert(mailbox, (validity, mails));
    }
    let mut subscribed = imap.ok("LSUB \"\" *");
    subscribed.iter_mut().for_each(|row| *row = row.rsplit(' ').next().unwrap().trim_matches('"').to_owned());
    subscribed.sort();
    known.insert("subscriptions", (subscribed.join(" "), BTreeMap::new()));
    imap.ok("UNSELECT");
    known
}

/// A client that keeps a mirror of all mailboxes.
struct Mirror {
    name: &'static str,
    /// Of its mailbox Sent, and of all.
    sent: &'static str,
    all: &'static str,
}

const MBSYNC: Mirror = Mirror { name: "mbsync", sent: "mirror/Sent", all: "mirror" };
const OFFLINEIMAP: Mirror = Mirror { name: "offlineimap", sent: "offline/Sent", all: "offline" };

impl Mirror {
    /// Synchronizes with Dovecot, or with a server.
    fn sync(&self, site: &Site, server: Option<&Server>) {
        let tunnel = format!("sh {}", site.path("tunnel").display());
        let at = |name: &str| site.path(name).display().to_string();
        let mut command = client(site, self.name);
        command.env("USER", "nobody");
        if self.name == "mbsync" {
            let account = match server {
                Some(server) => format!(
                    "Host localhost\nPort {}\nUser ann@example.test\nPass {PASSWORD}\nSSLType IMAPS\nCertificateFile crt",
                    server.port("imaps")
                ),
                None => format!("Tunnel \"{tunnel}\""),
            };
            write_private(
                &site.path("mbsyncrc"),
                &format!(
                    "FSync no\n\nIMAPAccount a\n{account}\n\nIMAPStore far\nAccount a\n\nMaildirStore near\nPath mirror/\n\
                     Inbox mirror/INBOX\nSubFolders Verbatim\n\nChannel all\nFar :far:\nNear :near:\nPatterns *\n\
                     Create Both\nExpunge Both\nSyncState *\n"
                ),
            );
            good(command.args(["-c", "mbsyncrc", "-a"]), "");
        } else {
            let account = match server {
                Some(server) => format!(
                    "remotehost = localhost\nremoteport = {}\nremoteuser = ann@example.test\nremotepass = {PASSWORD}\n\
                     ssl = yes\nsslcacertfile = {}",
                    server.port("imaps"),
                    at("crt")
                ),
                None => format!("preauthtunnel = {tunnel}"),
            };
            write_private(
                &site.path("offlineimaprc"),
                &format!(
                    "[general]\nmetadata = {}\naccounts = a\nfsync = False\n[Account a]\nlocalrepository = near\n\
                     remoterepository = far\n[Repository near]\ntype = Maildir\nlocalfolders = {}\n\
                     [Repository far]\ntype = IMAP\n{account}\nfolderfilter = lambda name: name not in ['INBOX', 'Archive.2023']\n",
                    at("offline-state"),
                    at("offline")
                ),
            );
            good(command.args(["-o", "-u", "quiet", "-c", "offlineimaprc"]), "");
        }
    }

    /// Every file of the mirror with its inode: what was downloaded again would have another.
    fn files(&self, site: &Site) -> BTreeMap<String, u64> {
        let listing = good(
            Command::new("find").arg(site.path(self.all)).args([
                "-type",
                "f",
                "-regex",
                ".*/\\(cur\\|new\\)/[^/]*",
                "-printf",
                "%i %p\n",
            ]),
            "",
        );
        let file = |line: &str| {
            let (inode, path) = line.split_once(' ')?;
            Some((path.to_owned(), inode.parse().ok()?))
        };
        listing.lines().filter_map(file).collect()
    }

    fn sent(&self, site: &Site) -> Vec<(String, String)> {
        let letters =
            |name: &str| name.split_once(":2,").map_or(String::new(), |(_, letters)| letters.to_owned());
        let subject = |text: &str| {
            text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default().to_owned()
        };
        let mut found: Vec<_> = mail_in(&site.path(self.sent))
            .iter()
            .map(|mail| (subject(&mail.text), letters(&mail.name())))
            .collect();
        found.sort();
        found
    }

    /// As its user does it in the mail program: flags a mail, deletes one, and writes one.
    fn change(&self, site: &Site, flagged: &str, deleted: &str) {
        let dir = site.path(self.sent);
        for mail in mail_in(&dir) {
            if mail.text.contains(&format!("Subject: {flagged}\n")) {
                let (base, letters) =
                    mail.name().split_once(":2,").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
                let mut letters: Vec<char> =
                    letters.chars().filter(|letter| *letter != 'F').chain(['F']).collect();
                letters.sort_unstable();
                let name = format!("{base}:2,{}", letters.into_iter().collect::<String>());
                fs::rename(&mail.path, dir.join("cur").join(name)).unwrap();
            } else if mail.text.contains(&format!("Subject: {deleted}\n")) {
                fs::remove_file(&mail.path).unwrap();
            }
        }
        let text = format!("Message-ID: <{}@me>\nSubject: written with {}\n\nx\n", self.name, self.name);
        fs::write(dir.join("new").join(format!("1700000000.1.{}", self.name)), text).unwrap();
    }
}

/// Dovecot's program refuses a socket, which is what mbsync would give it.
const TUNNEL: &str = "cd $(dirname \"$0\")\nmkfifo fifo.$$\nexec 3<&0\ncat <&3 >fifo.$$ &\n\
    /usr/lib/dovecot/imap -c dovecot.conf <fifo.$$ | cat\nkill $!; rm fifo.$$\n";

#[test]
#[ignore = "needs dovecot-imapd, mbsync and offlineimap"]
fn a_maildir_of_dovecots_becomes_ours_and_dovecots_again() {
    let (site, user) = Dovecot::site();
    fs::create_dir_all(site.maildir("ann")).unwrap();
    good(Command::new("chown").arg("-R").arg(&user.name).arg(site.path("mail")), "");
    let before = {
        let mut dovecot = Dovecot::start(&site, &user);
        fill(&mut dovecot.imap);
        known(&mut dovecot.imap)
    };
    fs::create_dir(site.path("mirror")).unwrap();
    site.write("tunnel", TUNNEL);
    for mirror in [MBSYNC, OFFLINEIMAP] {
        mirror.sync(&site, None);
    }
    let files = [MBSYNC, OFFLINEIMAP].map(|mirror| mirror.files(&site));
    let all: usize = MAILBOXES.iter().map(|(_, count)| count).sum();
    assert_eq!([files[0].len(), files[1].len()], [all, all - MAILBOXES[0].1 - MAILBOXES[1].1]);

    // Ours.
    let server = Server::start(&site);
    let mut imap = server.imap("ann");
    assert_eq!(known(&mut imap), before);
    for mirror in [MBSYNC, OFFLINEIMAP] {
        mirror.sync(&site, Some(&server));
    }
    assert_eq!([MBSYNC, OFFLINEIMAP].map(|mirror| mirror.files(&site)), files);
    assert_eq!(known(&mut imap), before);

    // Changes at both ends.
    MBSYNC.change(&site, "mail 1", "mail 2");
    OFFLINEIMAP.change(&site, "mail 11", "mail 12");
    imap.ok("SELECT Sent");
    imap.ok("UID STORE 21 +FLAGS (\\Answered mine)");
    imap.ok("UID STORE 22 +FLAGS (\\Deleted)");
    imap.ok("UID EXPUNGE 22");
    imap.append("Sent", "(\\Seen) ", "Message-ID: <there@me>\r\nSubject: written there\r\n\r\nx\r\n");
    for mirror in [MBSYNC, OFFLINEIMAP, MBSYNC] {
        mirror.sync(&site, Some(&server));
    }
    let sent = MBSYNC.sent(&site);
    assert_eq!(sent.len(), 100 - 3 + 3, "{sent:?}");
    assert_eq!(OFFLINEIMAP.sent(&site).len(), sent.len());
    let ours = known(&mut imap);
    // Mail n has UID n + 1.
    let mails = &ours["Sent"].1;
    for (uid, flag) in [(2, "\\Flagged"), (12, "\\Flagged"), (21, "\\Answered"), (21, "mine")] {
        assert!(mails[&uid].contains(flag), "UID {uid}: {}", mails[&uid]);
    }
    assert!([3, 13, 22].iter().all(|uid| !mails.contains_key(uid)));
    for mirror in [MBSYNC, OFFLINEIMAP] {
        let there = mirror.sent(&site);
        for (subject, letter) in [("mail 1", 'F'), ("mail 11", 'F'), ("mail 20", 'R')] {
            let letters = &there.iter().find(|(of, _)| of == subject).unwrap().1;
            assert!(letters.contains(letter), "{}: {subject}: {letters}", mirror.name);
        }
    }
    server.stop();

    // Dovecot's again.
    let mut dovecot = Dovecot::start(&site, &user);
    assert_eq!(known(&mut dovecot.imap), ours);
    let files = [MBSYNC, OFFLINEIMAP].map(|mirror| mirror.files(&site));
    for mirror in [MBSYNC, OFFLINEIMAP] {
        mirror.sync(&site, None);
    }
    assert_eq!([MBSYNC, OFFLINEIMAP].map(|mirror| mirror.files(&site)), files);
    assert_eq!(known(&mut dovecot.imap), ours);
}
