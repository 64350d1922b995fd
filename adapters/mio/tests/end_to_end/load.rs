//! Clients that change everything a mailbox has, as fast as they can, until the server is gone or they are told to
//! stop: some send mail to ann and bob, the others are ann, by whatever server. What they ask for and what is
//! acknowledged stands in a [`Ledger`].

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::harness::{Dice, Imap, PATIENCE, Server, Smtp};
use crate::ledger::{Ledger, Mailbox, number_after};

const SMTP_SESSIONS: usize = 3;
const IMAP_SESSIONS: usize = 4;
/// Octets of the text of every eighth mail: it comes in several pieces.
const LONG: usize = 150_000;
/// A connection may bring a thousand.
const MAILS_PER_CONNECTION: usize = 900;
/// So many mails are left in INBOX.
const FEW: usize = 20;

/// How far a load is.
#[derive(Default)]
pub(crate) struct Phase {
    /// From now on the server may fail.
    pub(crate) ending: AtomicBool,
    /// Clients stop.
    pub(crate) over: AtomicBool,
}

/// Lets eight clients work until `acknowledged` changes more are, then calls `cut`, which ends the server, and waits for
/// the clients to notice.
pub(crate) fn load_until_cut(
    server: Server,
    ledger: &Ledger,
    name: &str,
    acknowledged: usize,
    cut: impl FnOnce(Server),
) {
    let enough = ledger.acknowledged() + acknowledged;
    let phase = Phase::default();
    std::thread::scope(|scope| {
        let clients = start_clients(scope, &server, name, ledger, &phase);
        let begun = Instant::now();
        // A client that ends before the server has a complaint; it is heard when all have ended.
        while ledger.acknowledged() < enough && clients.iter().all(|client| !client.is_finished()) {
            assert!(begun.elapsed() < PATIENCE, "{} changes in {PATIENCE:?}", ledger.acknowledged());
            std::thread::sleep(Duration::from_millis(1));
        }
        phase.ending.store(true, Ordering::SeqCst);
        cut(server);
    });
}

/// Starts eight clients of a server: three that send, four that change, one that looks.
pub(crate) fn start_clients<'s>(
    scope: &'s Scope<'s, '_>,
    server: &Server,
    name: &str,
    ledger: &'s Ledger,
    phase: &'s Phase,
) -> Vec<ScopedJoinHandle<'s, io::Result<()>>> {
    let mut clients = Vec::new();
    for number in 0..SMTP_SESSIONS {
        let (connect, mut client) =
            (server.exchanges(), Client::new(format!("{name}-{number}"), ledger, phase));
        let first = connect();
        clients.push(scope.spawn(move || client.send(first, connect)));
    }
    for number in SMTP_SESSIONS..SMTP_SESSIONS + IMAP_SESSIONS {
        let (mut imap, mut client) =
            (server.imap("ann"), Client::new(format!("{name}-{number}"), ledger, phase));
        clients.push(scope.spawn(move || client.change(&mut imap)));
    }
    let (mut imap, mut client) = (server.imap("ann"), Client::new(format!("{name}-w"), ledger, phase));
    clients.push(scope.spawn(move || client.watch(&mut imap, 0..2)));
    clients
}

pub(crate) struct Client<'l> {
    name: String,
    count: usize,
    dice: Dice,
    ledger: &'l Ledger,
    phase: &'l Phase,
    /// Mails in Archive by subject and UID.
    mails: Vec<(String, u32)>,
    makes_folders: bool,
    /// Folders with a mail in each.
    folders: Vec<String>,
}

impl<'l> Client<'l> {
    pub(crate) fn new(name: String, ledger: &'l Ledger, phase: &'l Phase) -> Self {
        let seed = name.bytes().fold(1u64, |seed, octet| seed * 31 + u64::from(octet));
        let (mails, folders) = (Vec::new(), Vec::new());
        Client { name, count: 0, dice: Dice(seed), ledger, phase, mails, makes_folders: true, folders }
    }

    /// A client of a server that is not to make folders.
    pub(crate) fn without_folders(self) -> Self {
        Client { makes_folders: false, ..self }
    }

    fn is_over(&self) -> bool {
        self.phase.over.load(Ordering::SeqCst)
    }

