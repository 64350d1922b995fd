//! Programs that know nothing of UIDs and locks: one delivers, one flags and deletes.

use std::collections::VecDeque;

use super::{Acts, Cx};
use crate::ledger::{FlagBits, Place};
use crate::message::Token;
use crate::rng::Rng;
use crate::scenario::{ACCOUNTS, SHARED, Step};

/// The directory of a mailbox.
pub fn directory(account: usize, folder: &str) -> String {
    match folder {
        "INBOX" => format!("mail/{}", ACCOUNTS[account]),
        other => format!("mail/{}/.{other}", ACCOUNTS[account]),
    }
}

/// Delivers into INBOX: a file in `tmp/`, synced, renamed into `new/`; whether it syncs the directory is its habit.
#[derive(Debug)]
pub struct Procmail {
    index: usize,
    account: usize,
    steps: VecDeque<Step>,
    /// A file in `tmp/`.
    staged: Option<(Token, String)>,
    /// What it has moved into `new/` since it last synced that.
    unsynced: Vec<Token>,
    files: u64,
}

impl Procmail {
    /// One that delivers a message for each step.
    pub fn new(index: usize, account: usize, steps: VecDeque<Step>) -> Self {
        Procmail { index, account, steps, staged: None, unsynced: Vec::new(), files: 0 }
    }

    fn stage(&mut self, cx: &mut Cx<'_>) {
        let dir = directory(self.account, "INBOX");
        let Some(step) = self.steps.front() else { return };
        if !["tmp", "new", "cur"].iter().all(|part| cx.env.disk.is_dir(&format!("{dir}/{part}"))) {
            // Nobody has a Maildir yet.
            self.steps.pop_front();
            return;
        }
        let token = Token(Rng::new(step.dice).bits());
        self.files += 1;
        let name = format!("{}.{}_{}.procmail", cx.env.now().wall.secs, 4000 + self.index, self.files);
        if cx.env.disk.create(&format!("{dir}/tmp/{name}"), &token.stored()).is_ok() {
            cx.env.disk.sync(&format!("{dir}/tmp/{name}"));
            self.staged = Some((token, name));
        }
    }

    fn show(&mut self, cx: &mut Cx<'_>) {
        let Some((token, name)) = self.staged.take() else { return };
        let Some(step) = self.steps.pop_front() else { return };
        let (dir, syncs) = (directory(self.account, "INBOX"), step.dice & 1 == 0);
        let place = Place { account: self.account, folder: "INBOX".into() };
        cx.note(|| format!("procmail: moves {name} into new, syncs: {syncs}"));
        cx.env.ledger.may_arrive(&place, token, FlagBits::default());
        let moved = cx.env.disk.move_file(&format!("{dir}/tmp/{name}"), &format!("{dir}/new/{name}"));
        self.unsynced.push(token);
        if moved.is_ok() && syncs {
            cx.env.disk.sync(&format!("{dir}/new"));
            self.unsynced.clear();
            cx.env.ledger.has_arrived(&place, token);
        }
    }
}

impl Acts for Procmail {
    fn wake(&mut self, cx: &mut Cx<'_>) {
        if self.staged.is_some() {
            self.show(cx);
            if let Some(step) = self.steps.front() {
                cx.wake_ms(step.pause_ms);
            }
        } else if !self.steps.is_empty() {
            self.stage(cx);
            let wait = 1 + cx.rng.below(20);
            cx.wake_ms(wait);
        }
    }

    fn power_cut(&mut self, cx: &mut Cx<'_>) {
        if self.staged.take().is_some() {
            self.steps.pop_front();
        }
        let place = Place { account: self.account, folder: "INBOX".into() };
        for token in self.unsynced.drain(..) {
            cx.env.ledger.may_be_lost(&place, token);
        }
        cx.wake_ms(1000);
    }

    fn is_done(&self) -> bool {
        self.steps.is_empty()
    }
}

/// Moves messages from `new/` to `cur/`, changes letters, removes files; never syncs.
#[derive(Debug)]
pub struct Mutt {
    account: usize,
    steps: VecDeque<Step>,
}

impl Mutt {
    /// One that touches some messages at each step.
    pub fn new(account: usize, steps: VecDeque<Step>) -> Self {
        Mutt { account, steps }
    }

    fn step(&self, step: Step, cx: &mut Cx<'_>) {
        let mut rng = Rng::new(step.dice);
        let folder = (*rng.pick(&SHARED)).to_owned();
        let dir = directory(self.account, &folder);
        let place = Place { account: self.account, folder };
        let mut files: Vec<(&str, String)> = Vec::new();
        for part in ["cur", "new"] {
            let names = cx.env.disk.names(&format!("{dir}/{part}"));
            files.extend(names.into_iter().map(|name| (part, name)));
        }
        for _ in 0..rng.between(1, 4) {
            if files.is_empty() {
                return;
            }
            let (part, name) = files.swap_remove(rng.index(files.len()));
            let path = format!("{dir}/{part}/{name}");
            let Some(token) = cx.env.disk.contents(&path).and_then(Token::of) else { continue };
            match rng.below(10) {
                0 => {
                    cx.note(|| format!("mutt: removes {path}"));
                    cx.env.ledger.free(&place, token);
                    let _ = cx.env.disk.remove(&path);
                }
                _ => flag(&place, &dir, token, &name, &path, &mut rng, cx),
            }
        }
    }
}

/// Toggles one flag, by a rename into `cur/`.
fn flag(place: &Place, dir: &str, token: Token, name: &str, path: &str, rng: &mut Rng, cx: &mut Cx<'_>) {
    // In the order of the letters in a name: the index of each in the ledger.
    let letters = [('F', 2), ('R', 1), ('S', 0), ('T', 3)];
    let (base, letters_now) = name.split_once(":2,").unwrap_or((name, ""));
    // `T` less often: what is deleted is judged less strictly.
    let among = if rng.chance(30) { 4 } else { 3 };
    let (letter, index) = letters[rng.index(among)];
    let mut new: Vec<char> = letters_now.chars().filter(|other| *other != letter).collect();
    let on = new.len() == letters_now.len();
    if on {
        new.push(letter);
        new.sort_unstable();
    }
    let new: String = new.into_iter().collect();
    cx.note(|| format!("mutt: renames {path} to {dir}/cur/{base}:2,{new}"));
    cx.env.ledger.changed_unheard(place, token, index, on, cx.env.now);
    let _ = cx.env.disk.move_file(path, &format!("{dir}/cur/{base}:2,{new}"));
}

impl Acts for Mutt {
    fn wake(&mut self, cx: &mut Cx<'_>) {
        if let Some(step) = self.steps.pop_front() {
            self.step(step, cx);
        }
        if let Some(step) = self.steps.front() {
            cx.wake_ms(step.pause_ms);
        }
    }

    fn is_done(&self) -> bool {
        self.steps.is_empty()
    }
}
