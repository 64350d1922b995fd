//! Disks that fail under the running server: full, without inodes, read-only, with errors at any system
//! call. Whoever asked is told so for the time being, the old state stays, nothing leaks, the log says which file and
//! what to do, and when the trouble is over all works again without a restart.
//!
//! [`endure`] does one of everything under a trouble and compares with a model: what was acknowledged is done, what was
//! refused is not. Errors of single system calls are injected by strace; the rest is real.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{Disk, Dovecot, Imap, Server, Site, Smtp, eventually, good, in_own_mounts, none_left};

/// What ann's clients see: flags by subject for each mailbox, and the subscriptions.
#[derive(Clone, Debug, Default, PartialEq)]
struct View {
    mailboxes: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    subscribed: BTreeSet<String>,
}

impl View {
    fn take(server: &Server) -> Self {
        let mut imap = server.imap("ann");
        let names = |rows: Vec<String>| -> BTreeSet<String> {
            rows.iter().map(|row| row.rsplit(' ').next().unwrap().trim_matches('"').to_owned()).collect()
        };
        let mut view = View { subscribed: names(imap.ok("LSUB \"\" *")), ..View::default() };
        for name in names(imap.ok("LIST \"\" *")) {
            imap.ok(&format!("SELECT {name}"));
            let mut mails = BTreeMap::new();
            for row in imap.ok("UID FETCH 1:* (FLAGS BODY.PEEK[])") {
                let Some((_, flags)) = row.split_once("FLAGS (") else { continue };
                let flags = flags.split_once(')').unwrap().0.split_whitespace();
                let flags = flags.filter(|flag| *flag != "\\Recent").map(str::to_owned).collect();
                let Some(subject) = row.lines().find_map(|line| line.strip_prefix("Subject: ")) else {
                    continue;
                };
                assert!(row.ends_with("the end\r\n)"), "{name}: {subject} is not whole");
                assert!(mails.insert(subject.to_owned(), flags).is_none(), "{name}: {subject} twice");
            }
            view.mailboxes.insert(name, mails);
        }
        view
    }

    fn mails(&mut self, mailbox: &str) -> &mut BTreeMap<String, BTreeSet<String>> {
        self.mailboxes.get_mut(mailbox).unwrap()
    }
}

fn text(subject: &str) -> String {
    format!("Subject: {subject}\r\n\r\n{}the end\r\n", "text that takes its place\r\n".repeat(800))
}

/// One thing that a client asks for, and what is different when it is done.
struct Wish {
    name: &'static str,
    ask: fn(&mut Patient) -> Result<(), String>,
    done: fn(&mut View, &str),
}

/// Clients that are connected when the trouble begins.
struct Patient {
    smtp: Smtp,
    ann: Imap,
    /// Makes names unique.
    round: String,
}

impl Patient {
    fn imap(&mut self, command: &str) -> Result<(), String> {
        let (_, end) = self.ann.run(command);
        if end.starts_with("OK") { Ok(()) } else { Err(end) }
    }
}

