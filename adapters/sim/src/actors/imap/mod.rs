//! Reads and changes mailboxes over IMAP, and keeps a model of what it was told.
//!
//! ```text
//! offline ─connect─▶ greeting ─(STARTTLS)─▶ LOGIN ─▶ steps … ─▶ parked ─finish─▶ compare, LOGOUT
//!    ▲                                              │
//!    └──────────── connection lost, some seconds ───┘
//! ```
//! * `commands`: choosing what to say, and telling the ledger before it is said.
//! * `responses`: hearing, and telling the ledger what was promised or shown.
//! * `kept`: a result that is kept up.
//! * `sync`: following a mailbox by mod-sequences, and from one connection to the next.
//!
//! A well-behaved client waits for each answer; a sloppy one sends some commands at once, names in odd case and
//! strings as literals.

mod commands;
mod kept;
mod responses;
mod sync;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use postier_core::server::Service;

use self::kept::Kept;
use self::sync::{Enabled, Remembered, Resync};
use super::{Acts, Cx, Wish};
use crate::imap::model::Model;
use crate::imap::response::Responses;
use crate::ledger::{ChangeId, FlagBits, Place};
use crate::message::Token;
use crate::network::Packet;
use crate::rng::Rng;
use crate::scenario::{Habit, Manner, Step};

/// No answer takes longer: the commit's limit of 10 minutes for each of two asks, and a bit.
const PATIENCE: u64 = 1_300_000_000;

/// What a command is about, to be settled when its answer comes.
#[derive(Clone, Debug)]
enum Doing {
    StartTls,
    Login,
    Enable,
    /// Nothing to settle.
    Plain,
    /// The answer may be NO.
    MayFail,
    Select(Box<Selected>),
    /// Learns UIDs, flags and tokens of all messages.
    Learn,
    /// FETCH that sets `\Seen`, or STORE.
    Change(Vec<Changing>),
    Copy {
        uids: Vec<(u32, Token)>,
        to: Place,
        moving: bool,
    },
    /// EXPUNGE or CLOSE: of all that is `\Deleted`, or of none but what the ledger has doomed by UID.
    Expunge(Option<ChangeId>),
    Append {
        token: Token,
        to: Place,
    },
    Status {
        place: Place,
        uid_next: u32,
        modseq: u64,
    },
    Search(Option<Vec<u32>>),
    /// A search whose result is kept up.
    Keep(Kept),
    /// FETCH CHANGEDSINCE: what is told, and whether what has gone is, too.
    Since {
        since: u64,
        told: BTreeSet<u32>,
        vanished: bool,
    },
    /// STORE UNCHANGEDSINCE; `alone` if no other command was under way.
    Unchanged {
        changes: Vec<Changing>,
        since: u64,
        alone: bool,
    },
    /// SEARCH MODSEQ
    SearchSince {
        since: u64,
        found: Option<(Vec<u32>, Option<u64>)>,
    },
    Create(Place),
    Rename(Place, Place),
    Delete(Place),
    Subscribe(Place, bool),
    Idle,
    /// All of the mailbox is fetched and compared with the model.
    Compare {
        seen: Vec<Shown>,
        strict: bool,
    },
    Logout,
}

/// A message in the answer to a fresh FETCH.
#[derive(Clone, Debug)]
struct Shown {
    /// Its sequence number, where there are any.
    number: Option<u32>,
    uid: u32,
    flags: FlagBits,
    modseq: Option<u64>,
}

/// A flag of a message that is being changed.
#[derive(Clone, Debug)]
struct Changing {
    change: ChangeId,
    uid: u32,
    token: Token,
    index: usize,
    on: bool,
}

/// A command without an answer yet.
#[derive(Clone, Debug)]
struct Command {
    tag: String,
    doing: Doing,
    /// The verb, for complaints.
    verb: &'static str,
    sent_at: u64,
    /// In which life of the server.
    life: u32,
    /// By sequence number, so EXPUNGE must wait.
    hides_expunges: bool,
    /// FETCH responses must name the UID.
    by_uid: bool,
    /// STORE without an answer for each message.
    silent: bool,
}

