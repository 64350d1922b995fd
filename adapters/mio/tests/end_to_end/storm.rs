//! Many clients change one mailbox at the same time, and so do SMTP and another program. Each client believes what the
//! server tells it and nothing else; when all is quiet, what each believes is what a fresh client sees.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{Dice, Imap, Server, Site, eventually, mail_in};

const CLIENTS: u64 = 4;
const STEPS: usize = 100;
/// From here on nobody takes mail away, or nothing would be left to change.
const FEW: usize = 20;

/// What a client knows of the selected mailbox from untagged responses.
#[derive(Default)]
struct Belief {
    /// By sequence number; a message that was only counted has no UID yet.
    uids: Vec<Option<u32>>,
    flags: BTreeMap<u32, String>,
}

impl Belief {
    fn absorb(&mut self, response: &str) {
        let Some((number, rest)) = response.split_once(' ') else { return };
        let Ok(number) = number.parse::<usize>() else { return };
        if rest == "EXISTS" {
            assert!(number >= self.uids.len(), "EXISTS {number} after {}", self.uids.len());
            self.uids.resize(number, None);
        } else if rest == "EXPUNGE" {
            assert!(number >= 1 && number <= self.uids.len(), "EXPUNGE {number} of {}", self.uids.len());
            if let Some(uid) = self.uids.remove(number - 1) {
                self.flags.remove(&uid);
            }
        } else if let Some(row) = rest.strip_prefix("FETCH (") {
            assert!(number >= 1 && number <= self.uids.len(), "FETCH {number} of {}", self.uids.len());
            if let Some((_, uid)) = row.split_once("UID ") {
                let uid = uid.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
                let known = self.uids[number - 1].get_or_insert(uid);
                assert_eq!(*known, uid, "message {number}");
            }
            if let (Some((_, flags)), Some(uid)) = (row.split_once("FLAGS ("), self.uids[number - 1]) {
                let mut flags: Vec<&str> = flags.split_once(')').unwrap().0.split_whitespace().collect();
                flags.retain(|flag| *flag != "\\Recent");
                flags.sort_unstable();
                self.flags.insert(uid, flags.join(" "));
            }
        }
    }

    fn ascending(&self) {
        let known: Vec<u32> = self.uids.iter().copied().flatten().collect();
        assert!(known.is_sorted_by(|a, b| a < b), "{known:?}");
    }
}

struct Client {
    imap: Imap,
    belief: Belief,
    dice: Dice,
}

impl Client {
    fn start(server: &Server, number: u64) -> Self {
        let mut client = Client { imap: server.imap("ann"), belief: Belief::default(), dice: Dice(number) };
        client.run("SELECT INBOX");
        client
    }

    /// A command and what it tells; whether it succeeded.
    fn run(&mut self, command: &str) -> bool {
        let (untagged, end) = self.imap.run(command);
        for response in &untagged {
            self.belief.absorb(response);
        }
        self.belief.ascending();
        // A message may be gone before anybody was told (RFC 2180 §4.1).
        let gone = end.starts_with("NO [EXPUNGEISSUED]");
        assert!(end.starts_with("OK") || gone, "{command}: {end}");
        !gone
    }

    /// Asks for what was counted and is not known.
    fn learn(&mut self) {
        if let Some(first) = self.belief.uids.iter().position(Option::is_none) {
            self.run(&format!("FETCH {}:* (UID FLAGS)", first + 1));
        }
    }