const WISHES: [Wish; 10] = [
    Wish {
        name: "delivery",
        ask: |patient| {
            let subject = format!("delivered-{}", patient.round);
            let text = text(&subject).replace("\r\n", "\n");
            let reply = patient.smtp.mail("a@other.example", &["ann@example.test"], &text);
            if reply.code == 250 { Ok(()) } else { Err(format!("{} {}", reply.code, reply.lines.join(" "))) }
        },
        done: |view, round| drop(view.mails("INBOX").insert(format!("delivered-{round}"), BTreeSet::new())),
    },
    Wish {
        name: "APPEND",
        ask: |patient| {
            let text = text(&format!("appended-{}", patient.round));
            patient.imap(&format!("APPEND Archive (\\Seen) {{{}+}}\r\n{text}", text.len()))
        },
        done: |view, round| {
            view.mails("Archive").insert(format!("appended-{round}"), ["\\Seen".to_owned()].into());
        },
    },
    Wish {
        name: "STORE",
        ask: |patient| patient.imap("UID STORE 1:2 +FLAGS (\\Flagged)"),
        done: |view, round| {
            for which in ["first", "second"] {
                let flags = view.mails("Work").get_mut(&format!("{which}-{round}")).unwrap();
                flags.insert("\\Flagged".to_owned());
            }
        },
    },
    Wish {
        name: "STORE of a new keyword",
        ask: |patient| patient.imap("UID STORE 1 +FLAGS (unheard)"),
        done: |view, round| {
            let flags = view.mails("Work").get_mut(&format!("first-{round}")).unwrap();
            flags.insert("unheard".to_owned());
        },
    },
    Wish {
        name: "COPY",
        ask: |patient| patient.imap("UID COPY 2 Sent"),
        done: |view, round| {
            let flags = view.mails("Work")[&format!("second-{round}")].clone();
            view.mails("Sent").insert(format!("second-{round}"), flags);
        },
    },
    Wish {
        name: "MOVE",
        ask: |patient| patient.imap("UID MOVE 3 Sent"),
        done: |view, round| {
            let flags = view.mails("Work").remove(&format!("third-{round}")).unwrap();
            view.mails("Sent").insert(format!("third-{round}"), flags);
        },
    },
    Wish {
        name: "EXPUNGE",
        ask: |patient| patient.imap("UID EXPUNGE 4"),
        done: |view, round| drop(view.mails("Work").remove(&format!("deleted-{round}"))),
    },
    Wish {
        name: "CREATE",
        ask: |patient| patient.imap(&format!("CREATE Made-{}", patient.round)),
        done: |view, round| drop(view.mailboxes.insert(format!("Made-{round}"), BTreeMap::new())),
    },
    Wish {
        name: "RENAME",
        ask: |patient| patient.imap("RENAME Old New"),
        done: |view, _| {
            let mails = view.mailboxes.remove("Old").unwrap();
            view.mailboxes.insert("New".to_owned(), mails);
        },
    },
    Wish {
        name: "SUBSCRIBE",
        ask: |patient| patient.imap(&format!("SUBSCRIBE Else-{}", patient.round)),
        done: |view, round| {
            let name = format!("Else-{round}");
            view.subscribed.insert(name);
        },
    },
];

/// A server in trouble, and what is watched in it.
struct Ward<'s> {
    server: &'s Server,
    maildir: PathBuf,
    rounds: usize,
}

/// What was refused under a trouble, and with which words.
type Refused = BTreeMap<&'static str, String>;

impl<'s> Ward<'s> {
    fn new(server: &'s Server, site: &Site) -> Self {
        let mut imap = server.imap("ann");
        imap.ok("SELECT INBOX");
        Ward { server, maildir: site.maildir("ann"), rounds: 0 }
    }