/// The selected mailbox.
#[derive(Clone, Debug)]
struct Selected {
    place: Place,
    read_only: bool,
    model: Model,
    /// What was shown before the SELECT.
    uid_next: u32,
    modseq: u64,
    /// When it was selected.
    since: u64,
    /// As shown at SELECT.
    validity: Option<u32>,
    first_highest: u64,
    /// What was there at SELECT is known.
    learned: bool,
    /// What was remembered, while SELECT is answered.
    resync: Option<Resync>,
    /// VANISHED (EARLIER) has told that these are gone.
    vanished: BTreeSet<u32>,
    /// A result that is kept up.
    kept: Option<Kept>,
    wants_a_result: bool,
}

/// See the module's manual.
#[derive(Debug)]
pub struct ImapClient {
    index: usize,
    account: usize,
    manner: Manner,
    habit: Habit,
    enabled: Enabled,
    remembered: BTreeMap<Place, Remembered>,
    /// A mailbox was resynchronised, and is to be compared.
    resynced: bool,
    steps: VecDeque<Step>,
    connected: bool,
    greeted: bool,
    tls: bool,
    ready: bool,
    tags: u64,
    responses: Responses,
    selected: Option<Selected>,
    asked: VecDeque<Command>,
    /// Parts of a command that wait for `+`.
    parts: VecDeque<Vec<u8>>,
    /// The mailboxes of its own.
    own: Vec<Place>,
    names: u64,
    /// IDLE ends then, in microseconds.
    idles_until: Option<u64>,
    finishing: Finishing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finishing {
    No,
    /// IDLE for a while, to hear everything.
    Listen,
    Compare,
    Goodbye,
    Done,
}

impl ImapClient {
    /// One of an account.
    pub fn new(
        index: usize,
        account: usize,
        (manner, habit): (Manner, Habit),
        steps: VecDeque<Step>,
    ) -> Self {
        ImapClient {
            index,
            account,
            manner,
            habit,
            enabled: Enabled::default(),
            remembered: BTreeMap::new(),
            resynced: false,
            steps,
            connected: false,
            greeted: false,
            tls: false,
            ready: false,
            tags: 0,
            responses: Responses::default(),
            selected: None,
            asked: VecDeque::new(),
            parts: VecDeque::new(),
            own: Vec::new(),
            names: 0,
            idles_until: None,
            finishing: Finishing::No,
        }
    }

    /// Everybody else is done: what it believes is compared with what is.
    pub fn finish(&mut self, cx: &mut Cx<'_>) {
        let worth = self.connected && self.ready && self.asked.is_empty();
        self.finishing = if worth { Finishing::Listen } else { Finishing::Goodbye };
        self.go_on(cx);
    }

    /// Nothing is left to compare.
    pub fn is_finished(&self) -> bool {
        self.finishing == Finishing::Done || !self.connected
    }

    fn complain(&self, what: &str, cx: &mut Cx<'_>) {
        let place =
            self.selected.as_ref().map(|selected| format!(" in {}", selected.place)).unwrap_or_default();
        cx.env.ledger.violation(format!("IMAP client {}{place}: {what}", self.index));
    }

    fn connect(&mut self, cx: &mut Cx<'_>) {
        self.connected = true;
        let service = if self.manner.implicit_tls { Service::Imaps } else { Service::Imap };
        cx.wishes.push(Wish::Connect(service));
        if self.manner.implicit_tls {
            self.tls = true;
            cx.wishes.push(Wish::Send(Packet::Tls));
        }
        cx.wishes.push(Wish::Wake(PATIENCE));
    }

    /// The next thing to do, if it is time.
    fn go_on(&mut self, cx: &mut Cx<'_>) {
        if !self.ready || !self.asked.is_empty() {
            return;
        }
        match self.finishing {
            Finishing::No => {}
            Finishing::Listen => {
                self.finishing = Finishing::Compare;
                if self.selected.is_some() {
                    return self.idle(20_000, cx);
                }
                return self.go_on(cx);
            }
            Finishing::Compare => {
                self.finishing = Finishing::Goodbye;
                if self.selected.is_some() {
                    return self.compare(true, cx);
                }
                return self.go_on(cx);
            }
            Finishing::Goodbye => {
                self.finishing = Finishing::Done;
                return self.say("LOGOUT", Doing::Logout, cx);
            }
            Finishing::Done => return,
        }
        if std::mem::take(&mut self.resynced) {
            return self.compare(false, cx);
        }
        if self.wants_to_learn() {
            return self.learn(cx);
        }
        if self.wants_a_result() {
            return self.ask_for_a_result(cx);
        }
        let Some(step) = self.steps.front() else { return };
        cx.wake_ms(step.pause_ms);
    }

