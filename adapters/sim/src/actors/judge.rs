//! Looks at everything in the end: logs in, lists, reads every message of every mailbox, and hands it to the ledger.

use std::collections::{BTreeSet, VecDeque};

use postier_core::server::Service;

use super::{Acts, Cx, Wish};
use crate::imap::model::bits;
use crate::imap::response::{Code, Fetched, Response, Responses, Status, Untagged};
use crate::ledger::{FlagBits, Place, Seen};
use crate::message::Token;
use crate::network::Packet;
use crate::scenario::{ACCOUNTS, DOMAIN};

/// It must be done in this time, in microseconds.
const PATIENCE: u64 = 600_000_000;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Task {
    Login,
    List,
    Subscribed,
    Examine(String),
    Read(String),
    Logout,
}

/// See the module's manual.
#[derive(Debug)]
pub struct Judge {
    account: usize,
    started: Option<u64>,
    greeted: bool,
    responses: Responses,
    tasks: VecDeque<Task>,
    asked: Option<Task>,
    tags: u32,
    listed: BTreeSet<String>,
    subscribed: BTreeSet<String>,
    seen: Vec<Seen>,
    exists: u32,
    /// UIDNEXT and HIGHESTMODSEQ that were shown before.
    before: (u32, u64),
    done: bool,
}

impl Judge {
    /// Of one account.
    pub fn new(account: usize) -> Self {
        Judge {
            account,
            started: None,
            greeted: false,
            responses: Responses::default(),
            tasks: [Task::Login, Task::List, Task::Subscribed, Task::Logout].into(),
            asked: None,
            tags: 0,
            listed: BTreeSet::new(),
            subscribed: BTreeSet::new(),
            seen: Vec::new(),
            exists: 0,
            before: (0, 0),
            done: false,
        }
    }

    /// What it has read of a mailbox, for [`crate::world`] to compare with the disk.
    fn place(&self, folder: &str) -> Place {
        Place { account: self.account, folder: folder.into() }
    }

    fn complain(&self, what: &str, cx: &mut Cx<'_>) {
        cx.env.ledger.violation(format!("the judge of {}: {what}", ACCOUNTS[self.account]));
    }

    fn next(&mut self, cx: &mut Cx<'_>) {
        let Some(task) = self.tasks.pop_front() else { return };
        let name = ACCOUNTS[self.account];
        let text = match &task {
            Task::Login => format!("LOGIN {name}@{DOMAIN} pw-{name}"),
            Task::List => "LIST \"\" \"*\"".into(),
            Task::Subscribed => "LSUB \"\" \"*\"".into(),
            Task::Examine(folder) => {
                let place = self.place(folder);
                let folder = cx.env.ledger.folder(&place);
                self.before = (folder.uid_next_shown, folder.modseq_shown);
                self.exists = 0;
                format!("EXAMINE \"{}\"", place.folder)
            }
            Task::Read(_) => {
                self.seen.clear();
                "UID FETCH 1:* (UID FLAGS RFC822.SIZE BODY.PEEK[])".into()
            }
            Task::Logout => "LOGOUT".into(),
        };
        self.tags += 1;
        self.asked = Some(task);
        cx.send(format!("j{} {text}\r\n", self.tags).as_bytes());
    }

    fn read(&mut self, fetched: Fetched, cx: &mut Cx<'_>) {
        let Some(uid) = fetched.uid else { return };
        let flags = match bits(&fetched.flags.unwrap_or_default()) {
            Ok(flags) => flags,
            Err(wrong) => {
                self.complain(&wrong, cx);
                FlagBits::default()
            }
        };
        let body = fetched.sections.into_iter().find_map(|(_, octets)| octets).unwrap_or_default();
        if fetched.size != Some(body.len() as u64) {
            self.complain(
                &format!("UID {uid}: RFC822.SIZE {:?} for {} octets", fetched.size, body.len()),
                cx,
            );
        }
        let token = Token::of(&body);
        let whole = token.is_some_and(|token| token.is_whole(&body));
        self.seen.push(Seen { uid, flags, token, whole });
    }

