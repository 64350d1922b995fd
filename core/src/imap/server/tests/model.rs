//! A client that believes what it is told, beside a mailbox that others change: at any time each of its sequence
//! numbers names the message the server means, and after NOOP it knows exactly what is there.

use super::bench::{Bench, setup};
use super::script::account;
use crate::auth::AuthVerdict;
use crate::imap::sequence::UidSet;
use crate::imap::server::{
    Answer, Ask, Changes, FetchPage, FetchRow, MessageFlags, Notice, Selected, SelectionId, Stored,
};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use proptest::prelude::*;

/// The mailbox on disk, and what of its history this session has not asked for.
#[derive(Default)]
struct Office {
    there: BTreeSet<u32>,
    next: u32,
    expunged: UidSet,
    appended: BTreeSet<u32>,
}

impl Office {
    fn append(&mut self, count: u32) {
        for _ in 0..count {
            self.there.insert(self.next);
            self.appended.insert(self.next);
            self.next += 1;
        }
    }

    fn expunge(&mut self, picks: &[u8]) {
        for pick in picks {
            let len = self.there.len().max(1);
            let Some(uid) = self.there.iter().nth(usize::from(*pick) % len).copied() else { return };
            self.there.remove(&uid);
            // What came and went between two questions never was.
            if !self.appended.remove(&uid) {
                self.expunged.insert(uid);
            }
        }
    }

    fn select(&mut self) -> Selected {
        let view = core::mem::take(&mut self.there);
        self.there.clone_from(&view);
        (self.expunged, self.appended) = (UidSet::new(), BTreeSet::new());
        Selected {
            selection: SelectionId(1),
            uid_validity: 1,
            uid_next: self.next,
            modseq: Some(1),
            guid: Some([7; 16]),
            view: view.into_iter().collect(),
            recent: UidSet::new(),
            first_unseen: None,
            keywords: Default::default(),
            read_only: false,
        }
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Authenticate { ticket, .. } => {
                Answer::Authenticate(ticket.answer(AuthVerdict::Granted(account())))
            }
            Ask::Select { ticket, .. } => Answer::Select(ticket.answer(Ok(self.select()))),
            Ask::Changes { ticket, .. } => {
                let expunged = core::mem::take(&mut self.expunged);
                let appended = core::mem::take(&mut self.appended).into_iter().collect();
                Answer::Changes(ticket.answer(Changes { expunged, appended, ..Changes::default() }))
            }
            Ask::Fetch { ticket, uids, .. } => Answer::Fetch(ticket.answer(Ok(self.page(&uids)))),
            Ask::Sort { ticket, within, .. } => {
                let mut sorted: Vec<u32> = within.iter().filter(|uid| uid % 3 != 0).collect();
                sorted.sort_by_key(|uid| uid % 5);
                Answer::Sort(ticket.answer(Ok(sorted)))
            }
            Ask::Search { ticket, within, .. } => {
                let found = within.iter().filter(|uid| self.there.contains(uid)).collect();
                Answer::Search(ticket.answer(Ok(found)))
            }
            Ask::Store { ticket, uids, .. } => {
                let here = uids.iter().filter(|uid| self.there.contains(uid));
                let flags = here.map(|uid| MessageFlags { uid, ..MessageFlags::default() }).collect();
                Answer::Store(ticket.answer(Ok(Stored { flags, ..Stored::default() })))
            }
            other => panic!("{other:?} is not part of this"),
        }
    }

    /// Two messages a page.
    fn page(&self, uids: &UidSet) -> FetchPage {
        let mut page = FetchPage::default();
        for uid in uids.iter() {
            if page.rows.len() == 2 {
                page.next = Some(uid);
                break;
            }
            if self.there.contains(&uid) {
                page.bytes.extend_from_slice(format!("UID {uid}").as_bytes());
                page.rows.push(FetchRow { uid, end: page.bytes.len() });
            } else {
                page.gone = true;
            }
        }
        page
    }
}

/// What the client knows: a UID for each sequence number, as far as it has been told.
#[derive(Default)]
struct Client {
    messages: Vec<Option<u32>>,
}