    fn subject(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.name, self.count)
    }

    fn message(&mut self, subject: &str) -> String {
        let line = "some text that takes its place\r\n";
        let lines = if self.dice.roll(8) == 0 { LONG / line.len() } else { 40 };
        format!("Subject: {subject}\r\n\r\n{}end of {subject}\r\n", line.repeat(lines))
    }

    /// Once the server is ending, a refusal is an end too.
    fn refused(&self, what: &str) -> io::Error {
        assert!(self.phase.ending.load(Ordering::SeqCst), "{}: {what}", self.name);
        io::Error::other(what.to_owned())
    }

    /// Sends mails to ann and bob until the server is gone.
    pub(crate) fn send(&mut self, first: Smtp, connect: impl Fn() -> Smtp) -> io::Result<()> {
        let to: [Mailbox; 2] = [("ann", "INBOX".to_owned()), ("bob", "INBOX".to_owned())];
        let mut smtp = first;
        smtp.expect("EHLO other.example", 250);
        while !self.is_over() {
            let subject = self.subject();
            if self.count.is_multiple_of(MAILS_PER_CONNECTION) {
                smtp = connect();
                smtp.expect("EHLO other.example", 250);
            }
            let text = self.message(&subject);
            self.ledger.comes(&to, &subject);
            smtp.wire().try_write(
                b"MAIL FROM:<a@other.example>\r\nRCPT TO:<ann@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n",
            )?;
            for wanted in [250, 250, 250, 354] {
                self.hear(&mut smtp, wanted)?;
            }
            smtp.wire().try_write(format!("{text}.\r\n").as_bytes())?;
            self.hear(&mut smtp, 250)?;
            self.ledger.came(&to, &subject, None, &[]);
        }
        Ok(())
    }

    fn hear(&self, smtp: &mut Smtp, wanted: u16) -> io::Result<()> {
        let reply = smtp.reply().ok_or(io::ErrorKind::UnexpectedEof)?;
        if reply.code == wanted { Ok(()) } else { Err(self.refused(&format!("{reply:?}"))) }
    }

    /// Appends to ann's Archive, flags, copies, moves, expunges, makes folders, until the server is gone.
    pub(crate) fn change(&mut self, imap: &mut Imap) -> io::Result<()> {
        self.run(imap, "SELECT Archive")?;
        while !self.is_over() {
            match self.dice.roll(11) {
                0..3 => self.append(imap, "Archive")?,
                3..5 => self.flag(imap)?,
                5 => self.flag_all(imap)?,
                6 => self.expunge(imap)?,
                7 => self.carry(imap, false)?,
                8 => self.carry(imap, true)?,
                10 if self.makes_folders => self.folder(imap)?,
                _ => drop(self.look(imap, "Archive")?),
            }
        }
        Ok(())
    }

    /// Looks at ann's INBOX again and again; flags and expunges mails there, those for whose UIDs modulo 4 it is
    /// responsible.
    pub(crate) fn watch(&mut self, imap: &mut Imap, responsible: Range<u32>) -> io::Result<()> {
        let inbox = ("ann", "INBOX".to_owned());
        self.run(imap, "SELECT INBOX")?;
        while !self.is_over() {
            let mut mails = self.look(imap, "INBOX")?;
            mails.retain(|(uid, subject)| {
                responsible.contains(&(uid % 4)) && self.ledger.is_sure(&inbox, subject)
            });
            if mails.is_empty() {
                continue;
            }
            let (uid, subject) = mails.swap_remove(self.dice.roll(mails.len()));
            if mails.len() > FEW && self.dice.roll(2) == 0 {
                self.take_out(imap, &inbox, &subject, uid)?;
            } else {
                self.flag_one(imap, &inbox, &subject, uid)?;
            }
        }
        Ok(())
    }

    /// UIDs and subjects of the selected mailbox.
    fn look(&mut self, imap: &mut Imap, selected: &str) -> io::Result<Vec<(u32, String)>> {
        let mailbox = ("ann", selected.to_owned());
        let (rows, end) = imap.try_run("UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")?;
        // Others expunge, and not everybody has been told yet.
        if !end.starts_with("OK") && !end.starts_with("NO [EXPUNGEISSUED]") {
            return Err(self.refused(&end));
        }
        let mut found = Vec::new();
        for row in rows.iter().filter(|row| row.contains(" FETCH (")) {
            let subject = row.lines().find_map(|line| line.strip_prefix("Subject: "));
            // A row without a subject is about flags.
            let Some(subject) = subject else { continue };
            let uid = number_after(row, "UID ").unwrap();
            self.ledger.shown(&mailbox, uid, subject);
            found.push((uid, subject.to_owned()));
        }
        Ok(found)
    }

    /// A command that must succeed; its responses, the tagged one last.
    fn run(&self, imap: &mut Imap, command: &str) -> io::Result<Vec<String>> {
        let (mut responses, end) = imap.try_run(command)?;
        if !end.starts_with("OK") {
            return Err(self.refused(&format!("{}: {end}", command.lines().next().unwrap_or_default())));
        }
        responses.push(end);
        Ok(responses)
    }

    fn append(&mut self, imap: &mut Imap, mailbox: &str) -> io::Result<()> {
        let to = [("ann", mailbox.to_owned())];
        let subject = self.subject();
        let text = self.message(&subject);
        let flags: &[&str] = [&[][..], &["\\Seen"], &["\\Answered", "work"]][self.dice.roll(3)];
        self.ledger.comes(&to, &subject);
        let command = format!("APPEND {mailbox} ({}) {{{}+}}\r\n{text}", flags.join(" "), text.len());
        let responses = self.run(imap, &command)?;
        let told = told(&responses, "[APPENDUID ").expect("APPENDUID");
        self.ledger.came(&to, &subject, Some((told.0, told.1)), flags);
        if mailbox == "Archive" {
            self.mails.push((subject, told.1));
        }
        Ok(())
    }

    fn flag(&mut self, imap: &mut Imap) -> io::Result<()> {
        if self.mails.is_empty() {
            return Ok(());
        }
        let (subject, uid) = self.mails[self.dice.roll(self.mails.len())].clone();
        self.flag_one(imap, &("ann", "Archive".to_owned()), &subject, uid)
    }

    fn flag_one(&mut self, imap: &mut Imap, mailbox: &Mailbox, subject: &str, uid: u32) -> io::Result<()> {
        let flag = ["\\Seen", "\\Answered", "work", "later"][self.dice.roll(4)];
        let set = self.dice.roll(2) == 0;
        let subjects = [subject.to_owned()];
        self.ledger.flags(mailbox, &subjects, flag);
        self.run(imap, &format!("UID STORE {uid} {}FLAGS ({flag})", if set { '+' } else { '-' }))?;
        self.ledger.flagged(mailbox, &subjects, flag, set);
        Ok(())
    }

    /// Flags all mails of all clients: of its own it knows that they are flagged then.
    fn flag_all(&mut self, imap: &mut Imap) -> io::Result<()> {
        let (archive, flag) = (("ann", "Archive".to_owned()), "\\Flagged");
        let subjects: Vec<String> = self.mails.iter().map(|(subject, _)| subject.clone()).collect();
        self.ledger.flags(&archive, &subjects, flag);
        self.run(imap, "UID STORE 1:* +FLAGS.SILENT (\\Flagged)")?;
        self.ledger.flagged(&archive, &subjects, flag, true);
        Ok(())
    }

    fn expunge(&mut self, imap: &mut Imap) -> io::Result<()> {
        if self.mails.is_empty() {
            return Ok(());
        }
        let (subject, uid) = self.mails.swap_remove(self.dice.roll(self.mails.len()));
        self.take_out(imap, &("ann", "Archive".to_owned()), &subject, uid)
    }

    fn take_out(&mut self, imap: &mut Imap, mailbox: &Mailbox, subject: &str, uid: u32) -> io::Result<()> {
        self.ledger.leaves(mailbox, subject);
        self.run(imap, &format!("UID STORE {uid} +FLAGS (\\Deleted)"))?;
        self.run(imap, &format!("UID EXPUNGE {uid}"))?;
        self.ledger.left(mailbox, subject);
        Ok(())
    }

    /// Copies a mail to Sent, or moves it. Which one has no copy there is known: it is not handled any more then.
    fn carry(&mut self, imap: &mut Imap, moves: bool) -> io::Result<()> {
        if self.mails.is_empty() {
            return Ok(());
        }
        let (subject, uid) = self.mails.swap_remove(self.dice.roll(self.mails.len()));
        let (from, to) = (("ann", "Archive".to_owned()), ("ann", "Sent".to_owned()));
        if moves {
            self.ledger.moves(&from, &to, &subject);
        } else {
            self.ledger.copies(&from, &to, &subject);
        }
        let command = if moves { "MOVE" } else { "COPY" };
        let responses = self.run(imap, &format!("UID {command} {uid} Sent"))?;
        let told = told(&responses, "[COPYUID ").expect("COPYUID");
        assert_eq!(told.1, uid, "{responses:?}");
        self.ledger.came(&[to], &subject, Some((told.0, told.2)), &[]);
        if moves {
            self.ledger.left(&from, &subject);
        }
        Ok(())
    }

    /// Makes a folder with a mail in it and gives it another name, or deletes one.
    fn folder(&mut self, imap: &mut Imap) -> io::Result<()> {
        if self.folders.len() > 1 && self.dice.roll(3) == 0 {
            let name = self.folders.swap_remove(0);
            self.ledger.subscribed(&name, None);
            self.run(imap, &format!("UNSUBSCRIBE {name}"))?;
            self.ledger.subscribed(&name, Some(false));
            self.ledger.deletes(&name);
            self.run(imap, &format!("DELETE {name}"))?;
            self.ledger.deleted(&name);
            return Ok(());
        }
        let subject = self.subject();
        let (name, later) = (format!("Box-{subject}"), format!("Kept.{subject}"));
        self.ledger.makes(&name);
        self.run(imap, &format!("CREATE {name}"))?;
        self.ledger.made(&name);
        self.append(imap, &name)?;
        self.ledger.renames(&name, &later);
        self.run(imap, &format!("RENAME {name} {later}"))?;
        self.ledger.renamed(&name, &later);
        self.ledger.subscribed(&later, None);
        self.run(imap, &format!("SUBSCRIBE {later}"))?;
        self.ledger.subscribed(&later, Some(true));
        self.folders.push(later);
        Ok(())
    }
}

/// The numbers of APPENDUID (twice the same UID) or COPYUID of one mail.
fn told(responses: &[String], mark: &str) -> Option<(u32, u32, u32)> {
    let (_, code) = responses.iter().rev().find_map(|line| line.split_once(mark))?;
    let mut numbers = code.split_once(']')?.0.split(' ').map(|number| number_after(number, ""));
    let (validity, uid) = (numbers.next()??, numbers.next()??);
    Some((validity, uid, numbers.next().flatten().unwrap_or(uid)))
}