    /// Asks for one of everything while a trouble lasts. What is not refused must be done, what is refused must not
    /// be, and after the trouble all must work.
    fn endure<T>(&mut self, trouble: impl FnOnce() -> T, over: impl FnOnce(T)) -> Refused {
        self.rounds += 1;
        let round = self.rounds.to_string();
        let mut patient = self.admit(&round);
        let mut expected = View::take(self.server);
        let open = self.open_files();
        let logged = self.server.log().len();
        let lasting = trouble();
        let mut refused = Refused::new();
        for wish in &WISHES {
            match (wish.ask)(&mut patient) {
                Ok(()) => (wish.done)(&mut expected, &round),
                Err(why) => drop(refused.insert(wish.name, why)),
            }
        }
        over(lasting);
        let log = self.server.log()[logged..].to_owned();
        for (name, why) in &refused {
            let code = [
                "NO [UNAVAILABLE]",
                "NO [OVERQUOTA]",
                "NO [INUSE]",
                "NO [NOPERM]",
                "NO [READ-ONLY]",
                "451 4.",
                "452 4.",
            ];
            assert!(code.iter().any(|code| why.starts_with(code)), "{name}: {why}");
        }
        assert!(
            refused.is_empty() || log.contains("trouble in the mail store"),
            "{refused:?}, and nothing in the log: {log}"
        );
        let mut found = View::take(self.server);
        // A file that is gone cannot come back when the disk then fails to note it: EXPUNGE alone may be done and refused.
        if refused.contains_key("EXPUNGE") && !found.mails("Work").contains_key(&format!("deleted-{round}")) {
            expected.mails("Work").remove(&format!("deleted-{round}"));
        }
        assert_eq!(found, expected, "refused: {refused:#?}\n{log}");
        eventually("as many open files as before", || (self.open_files() <= open).then_some(()));
        self.no_debris();
        for wish in WISHES.iter().filter(|wish| refused.contains_key(wish.name)) {
            assert_eq!((wish.ask)(&mut patient), Ok(()), "{}, when all is well again", wish.name);
            (wish.done)(&mut expected, &round);
        }
        assert_eq!(View::take(self.server), expected, "when all is well again");
        self.no_debris();
        self.discharge(patient);
        refused
    }

    /// Everything the wishes need; the mailbox Work has new mails.
    fn admit(&self, round: &str) -> Patient {
        let (mut ann, mut smtp) = (self.server.imap("ann"), self.server.exchange());
        ann.ok("CREATE Work");
        ann.ok("CREATE Old");
        for which in ["first", "second", "third"] {
            ann.append("Work", "", &text(&format!("{which}-{round}")));
        }
        ann.append("Work", "(\\Deleted) ", &text(&format!("deleted-{round}")));
        ann.append("Old", "", &text(&format!("inside-{round}")));
        ann.ok("SELECT Work");
        smtp.expect("EHLO other.example", 250);
        Patient { smtp, ann, round: round.to_owned() }
    }

    fn discharge(&self, mut patient: Patient) {
        patient.ann.ok("UNSELECT");
        for mailbox in ["Work".to_owned(), "New".to_owned(), format!("Made-{}", patient.round)] {
            patient.ann.ok(&format!("DELETE {mailbox}"));
        }
        for mailbox in ["INBOX", "Archive", "Sent"] {
            patient.ann.ok(&format!("SELECT {mailbox}"));
            patient.ann.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)");
            patient.ann.ok("CLOSE");
        }
    }

    /// Its open files that are no sockets: directories of selected mailboxes may be among them.
    fn open_files(&self) -> usize {
        let fds = fs::read_dir(format!("/proc/{}/fd", self.server.pid())).unwrap();
        // One may be closed before it is looked at.
        let targets = fds.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
        targets.filter(|target| target.is_absolute()).count()
    }

    /// Nothing half done lies about, but what is just being saved.
    fn no_debris(&self) {
        none_left("half done", || {
            let mut all = Vec::new();
            walk(&self.maildir, &mut all);
            all.retain(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                path.parent().is_some_and(|parent| parent.ends_with("tmp"))
                    || [".lock", ".tmp", "TRASHED"].iter().any(|end| name.ends_with(end))
            });
            all
        });
    }
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    // What is gone meanwhile has nothing in it.
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        }
        found.push(path);
    }
}

/// System calls of a running server that fail, as long as this lives.
struct Injected(Child);

impl Injected {
    fn new(server: &Server, calls: &str, errno: &str) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:error={errno}"), "-p", &server.pid().to_string()]);
        let strace = command.stdin(Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{}/task", server.pid());
        eventually("strace holds all threads", || {
            let traced = |task: fs::DirEntry| {
                let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
                !status.contains("TracerPid:\t0\n")
            };
            fs::read_dir(&status).unwrap().all(|task| traced(task.unwrap())).then_some(())
        });
        Injected(strace)
    }