    fn untagged(&mut self, untagged: Untagged, cx: &mut Cx<'_>) {
        let examined = match &self.asked {
            Some(Task::Examine(folder)) => Some(self.place(folder)),
            Some(_) | None => None,
        };
        match (untagged, examined) {
            (Untagged::Status(Status::Ok, Some(Code::UidValidity(validity))), Some(place)) => {
                cx.env.ledger.saw_uid_validity(&place, validity);
            }
            (Untagged::Status(Status::Ok, Some(Code::UidNext(next))), Some(place)) => {
                cx.env.ledger.saw_uid_next(&place, next, self.before.0);
            }
            (Untagged::Status(Status::Ok, Some(Code::HighestModSeq(modseq))), Some(place)) => {
                cx.env.ledger.saw_modseq(&place, modseq, self.before.1);
            }
            (Untagged::Exists(count), _) => self.exists = count,
            (Untagged::List(attributes, name), _) => {
                if self.asked == Some(Task::Subscribed) {
                    self.subscribed.insert(name);
                } else if !attributes
                    .iter()
                    .any(|a| a.eq_ignore_ascii_case("\\Noselect") || a.eq_ignore_ascii_case("\\NonExistent"))
                {
                    self.listed.insert(name);
                }
            }
            (Untagged::Fetch(_, fetched), _) => self.read(*fetched, cx),
            _ => {}
        }
    }

    fn answered(&mut self, status: Status, cx: &mut Cx<'_>) {
        let Some(task) = self.asked.take() else { return self.complain("an answer to nothing", cx) };
        if status != Status::Ok {
            self.complain(&format!("{status:?} to {task:?}"), cx);
        }
        match task {
            Task::Login | Task::List | Task::Logout => {}
            Task::Subscribed => {
                let folders: Vec<String> = self.listed.iter().cloned().collect();
                for folder in folders.into_iter().rev() {
                    self.tasks.push_front(Task::Read(folder.clone()));
                    self.tasks.push_front(Task::Examine(folder));
                }
            }
            Task::Examine(_) => {}
            Task::Read(folder) => {
                let place = self.place(&folder);
                if self.seen.len() != self.exists as usize {
                    let (seen, exists) = (self.seen.len(), self.exists);
                    self.complain(&format!("{place}: EXISTS {exists}, and FETCH shows {seen}"), cx);
                }
                let seen = std::mem::take(&mut self.seen);
                cx.env.ledger.judge(&place, &seen, cx.env.now);
                self.compare_with_disk(&place, &seen, cx);
            }
        }
        self.next(cx);
    }

    /// What is in the directories is what IMAP shows.
    fn compare_with_disk(&self, place: &Place, seen: &[Seen], cx: &mut Cx<'_>) {
        let dir = super::programs::directory(place.account, &place.folder);
        let mut on_disk: Vec<Option<Token>> = Vec::new();
        for part in ["cur", "new"] {
            for name in cx.env.disk.names(&format!("{dir}/{part}")) {
                on_disk.push(cx.env.disk.contents(&format!("{dir}/{part}/{name}")).and_then(Token::of));
            }
        }
        let mut shown: Vec<Option<Token>> = seen.iter().map(|seen| seen.token).collect();
        on_disk.sort_unstable();
        shown.sort_unstable();
        if on_disk != shown {
            let (files, messages) = (on_disk.len(), shown.len());
            self.complain(&format!("{place}: {files} files, and {messages} messages shown"), cx);
        }
    }
}

impl Acts for Judge {
    fn wake(&mut self, cx: &mut Cx<'_>) {
        match self.started {
            None => {
                self.started = Some(cx.env.now);
                cx.wishes.push(Wish::Connect(Service::Imaps));
                cx.wishes.push(Wish::Send(Packet::Tls));
                cx.wishes.push(Wish::Wake(PATIENCE));
            }
            Some(_) if !self.done => {
                self.complain(&format!("no answer to {:?}", self.asked), cx);
                self.done = true;
            }
            Some(_) => {}
        }
    }

    fn hear(&mut self, octets: &[u8], cx: &mut Cx<'_>) {
        self.responses.push(octets);
        while !self.done {
            match self.responses.poll() {
                Ok(Some((Response::Tagged(_, status, _), _))) => self.answered(status, cx),
                Ok(Some((Response::Untagged(untagged), _))) if self.greeted => self.untagged(untagged, cx),
                Ok(Some(_)) => {
                    self.greeted = true;
                    self.next(cx);
                }
                Ok(None) => return,
                Err(wrong) => {
                    self.complain(&wrong, cx);
                    self.done = true;
                }
            }
        }
    }

    fn closed(&mut self, cx: &mut Cx<'_>) {
        if self.asked.is_some() || !self.tasks.is_empty() {
            self.complain(&format!("the connection is lost at {:?}", self.asked), cx);
        } else {
            cx.env.ledger.judge_account(self.account, &self.listed, &self.subscribed);
        }
        self.done = true;
    }

    fn is_done(&self) -> bool {
        self.done
    }
}