    /// It has messages whose identity it does not know.
    fn wants_to_learn(&self) -> bool {
        let unknown = |selected: &Selected| {
            selected.model.messages.iter().any(|known| known.token.is_none() && !known.asked)
        };
        self.selected.as_ref().is_some_and(unknown)
    }

    fn lost(&mut self, cx: &mut Cx<'_>) {
        for command in std::mem::take(&mut self.asked) {
            self.lose(command, cx);
        }
        (self.connected, self.greeted, self.tls, self.ready) = (false, false, false, false);
        self.leave_selected(cx);
        (self.enabled, self.resynced, self.idles_until) = (Enabled::default(), false, None);
        self.responses = Responses::default();
        self.parts.clear();
        if self.finishing == Finishing::No {
            let wait = cx.rng.between(100, 10_000);
            cx.wake_ms(wait);
        }
    }

    /// A command whose answer will never come.
    fn lose(&self, command: Command, cx: &mut Cx<'_>) {
        let died = command.life != cx.env.life || !cx.env.listens;
        match command.doing {
            Doing::Change(changes) | Doing::Unchanged { changes, .. } if died => {
                let Some(selected) = &self.selected else { return };
                for Changing { change, token, .. } in changes {
                    if let Some(entry) = cx.env.ledger.folder(&selected.place).entries.get_mut(&token) {
                        entry.flags.fail(change);
                    }
                }
            }
            Doing::Copy { uids, to, .. } => {
                for (_, token) in uids {
                    cx.env.ledger.copy_uncertain(token, &to);
                }
            }
            Doing::Create(place) | Doing::Delete(place) => cx.env.ledger.give_up(&place),
            Doing::Rename(from, to) => {
                cx.env.ledger.give_up(&from);
                cx.env.ledger.give_up(&to);
            }
            _ => {}
        }
    }
}

impl Acts for ImapClient {
    fn wake(&mut self, cx: &mut Cx<'_>) {
        if !self.connected {
            if !self.steps.is_empty() {
                self.connect(cx);
            }
            return;
        }
        if self.idles_until.is_some_and(|until| cx.env.now >= until) {
            self.idles_until = None;
            cx.send(b"DONE\r\n");
            return cx.wishes.push(Wish::Wake(PATIENCE));
        }
        match self.asked.front() {
            Some(command) if cx.env.now >= command.sent_at + PATIENCE => {
                let verb = command.verb;
                self.complain(&format!("no answer to {verb} for {} s", PATIENCE / 1_000_000), cx);
                cx.wishes.push(Wish::Leave);
                self.lost(cx);
            }
            Some(_) => cx.wishes.push(Wish::Wake(PATIENCE)),
            None if self.ready && self.finishing == Finishing::No => self.next_steps(cx),
            None => {}
        }
    }

    fn hear(&mut self, octets: &[u8], cx: &mut Cx<'_>) {
        self.responses.push(octets);
        while self.connected {
            match self.responses.poll() {
                Ok(Some((response, _))) => {
                    for response in cx.env.planted.heard(response) {
                        self.handle(response, cx);
                    }
                }
                Ok(None) => return,
                Err(wrong) => {
                    self.complain(&wrong, cx);
                    cx.wishes.push(Wish::Leave);
                    return self.lost(cx);
                }
            }
        }
    }

    fn tls_done(&mut self, cx: &mut Cx<'_>) {
        if !self.manner.implicit_tls {
            self.tls = true;
            self.log_in(cx);
        }
    }

    fn closed(&mut self, cx: &mut Cx<'_>) {
        self.lost(cx);
    }

    fn is_done(&self) -> bool {
        let parked = self.ready && self.asked.is_empty() && !self.wants_to_learn();
        self.steps.is_empty() && (!self.connected || parked)
    }
}

/// A set of UIDs on the wire.
fn set(uids: &[(u32, Token)]) -> String {
    uids.iter().map(|(uid, _)| uid.to_string()).collect::<Vec<_>>().join(",")
}

/// A stream of chances for one step.
fn chances(step: Step) -> Rng {
    Rng::new(step.dice)
}