    fn end(mut self) {
        good(Command::new("kill").args(["-s", "INT", &self.0.id().to_string()]), "");
        self.0.wait().unwrap();
    }
}

#[test]
#[ignore = "needs strace and the right to trace"]
fn errors_of_any_system_call_are_survived() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut ward = Ward::new(&server, &site);
    let calls =
        ["openat", "fsync,fdatasync", "renameat,renameat2", "linkat", "mkdirat", "getdents64", "utimensat"];
    let errnos = ["EIO", "ENOSPC", "EDQUOT", "EMFILE", "EACCES", "ESTALE"];
    let all = std::env::var_os("POSTIER_FAULTS").is_some();
    for (row, call) in calls.iter().enumerate() {
        for (column, errno) in errnos.iter().enumerate() {
            // Each call and each error at least once; all pairs on demand.
            if all || (row + column) % 3 == 0 {
                let refused = ward.endure(|| Injected::new(&server, call, errno), Injected::end);
                println!("{call} {errno}: {:?}", refused.keys().collect::<Vec<_>>());
            }
        }
    }
}

/// Writes until nothing more fits, in large and then in small pieces.
fn fill_up(dir: &Path) -> PathBuf {
    let path = dir.join("filler");
    let mut file = fs::File::create(&path).unwrap();
    for piece in [64 * 1024, 4096, 512] {
        while file.write_all(&vec![b'x'; piece]).is_ok() {}
    }
    // What is not allocated yet may still fail.
    let _ = file.sync_all();
    path
}

#[test]
#[ignore = "needs root, a loop device and mkfs.ext4"]
fn a_full_file_system_is_survived() {
    if in_own_mounts("faults::a_full_file_system_is_survived") {
        let site = Site::new();
        let disk = Disk::new(&site, &["mkfs.ext4", "-q", "-F", "-m", "0"], 16 << 20);
        let server = Server::start(&site);
        let refused = Ward::new(&server, &site)
            .endure(|| fill_up(disk.path()), |filler| fs::remove_file(filler).unwrap());
        for wish in ["delivery", "APPEND", "CREATE"] {
            assert!(
                refused[wish].contains("452 4.3.1") || refused[wish].contains("[OVERQUOTA]"),
                "{refused:?}"
            );
        }
    }
}

#[test]
#[ignore = "needs root, a loop device and mkfs.ext4"]
fn a_file_system_without_inodes_is_survived() {
    if in_own_mounts("faults::a_file_system_without_inodes_is_survived") {
        let site = Site::new();
        let disk = Disk::new(&site, &["mkfs.ext4", "-q", "-F", "-N", "128"], 16 << 20);
        let server = Server::start(&site);
        let mut ward = Ward::new(&server, &site);
        let begin = || {
            let filler = disk.path().join("filler");
            fs::create_dir(&filler).unwrap();
            while fs::write(filler.join(fs::read_dir(&filler).unwrap().count().to_string()), "").is_ok() {}
            filler
        };
        let refused = ward.endure(begin, |filler| fs::remove_dir_all(filler).unwrap());
        for wish in ["delivery", "APPEND", "CREATE"] {
            assert!(
                refused[wish].contains("452 4.3.1") || refused[wish].contains("[OVERQUOTA]"),
                "{refused:?}"
            );
        }
    }
}

/// Another session selects a mailbox that the server knows, and is told what it can do there.
fn selected(server: &Server, mailbox: &str, code: &str) -> Vec<String> {
    let (rows, end) = server.imap("ann").run(&format!("SELECT {mailbox}"));
    assert!(end.starts_with(&format!("OK [{code}]")), "{mailbox}: {end}");
    rows
}

