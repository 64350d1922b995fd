//! A client that has results kept up (RFC 5267), beside a mailbox that others change: whenever it has been told all, each
//! result is what a new search would find; and all it is told on the way makes sense to it.

use super::bench::{Bench, setup};
use super::script::account;
use crate::auth::AuthVerdict;
use crate::imap::command::{CommandBody, parse};
use crate::imap::flag::{FlagSet, SystemFlag};
use crate::imap::search::SearchKey;
use crate::imap::sequence::{SequenceSet, UidSet};
use crate::imap::server::{
    Answer, Ask, Changes, FetchPage, FetchRow, MessageFlags, Notice, SearchQuery, Selected, SelectionId,
    StoreAction, Stored,
};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use proptest::prelude::*;

/// The mailbox on disk, and what of its history this session has not asked for.
#[derive(Default)]
struct Office {
    there: BTreeMap<u32, FlagSet>,
    next: u32,
    expunged: UidSet,
    appended: BTreeSet<u32>,
    flagged: BTreeSet<u32>,
    /// How many messages were searched since the last time.
    searched: u64,
}

fn matches(uid: u32, flags: FlagSet, key: &SearchKey) -> bool {
    match key {
        SearchKey::All => true,
        SearchKey::Seen => flags.contains(SystemFlag::Seen),
        SearchKey::Unseen => !flags.contains(SystemFlag::Seen),
        SearchKey::Flagged => flags.contains(SystemFlag::Flagged),
        SearchKey::Not(key) => !matches(uid, flags, key),
        SearchKey::Or(keys) => matches(uid, flags, &keys.0) || matches(uid, flags, &keys.1),
        SearchKey::And(keys) => keys.iter().all(|key| matches(uid, flags, key)),
        SearchKey::Uid(set) => {
            assert!(!set.has_star(), "the session says what * is");
            set.contains(uid, u32::MAX)
        }
        other => panic!("{other:?} is not part of this"),
    }
}

impl Office {
    fn pick(&self, pick: u8) -> Option<u32> {
        self.there.keys().nth(usize::from(pick) % self.there.len().max(1)).copied()
    }

    fn change(&mut self, act: &Act) -> bool {
        match act {
            Act::Append(seen) => {
                for seen in seen {
                    let flags = if *seen { FlagSet::EMPTY.with(SystemFlag::Seen) } else { FlagSet::EMPTY };
                    self.there.insert(self.next, flags);
                    self.appended.insert(self.next);
                    self.next += 1;
                }
            }
            Act::Expunge(pick) => {
                let Some(uid) = self.pick(*pick) else { return false };
                self.remove(uid);
            }
            Act::Flag(pick, flag) => {
                let Some(uid) = self.pick(*pick) else { return false };
                let flags = self.there.entry(uid).or_default();
                *flags = if flags.contains(*flag) { flags.without(*flag) } else { flags.with(*flag) };
                self.flagged.insert(uid);
            }
            Act::Say(_) | Act::Idle(_) => return false,
        }
        true
    }

    fn remove(&mut self, uid: u32) {
        self.there.remove(&uid);
        self.flagged.remove(&uid);
        // What came and went between two questions never was.
        if !self.appended.remove(&uid) {
            self.expunged.insert(uid);
        }
    }

    fn flags(&self, uid: u32) -> Option<MessageFlags> {
        self.there.get(&uid).map(|flags| MessageFlags { uid, flags: *flags, modseq: 1 })
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
                let flagged = core::mem::take(&mut self.flagged);
                let flags = flagged.into_iter().filter_map(|uid| self.flags(uid)).collect();
                Answer::Changes(ticket.answer(Changes { expunged, appended, flags, ..Changes::default() }))
            }
            Ask::Fetch { ticket, uids, request, .. } => {
                Answer::Fetch(ticket.answer(Ok(self.page(&uids, request.set_seen))))
            }
            Ask::Search { ticket, within, query, .. } => {
                self.searched += within.count();
                Answer::Search(ticket.answer(Ok(self.find(&within, &query))))
            }
            Ask::Expunge { ticket, .. } => {
                let deleted =
                    |(uid, flags): (&u32, &FlagSet)| flags.contains(SystemFlag::Flagged).then_some(*uid);
                let gone: Vec<u32> = self.there.iter().filter_map(deleted).collect();
                gone.into_iter().for_each(|uid| self.remove(uid));
                Answer::Done(ticket.answer(Ok(())))
            }
            Ask::Store { ticket, uids, action, .. } => {
                let mut stored = Stored::default();
                for uid in uids.iter() {
                    let Some(flags) = self.there.get_mut(&uid) else { continue };
                    *flags = match action {
                        StoreAction::Remove => flags.without(SystemFlag::Seen),
                        StoreAction::Add | StoreAction::Replace => flags.with(SystemFlag::Seen),
                    };
                    stored.flags.extend(self.flags(uid));
                }
                Answer::Store(ticket.answer(Ok(stored)))
            }
            other => panic!("{other:?} is not part of this"),
        }
    }

    fn find(&self, within: &UidSet, query: &SearchQuery) -> UidSet {
        let matches = |uid: &u32| self.there.get(uid).is_some_and(|flags| matches(*uid, *flags, &query.key));
        within.iter().filter(matches).collect()
    }

    fn select(&mut self) -> Selected {
        (self.expunged, self.appended, self.flagged) = Default::default();
        Selected {
            selection: SelectionId(1),
            uid_validity: 1,
            uid_next: self.next,
            modseq: Some(1),
            guid: Some([7; 16]),
            view: self.there.keys().copied().collect(),
            recent: UidSet::new(),
            first_unseen: None,
            keywords: Default::default(),
            read_only: false,
        }
    }

    fn page(&mut self, uids: &UidSet, set_seen: bool) -> FetchPage {
        let mut page = FetchPage::default();
        for uid in uids.iter() {
            let Some(flags) = self.there.get_mut(&uid) else { continue };
            if set_seen {
                *flags = flags.with(SystemFlag::Seen);
            }
            page.bytes.extend_from_slice(format!("UID {uid}").as_bytes());
            page.rows.push(FetchRow { uid, end: page.bytes.len() });
        }
        page
    }
}

