//! Eight clients that change everything a mailbox has, as fast as they can, until the server is gone: three send mail
//! to ann and bob, five are ann. What they ask for and what is acknowledged stands in a [`Ledger`].

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{Dice, Imap, PATIENCE, Server, Smtp};
use crate::ledger::{Ledger, Mailbox, number_after};

const SMTP_SESSIONS: usize = 3;
const IMAP_SESSIONS: usize = 5;
/// Octets of the text of every eighth mail: it comes in several pieces.
const LONG: usize = 150_000;

/// Lets the clients work until `acknowledged` changes more are, then calls `cut`, which ends the server, and waits for
/// the clients to notice.
pub(crate) fn load_until_cut(
    server: Server,
    ledger: &Ledger,
    name: &str,
    acknowledged: usize,
    cut: impl FnOnce(Server),
) {
    let enough = ledger.acknowledged() + acknowledged;
    let ending = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut clients = Vec::new();
        for number in 0..SMTP_SESSIONS {
            let mut smtp = server.exchange();
            smtp.expect("EHLO other.example", 250);
            let mut client = Client::new(format!("{name}-{number}"), ledger, &ending);
            clients.push(scope.spawn(move || client.send(&mut smtp)));
        }
        for number in 0..IMAP_SESSIONS {
            let mut imap = server.imap("ann");
            imap.ok("SELECT Archive");
            let mut client = Client::new(format!("{name}-{}", SMTP_SESSIONS + number), ledger, &ending);
            clients.push(scope.spawn(move || client.change(&mut imap)));
        }
        let begun = std::time::Instant::now();
        // A client that ends before the server has a complaint; it is heard when all have ended.
        while ledger.acknowledged() < enough && clients.iter().all(|client| !client.is_finished()) {
            assert!(begun.elapsed() < PATIENCE, "{} changes in {PATIENCE:?}", ledger.acknowledged());
            std::thread::sleep(Duration::from_millis(1));
        }
        ending.store(true, Ordering::SeqCst);
        cut(server);
    });
}

struct Client<'l> {
    name: String,
    count: usize,
    dice: Dice,
    ledger: &'l Ledger,
    /// From now on the server may fail.
    ending: &'l AtomicBool,
    /// Mails in Archive by subject and UID.
    mails: Vec<(String, u32)>,
    /// Folders with a mail in each.
    folders: Vec<String>,
}

impl<'l> Client<'l> {
    fn new(name: String, ledger: &'l Ledger, ending: &'l AtomicBool) -> Self {
        let seed = name.bytes().fold(1u64, |seed, octet| seed * 31 + u64::from(octet));
        let (mails, folders) = (Vec::new(), Vec::new());
        Client { name, count: 0, dice: Dice(seed), ledger, ending, mails, folders }
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
        assert!(self.ending.load(Ordering::SeqCst), "{}: {what}", self.name);
        io::Error::other(what.to_owned())
    }

    /// Sends mails to ann and bob until the server is gone.
    fn send(&mut self, smtp: &mut Smtp) -> io::Result<()> {
        let to: [Mailbox; 2] = [("ann", "INBOX".to_owned()), ("bob", "INBOX".to_owned())];
        loop {
            let subject = self.subject();
            let text = self.message(&subject);
            self.ledger.comes(&to, &subject);
            smtp.wire().try_write(
                b"MAIL FROM:<a@other.example>\r\nRCPT TO:<ann@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n",
            )?;
            for wanted in [250, 250, 250, 354] {
                self.hear(smtp, wanted)?;
            }
            smtp.wire().try_write(format!("{text}.\r\n").as_bytes())?;
            self.hear(smtp, 250)?;
            self.ledger.came(&to, &subject, None, &[]);
        }
    }

    fn hear(&self, smtp: &mut Smtp, wanted: u16) -> io::Result<()> {
        let reply = smtp.reply().ok_or(io::ErrorKind::UnexpectedEof)?;
        if reply.code == wanted { Ok(()) } else { Err(self.refused(&format!("{reply:?}"))) }
    }

    /// Appends to ann's Archive, flags, copies, moves, expunges, makes folders, until the server is gone.
    fn change(&mut self, imap: &mut Imap) -> io::Result<()> {
        loop {
            match self.dice.roll(10) {
                0..3 => self.append(imap, "Archive")?,
                3..5 => self.flag(imap)?,
                5 => self.flag_all(imap)?,
                6 => self.expunge(imap)?,
                7 => self.carry(imap, false)?,
                8 => self.carry(imap, true)?,
                _ => self.folder(imap)?,
            }
        }
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
        let flag = ["\\Seen", "\\Answered", "work", "later"][self.dice.roll(4)];
        let set = self.dice.roll(2) == 0;
        let (archive, subjects) = (("ann", "Archive".to_owned()), [subject]);
        self.ledger.flags(&archive, &subjects, flag);
        self.run(imap, &format!("UID STORE {uid} {}FLAGS ({flag})", if set { '+' } else { '-' }))?;
        self.ledger.flagged(&archive, &subjects, flag, set);
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
        let archive = ("ann", "Archive".to_owned());
        self.ledger.leaves(&archive, &subject);
        self.run(imap, &format!("UID STORE {uid} +FLAGS (\\Deleted)"))?;
        self.run(imap, &format!("UID EXPUNGE {uid}"))?;
        self.ledger.left(&archive, &subject);
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