impl Client {
    /// Reads the log; `quiet`: no EXPUNGE may be among it.
    fn read(&mut self, bench: &mut Bench, quiet: bool) -> Vec<String> {
        let lines = core::mem::take(&mut bench.log);
        for line in &lines {
            let words: Vec<&str> = line.split([' ', '(', ')']).filter(|word| !word.is_empty()).collect();
            match words.as_slice() {
                ["S:", "*", count, "EXISTS"] => {
                    let count: usize = count.parse().unwrap();
                    assert!(count >= self.messages.len(), "EXISTS never shrinks: {line}");
                    self.messages.resize(count, None);
                }
                ["S:", "*", number, "EXPUNGE"] => {
                    assert!(!quiet, "told at the wrong time: {line}");
                    self.messages.remove(number.parse::<usize>().unwrap() - 1);
                }
                ["S:", "*", number, "FETCH", "UID", uid] => {
                    let known = &mut self.messages[number.parse::<usize>().unwrap() - 1];
                    let uid = uid.parse().unwrap();
                    assert!(known.is_none_or(|known| known == uid), "another message: {line}");
                    *known = Some(uid);
                }
                ["S:", "*", "SEARCH" | "SORT", numbers @ ..] => {
                    let count = self.messages.len();
                    assert!(numbers.iter().all(|number| (1..=count).contains(&number.parse().unwrap())));
                }
                _ => {}
            }
        }
        lines
    }
}

#[derive(Clone, Debug)]
enum Act {
    Append(u32),
    Expunge(Vec<u8>),
    Say(&'static str),
    Idle(Vec<Act>),
}

fn world() -> impl Strategy<Value = Act> {
    prop_oneof![
        (1u32..4).prop_map(Act::Append),
        proptest::collection::vec(any::<u8>(), 1..4).prop_map(Act::Expunge),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    const SAY: &[&str] = &[
        "NOOP",
        "FETCH 1:* UID",
        "FETCH * UID",
        "STORE 1:* +FLAGS.SILENT (\\Seen)",
        "SEARCH ALL",
        "SORT (DATE) UTF-8 ALL",
    ];
    prop_oneof![
        4 => world(),
        4 => proptest::sample::select(SAY).prop_map(Act::Say),
        1 => proptest::collection::vec(world(), 0..4).prop_map(Act::Idle),
    ]
}

struct World {
    bench: Bench,
    office: Office,
    client: Client,
}

impl World {
    fn answer_all(&mut self) {
        while let Some(ask) = self.bench.asked.pop() {
            let answer = self.office.answer(ask);
            self.bench.answer(answer);
        }
    }

    /// Says a line; `meanwhile` happens while the first question is open.
    fn say(&mut self, line: &str, meanwhile: Option<&Act>) {
        self.bench.bytes(format!("a {line}\r\n").as_bytes(), &mut || usize::MAX);
        if let (Some(act), false) = (meanwhile, self.bench.asked.is_empty()) {
            self.change(act);
        }
        self.answer_all();
        let quiet = ["FETCH", "STORE", "SEARCH", "SORT"].iter().any(|verb| line.starts_with(verb));
        let lines = self.client.read(&mut self.bench, quiet);
        assert!(
            lines.iter().any(|line| line.starts_with("S: a OK") || line.starts_with("S: a NO")),
            "{lines:?}"
        );
    }

    fn change(&mut self, act: &Act) {
        match act {
            Act::Append(count) => self.office.append(*count),
            Act::Expunge(picks) => self.office.expunge(picks),
            Act::Say(_) | Act::Idle(_) => return,
        }
        self.bench.notice(Notice::Changed);
    }

    fn idle(&mut self, acts: &[Act]) {
        self.bench.bytes(b"i IDLE\r\n", &mut || usize::MAX);
        for act in acts {
            self.change(act);
            self.answer_all();
        }
        self.answer_all();
        self.client.read(&mut self.bench, false);
        // IDLE has told everything by now.
        assert_eq!(self.client.messages.len(), self.office.there.len());
        self.bench.bytes(b"DONE\r\n", &mut || usize::MAX);
        self.answer_all();
        self.client.read(&mut self.bench, false);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn sequence_numbers_follow_what_was_told(
        messages in 0u32..8,
        acts in proptest::collection::vec((act(), proptest::option::of(world())), 0..30),
    ) {
        let office = Office { next: 1, ..Office::default() };
        let mut world = World { bench: Bench::new(setup()), office, client: Client::default() };
        world.office.append(messages);
        world.say("LOGIN you secret", None);
        world.say("SELECT INBOX", None);
        for (act, meanwhile) in &acts {
            match act {
                Act::Append(_) | Act::Expunge(_) => world.change(act),
                Act::Say(line) => world.say(line, meanwhile.as_ref()),
                Act::Idle(acts) => world.idle(acts),
            }
        }
        world.say("NOOP", None);
        prop_assert_eq!(world.client.messages.len(), world.office.there.len());
        world.say("FETCH 1:* UID", None);
        let known: Vec<u32> = world.client.messages.iter().copied().flatten().collect();
        let there: Vec<u32> = world.office.there.iter().copied().collect();
        prop_assert_eq!(known.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            there.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
    }
}