/// A result as its client knows it. Messages that are named by number are known by the places they came into.
struct Kept {
    tag: String,
    uid: bool,
    key: SearchKey,
    result: BTreeSet<u32>,
}

/// What the client knows.
#[derive(Default)]
struct Client {
    /// One for each sequence number; a number of its own for each message.
    messages: Vec<u32>,
    came: u32,
    kept: Vec<Kept>,
}

impl Client {
    fn read(&mut self, bench: &mut Bench) -> Vec<String> {
        let lines = core::mem::take(&mut bench.log);
        for line in &lines {
            let words: Vec<&str> = line.split([' ', '(', ')', '"']).filter(|word| !word.is_empty()).collect();
            match words.as_slice() {
                ["S:", "*", count, "EXISTS"] => {
                    while self.messages.len() < count.parse().unwrap() {
                        self.came += 1;
                        self.messages.push(self.came);
                    }
                }
                ["S:", "*", number, "EXPUNGE"] => {
                    let gone = self.messages.remove(number.parse::<usize>().unwrap() - 1);
                    let holds = |kept: &Kept| !kept.uid && kept.result.contains(&gone);
                    assert!(!self.kept.iter().any(holds), "REMOVEFROM comes before {line}");
                }
                ["S:", "*", "ESEARCH", "TAG", tag, rest @ ..] => self.read_result(line, tag, rest),
                _ => {}
            }
        }
        lines
    }