#[test]
#[ignore = "needs root, a loop device and mkfs.ext4"]
fn a_file_system_that_becomes_read_only_is_survived() {
    if in_own_mounts("faults::a_file_system_that_becomes_read_only_is_survived") {
        let site = Site::new();
        let disk = Disk::new(&site, &["mkfs.ext4", "-q", "-F"], 16 << 20);
        let server = Server::start(&site);
        let remount = |how: &str| {
            eventually("nobody writes", || {
                let mut mount = Command::new("mount");
                let status = mount.args(["-o", &format!("remount,{how}")]).arg(disk.path()).status();
                status.unwrap().success().then_some(())
            });
        };
        let begin = || {
            remount("ro");
            // What is there can be read.
            assert!(selected(&server, "Work", "READ-ONLY").contains(&"4 EXISTS".to_owned()));
        };
        let refused = Ward::new(&server, &site).endure(begin, |()| {
            remount("rw");
            selected(&server, "Work", "READ-WRITE");
        });
        assert_eq!(refused.len(), WISHES.len(), "{refused:?}");
    }
}

#[test]
#[ignore = "needs root, a loop device, mkfs.ext4 and fsfreeze"]
fn a_disk_that_hangs_keeps_only_those_waiting_who_need_it() {
    if in_own_mounts("faults::a_disk_that_hangs_keeps_only_those_waiting_who_need_it") {
        let site = Site::new();
        let disk = Disk::new(&site, &["mkfs.ext4", "-q", "-F"], 16 << 20);
        let server = Server::start(&site);
        let (mut smtp, mut other, mut imap) = (server.exchange(), server.exchange(), server.imap("ann"));
        imap.append("INBOX", "(\\Seen) ", &text("first"));
        imap.ok("SELECT INBOX");
        smtp.expect("EHLO other.example", 250);
        smtp.expect("MAIL FROM:<a@other.example>", 250);
        smtp.expect("RCPT TO:<ann@example.test>", 250);
        smtp.expect("DATA", 354);
        good(Command::new("fsfreeze").arg("--freeze").arg(disk.path()), "");
        smtp.wire().write(b"Subject: second\r\n\r\nthe end\r\n.\r\n");
        for _ in 0..20 {
            other.expect("EHLO other.example", 250);
            // A disk that hangs can be read.
            assert!(imap.one("FETCH 1 BODY.PEEK[]", "1 FETCH").contains("Subject: first"));
        }
        good(Command::new("fsfreeze").arg("--unfreeze").arg(disk.path()), "");
        assert_eq!(smtp.reply().unwrap().code, 250);
        imap.ok("NOOP");
        assert!(imap.one("FETCH 2 BODY.PEEK[]", "2 FETCH").contains("Subject: second"));
    }
}

#[test]
#[ignore = "needs prlimit"]
fn a_process_without_descriptors_is_survived() {
    let site = Site::new();
    let server = Server::start(&site);
    let limit = |soft: usize| {
        let pid = server.pid().to_string();
        good(Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={soft}:")]), "");
    };
    let begin = || {
        let usual = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
        let usual = usual.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        let usual = usual.split_whitespace().next().unwrap().parse().unwrap();
        // What is open stays open; what is closed makes no room.
        limit(3);
        usual
    };
    let refused = Ward::new(&server, &site).endure(begin, limit);
    assert_eq!(refused.len(), WISHES.len(), "{refused:?}");
}

#[test]
#[ignore = "needs find and chmod"]
fn a_maildir_that_may_not_be_written_is_survived() {
    let (site, _) = Dovecot::site();
    let server = Server::start(&site);
    let maildir = site.maildir("ann");
    let chmod = |mode: &str| {
        let mut find = Command::new("find");
        good(find.arg(&maildir).args(["-type", "d", "-exec", "chmod", mode, "{}", "+"]), "");
    };
    let begin = || {
        chmod("u-w");
        selected(&server, "Work", "READ-ONLY");
    };
    let refused = Ward::new(&server, &site).endure(begin, |()| {
        chmod("u+w");
        selected(&server, "Work", "READ-WRITE");
    });
    assert_eq!(refused.len(), WISHES.len(), "{refused:?}");
}