    fn step(&mut self, number: usize) {
        self.learn();
        let count = self.belief.uids.len();
        if count == 0 {
            self.run("NOOP");
            return;
        }
        let message = self.dice.roll(count) + 1;
        let uid = self.belief.uids[message - 1].unwrap_or(1);
        let sign = ["+", "-", ""][self.dice.roll(3)];
        let flag = ["\\Seen", "\\Flagged", "\\Answered \\Seen", "work", "later", ""][self.dice.roll(6)];
        match self.dice.roll(12) {
            0..3 => self.run(&format!("UID STORE {uid} {sign}FLAGS ({flag})")),
            3 => self.run(&format!("STORE {message}:{count} {sign}FLAGS ({flag})")),
            4 => {
                let text = format!("Subject: step {number}\r\n\r\nx\r\n");
                self.run(&format!("APPEND INBOX ({flag}) {{{}+}}\r\n{text}", text.len()))
            }
            5 => self.run(&format!("UID COPY {uid} INBOX")),
            6 if count > FEW => self.run(&format!("UID MOVE {uid} Archive")),
            7 if count > FEW => {
                self.run(&format!("UID STORE {uid} +FLAGS (\\Deleted)"))
                    && self.run(&format!("UID EXPUNGE {uid}"))
            }
            8 => self.run(&format!("FETCH {message} (UID FLAGS BODY.PEEK[HEADER])")),
            9 => self.run("UID SEARCH UNSEEN"),
            10 => {
                let tag = self.imap.idle();
                self.imap.wire().write(b"DONE\r\n");
                for response in self.imap.finish(&tag).0 {
                    self.belief.absorb(&response);
                }
                true
            }
            _ => self.run("NOOP"),
        };
    }
}

/// Another program: flags mails by renaming them, as mutt does, takes some away and brings new ones.
fn meddle(inbox: &Path, over: &AtomicBool) {
    let mut dice = Dice(99);
    for number in 0.. {
        if over.load(Ordering::SeqCst) {
            return;
        }
        let name = format!("17000{number:05}.1.meddler");
        fs::write(inbox.join("tmp").join(&name), format!("Subject: meddler {number}\n\nx\n")).unwrap();
        fs::rename(inbox.join("tmp").join(&name), inbox.join("new").join(&name)).unwrap();
        let mail = mail_in(inbox);
        let chosen = &mail[dice.roll(mail.len())];
        let mut pause = Duration::from_millis(20);
        if mail.len() > FEW && dice.roll(4) == 0 {
            // Whoever was faster has renamed it.
            let _ = fs::remove_file(&chosen.path);
            // That a file is nowhere can be seen in a directory that rests for a moment; until then every look takes
            // longer.
            pause = Duration::from_millis(100);
        } else if let Some((base, flags)) = chosen.name().split_once(":2,")
            && !flags.contains('R')
        {
            let mut flags: Vec<char> = flags.chars().chain(['R']).collect();
            flags.sort_unstable();
            let flags: String = flags.into_iter().collect();
            // Whoever was faster has renamed it, or taken it away.
            let _ = fs::rename(&chosen.path, inbox.join("cur").join(format!("{base}:2,{flags}")));
        }
        std::thread::sleep(pause);
    }
}

#[test]
fn what_every_client_believes_in_the_end_is_true() {
    let site = Site::new();
    let server = Server::start(&site);
    let mut smtp = server.exchange();
    smtp.expect("EHLO other.example", 250);
    for number in 0..10 {
        smtp.deliver("a@other.example", &["ann@example.test"], &format!("Subject: {number}\n\nx\n"));
    }
    let mut clients: Vec<Client> = (0..CLIENTS).map(|number| Client::start(&server, number + 1)).collect();
    let over = AtomicBool::new(false);
    let inbox = site.maildir("ann");
    std::thread::scope(|scope| {
        let meddler = scope.spawn(|| meddle(&inbox, &over));
        let working: Vec<_> = clients
            .iter_mut()
            .map(|client| scope.spawn(move || (0..STEPS).for_each(|number| client.step(number))))
            .collect();
        for number in 0..20 {
            smtp.deliver("a@other.example", &["ann@example.test"], &format!("Subject: late {number}\n\nx\n"));
        }
        let worked: Vec<_> = working.into_iter().map(|thread| thread.join()).collect();
        over.store(true, Ordering::SeqCst);
        meddler.join().unwrap();
        worked.into_iter().for_each(|end| end.unwrap());
    });
    let mut fresh = Client::start(&server, 0);
    // What the other program did last is seen a little later.
    for client in &mut clients {
        eventually("what all believe to be true", || {
            for client in [&mut *client, &mut fresh] {
                client.run("NOOP");
                client.learn();
            }
            let (is, believed) = (&fresh.belief, &client.belief);
            (is.uids == believed.uids && is.flags == believed.flags).then_some(())
        });
    }
    let log = server.log();
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("\"ERROR\"")).collect();
    assert!(errors.is_empty(), "{errors:?}");
}