    fn read_result(&mut self, line: &str, tag: &str, rest: &[&str]) {
        let kept = self.kept.iter_mut().find(|kept| kept.tag == tag).expect(line);
        let rest = rest.strip_prefix(&["UID"]).unwrap_or(rest);
        assert_eq!(kept.uid, line.contains(") UID"), "{line}");
        let of = |set: &str| {
            let set = SequenceSet::parse(set.as_bytes()).expect(line).resolve(u32::MAX);
            let named = |number: u32| match kept.uid {
                true => number,
                false => self.messages[number as usize - 1],
            };
            set.iter().map(named).collect::<Vec<u32>>()
        };
        let changes: Vec<(&str, Vec<u32>)> = match rest {
            [] => Vec::new(),
            ["ALL", set] => [("ALL", of(set))].into(),
            _ => rest.chunks(3).map(|item| (item[0], of(item[2]))).collect(),
        };
        for (item, messages) in changes {
            for message in messages {
                let is_news = match item {
                    "REMOVEFROM" => kept.result.remove(&message),
                    _ => kept.result.insert(message),
                };
                assert!(is_news, "{item} {message} says nothing: {line}");
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Append(Vec<bool>),
    Expunge(u8),
    Flag(u8, SystemFlag),
    Say(&'static str),
    Idle(Vec<Act>),
}

fn world() -> impl Strategy<Value = Act> {
    let flag = prop_oneof![Just(SystemFlag::Seen), Just(SystemFlag::Flagged)];
    prop_oneof![
        proptest::collection::vec(any::<bool>(), 1..4).prop_map(Act::Append),
        any::<u8>().prop_map(Act::Expunge),
        (any::<u8>(), flag).prop_map(|(pick, flag)| Act::Flag(pick, flag)),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    const SAY: &[&str] = &[
        "NOOP",
        "FETCH 1:* UID",
        "FETCH 1:* BODY[]",
        "UID FETCH * BODY[]",
        "STORE 1:* +FLAGS.SILENT (\\Seen)",
        "UID STORE 3:5 -FLAGS (\\Seen)",
        "EXPUNGE",
        "SEARCH RETURN (UPDATE ALL) SEEN",
        "UID SEARCH RETURN (UPDATE ALL) UNSEEN UID 3:*",
        "UID SEARCH RETURN (ALL UPDATE) OR UID 7:* FLAGGED",
        "SEARCH RETURN (UPDATE ALL) NOT UID *",
        "SEARCH RETURN (UPDATE ALL) UID 4:11",
    ];
    prop_oneof![
        4 => world(),
        5 => proptest::sample::select(SAY).prop_map(Act::Say),
        1 => proptest::collection::vec(world(), 0..4).prop_map(Act::Idle),
    ]
}

struct World {
    bench: Bench,
    office: Office,
    client: Client,
    said: usize,
}

impl World {
    fn change(&mut self, act: &Act) {
        if self.office.change(act) {
            self.bench.notice(Notice::Changed);
        }
    }

    fn answer_all(&mut self, mut meanwhile: Option<&Act>) {
        while let Some(ask) = self.bench.asked.pop() {
            let removes = matches!(ask, Ask::Expunge { .. });
            let answer = self.office.answer(ask);
            if removes {
                self.bench.notice(Notice::Changed);
            }
            if let Some(act) = meanwhile.take() {
                self.change(act);
            }
            self.bench.answer(answer);
        }
    }

    /// Says a line; `meanwhile` happens between a question and its answer.
    fn say(&mut self, line: &str, meanwhile: Option<&Act>) {
        self.said += 1;
        let tag = format!("a{}", self.said);
        if let Some((head, key)) = line.split_once("RETURN (").filter(|_| self.client.kept.len() < 8) {
            let key = key.split_once(") ").expect("a key").1;
            let command = format!("a SEARCH {key}\r\n");
            let CommandBody::Search(search) = parse(command.as_bytes()).expect(line).body else { panic!() };
            let key = search.key;
            let (uid, result) = (head.starts_with("UID"), BTreeSet::new());
            self.client.kept.push(Kept { tag: tag.clone(), uid, key, result });
        } else if line.contains("RETURN (") {
            return;
        }
        self.bench.bytes(format!("{tag} {line}\r\n").as_bytes(), &mut || usize::MAX);
        self.answer_all(meanwhile);
        let lines = self.client.read(&mut self.bench);
        assert!(lines.iter().any(|line| line.starts_with(&format!("S: {tag} OK"))), "{lines:?}");
    }

    fn idle(&mut self, acts: &[Act]) {
        self.bench.bytes(b"i IDLE\r\n", &mut || usize::MAX);
        for act in acts {
            self.change(act);
            self.answer_all(None);
        }
        self.answer_all(None);
        self.client.read(&mut self.bench);
        self.compare();
        self.bench.bytes(b"DONE\r\n", &mut || usize::MAX);
        self.answer_all(None);
        self.client.read(&mut self.bench);
    }

    /// The client has been told all.
    fn compare(&self) {
        assert_eq!(self.client.messages.len(), self.office.there.len());
        let there: UidSet = self.office.there.keys().copied().collect();
        for Kept { tag, uid, key, result } in &self.client.kept {
            let mut key = key.clone();
            let last = there.last().unwrap_or(0);
            key.resolve(&mut |_| UidSet::new().into(), &mut |set| set.resolve(last).into());
            let query = SearchQuery { key, recent: UidSet::new(), saved: UidSet::new() };
            let found = self.office.find(&there, &query);
            let known: UidSet = match uid {
                true => result.iter().copied().collect(),
                false => {
                    let pairs = self.client.messages.iter().zip(there.iter());
                    pairs.filter(|(message, _)| result.contains(message)).map(|(_, uid)| uid).collect()
                }
            };
            assert_eq!(known, found, "{tag} {:?}", query.key);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn results_are_what_a_new_search_finds(
        messages in proptest::collection::vec(any::<bool>(), 0..8),
        acts in proptest::collection::vec((act(), proptest::option::of(world())), 0..40),
    ) {
        let office = Office { next: 1, ..Office::default() };
        let (client, said) = (Client::default(), 0);
        let mut world = World { bench: Bench::new(setup()), office, client, said };
        world.office.change(&Act::Append(messages));
        world.say("LOGIN you secret", None);
        world.say("SELECT INBOX", None);
        for (act, meanwhile) in &acts {
            match act {
                Act::Append(_) | Act::Expunge(_) | Act::Flag(..) => world.change(act),
                Act::Say(line) => world.say(line, meanwhile.as_ref()),
                Act::Idle(acts) => world.idle(acts),
            }
        }
        world.say("NOOP", None);
        world.compare();
        // What one change costs is one message for each result.
        world.office.searched = 0;
        world.change(&Act::Flag(3, SystemFlag::Seen));
        world.say("NOOP", None);
        prop_assert!(world.office.searched <= world.client.kept.len() as u64);
        world.compare();
    }
}
