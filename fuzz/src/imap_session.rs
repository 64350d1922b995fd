//! A whole IMAP session: the input is all that the client sends, from the greeting on.
//!
//! The office is played by lot, and the lot is cast by what is asked: the same questions get the same answers however
//! the input is cut. A client beside it believes every EXISTS and EXPUNGE.

use std::collections::BTreeSet;
use std::sync::Arc;

use postier_core::auth::AuthVerdict;
use postier_core::auth::scram::{ScramKey, ScramOffer};
use postier_core::imap::metadata::Entry;
use postier_core::imap::sequence::{NumberRange, SequenceSet, UidSet};
use postier_core::imap::server::{
    Answer, Appended, Ask, Changes, Copied, FetchPage, FetchRow, Folder, FolderNews, FoundIn, MessageFlags, News, Notice,
    Refusal, Selected, SelectionId, Session, Setup, Status, Stored,
};
use postier_core::imap::thread::{ThreadMessage, Threader};
use postier_core::limits::Limits;
use postier_core::machine::{Instant, Now, TlsInfo};
use postier_core::send_queue::SendQueue;
use postier_core::site::{Account, Quota, Secret, Usage};
use postier_core::wire::deflate::Inflater;

use crate::assert_split_invariant;
use crate::drive::{Drive, Happenings, Happens, Outcome, Party};

/// One session over TLS, in which the cuts do not count, and one that may begin TLS.
pub fn imap_session(data: &[u8]) {
    let outcome = assert_split_invariant(data, |pieces| run(true, pieces));
    assert!(outcome.sent.starts_with(b"* OK [CAPABILITY ") && outcome.sent.ends_with(b"\r\n"));
    run(false, &[data]);
}

fn run(tls: bool, pieces: &[&[u8]]) -> Outcome {
    let limits = Limits {
        message_bytes_max: 200,
        imap_command_bytes_max: 160,
        imap_greeting_bytes_max: 120,
        errors_max: 6,
        failed_logins_max: 2,
        ..Limits::default()
    };
    let setup = Setup {
        hostname: "mail.example.org".into(),
        peer: [192, 0, 2, 7].into(),
        starttls: !tls,
        tls: tls.then(TlsInfo::default),
        plaintext_login: true,
        scram: true,
        masks: Arc::default(),
        limits,
    };
    let now = Now { instant: Instant::from_micros(0), ..Now::default() };
    let mut tx = SendQueue::default();
    let session = Session::new(setup, now, &mut tx);
    Drive::run(session, World { next: 1, ..World::default() }, tx, now, pieces)
}

/// The office, and the client.
#[derive(Default)]
struct World {
    lot: u64,
    /// Octets before this place in what was sent are read.
    read: usize,
    /// How many messages the client knows of.
    messages: Option<u32>,
    /// The UIDs in the mailbox, and the next.
    there: BTreeSet<u32>,
    next: u32,
    /// COMPRESS is on.
    inflater: Option<Inflater>,
}

impl Party<Session> for World {
    fn receive(&mut self, octets: &[u8], outcome: &mut Outcome) {
        match &mut self.inflater {
            None => outcome.sent.extend_from_slice(octets),
            Some(inflater) => {
                let unpacked = inflater.feed(octets, &mut outcome.sent, usize::MAX);
                assert_eq!(unpacked, Ok(octets.len()), "what is sent can be unpacked");
            }
        }
        if self.inflater.is_none() && outcome.sent.ends_with(b"DEFLATE active\r\n") {
            self.inflater = Some(Inflater::new());
        }
        self.believe(&outcome.sent);
    }

    fn answer(&mut self, ask: Ask, outcome: &mut Outcome) -> Happenings<Session> {
        if let Ask::Unauthenticate | Ask::Unfollow = ask {
            return Vec::new();
        }
        if let Ask::Unselect { .. } = ask {
            self.messages = None;
            return Vec::new();
        }
        let asked = outcome.done.last().map(String::as_bytes).unwrap_or_default();
        self.lot = asked
            .iter()
            .fold(self.lot, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3));
        let first = match self.draw(24) {
            0 => {
                outcome.open &= !matches!(ask, Ask::AppendCommit { .. });
                return vec![Happens::Silence];
            }
            1 => Some(Happens::Notice(Notice::Shutdown)),
            2 => Some(Happens::Notice(Notice::News)),
            3..8 => {
                self.next += 1;
                self.there.insert(self.next);
                Some(Happens::Notice(Notice::Changed))
            }
            _ => None,
        };
        let answer = self.verdict(ask, outcome);
        first.into_iter().chain([Happens::Answer(answer)]).collect()
    }
}

impl World {
    /// Reads what was sent as a client does.
    fn believe(&mut self, sent: &[u8]) {
        let end = sent.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
        let unread = sent.get(self.read..end).unwrap_or_default();
        self.read = self.read.max(end);
        for line in String::from_utf8_lossy(unread).lines() {
            let words: Vec<&str> = line.split(' ').collect();
            if let ["*", "VANISHED", uids] = words.as_slice() {
                let gone = SequenceSet::parse(uids.as_bytes()).map_or(0, |set| set.resolve(u32::MAX).count());
                let left = u64::from(self.messages.unwrap_or(0)).checked_sub(gone);
                assert!(gone > 0 && left.is_some(), "{line}: of {:?}", self.messages);
                self.messages = left.and_then(|left| u32::try_from(left).ok());
            }
            let ["*", number, word, ..] = words.as_slice() else { continue };
            let Ok(number) = number.parse::<u32>() else { continue };
            let count = self.messages.unwrap_or(0);
            match *word {
                "EXISTS" => self.messages = Some(number),
                "EXPUNGE" => {
                    assert!((1..=count).contains(&number), "{line}: of {count}");
                    self.messages = Some(count - 1);
                }
                "FETCH" => assert!((1..=count).contains(&number), "{line}: of {count}"),
                _ => {}
            }
        }
    }

    /// A number below `bound`, decided by all that was asked so far.
    fn draw(&mut self, bound: u64) -> u64 {
        self.lot = self.lot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.lot >> 33) % bound
    }

    fn or_refused<V>(&mut self, value: V) -> Result<V, Refusal> {
        match self.draw(12) {
            0 => Err(Refusal::NonExistent),
            1 => Err(Refusal::InUse),
            _ => Ok(value),
        }
    }

    fn some(&mut self, uids: &UidSet) -> UidSet {
        uids.iter().filter(|_| self.draw(4) > 0).collect()
    }

    fn verdict(&mut self, ask: Ask, outcome: &mut Outcome) -> Answer {
        match ask {
            Ask::Unauthenticate | Ask::Unfollow | Ask::Unselect { .. } => unreachable!("it has no answer"),
            Ask::Verifier { ticket, login } => {
                let verifier = ScramKey::new([1; 32]).made_up(&login, 4096, 16);
                Answer::Verifier(ticket.answer(ScramOffer { verifier, nonce: b"nonce".to_vec() }))
            }
            Ask::Authenticate { ticket, .. } => Answer::Authenticate(ticket.answer(match self.draw(8) {
                0 => AuthVerdict::Denied,
                1 => AuthVerdict::Temporary,
                _ => AuthVerdict::Granted(account()),
            })),
            Ask::Select { ticket, read_only, .. } => {
                let selected = Selected {
                    selection: SelectionId(self.draw(9)),
                    uid_validity: 1,
                    uid_next: self.next + 1,
                    modseq: Some(self.draw(1 << 32)).filter(|modseq| modseq % 5 > 0),
                    guid: Some([7; 16]),
                    view: self.there.iter().copied().collect(),
                    recent: UidSet::new(),
                    first_unseen: self.there.first().copied(),
                    keywords: Arc::default(),
                    read_only,
                };
                Answer::Select(ticket.answer(self.or_refused(selected)))
            }
            Ask::Changes { ticket, .. } => {
                let there: UidSet = self.there.iter().copied().collect();
                let expunged = there.difference(&self.some(&there));
                self.there.retain(|uid| !expunged.contains(*uid));
                let appended = self.there.iter().copied().collect();
                Answer::Changes(ticket.answer(Changes { expunged, appended, ..Changes::default() }))
            }
            Ask::List { ticket } => {
                let folder = |name: &str| Folder {
                    name: name.into(),
                    non_existent: name == "a",
                    subscribed: name != "b",
                    special_use: None,
                };
                let folders = ["INBOX", "a", "a.b", "b"].into_iter().map(folder).collect();
                Answer::List(ticket.answer(self.or_refused(folders)))
            }
            Ask::Status { ticket, .. } => {
                let (uid_next, size) = (self.next, Some(9));
                let status = Status {
                    messages: 1,
                    recent: 0,
                    uid_next,
                    uid_validity: 1,
                    unseen: 0,
                    deleted: 0,
                    size,
                    deleted_size: size,
                    modseq: None,
                    guid: None,
                };
                Answer::Status(ticket.answer(self.or_refused(status)))
            }
            Ask::Append { ticket, .. } => {
                let verdict = self.or_refused(());
                outcome.open = verdict.is_ok();
                outcome.bodies.push(Vec::new());
                Answer::Done(ticket.answer(verdict))
            }
            Ask::AppendCommit { ticket } => {
                outcome.open = false;
                let lacks_keywords = self.draw(4) == 0;
                let appended = Appended { uid_validity: 1, uids: UidSet::from_iter([3]), lacks_keywords };
                Answer::Append(ticket.answer(self.or_refused(appended)))
            }
            Ask::AppendNext { ticket, .. } => {
                outcome.bodies.push(Vec::new());
                Answer::Done(ticket.answer(self.or_refused(())))
            }
            Ask::Quota { ticket } => {
                let quota = Quota { bytes: Some(9), messages: None };
                Answer::Quota(ticket.answer(self.or_refused(Some((quota, Usage::default())))))
            }
            Ask::Create { ticket, .. } => Answer::Created(ticket.answer(self.or_refused([7; 16]))),
            Ask::Metadata { ticket, .. } => {
                let names = [&b"/private/comment"[..], b"/shared/vendor/x/y"];
                let values = names.map(|name| (Entry::new(name).expect("a name"), b"a\0b".to_vec()));
                Answer::Metadata(ticket.answer(self.or_refused(Vec::from(values))))
            }
            Ask::Follow { ticket, .. } => {
                let names = vec![b"INBOX".to_vec(), b"a".to_vec()];
                Answer::Followed(ticket.answer(self.or_refused(names)))
            }
            Ask::News { ticket } => {
                let folder =
                    Folder { name: b"a".to_vec(), non_existent: false, subscribed: true, special_use: None };
                let folders = vec![FolderNews { folder, old_name: Some(b"b".to_vec()) }];
                let overflow = self.draw(8) == 0;
                Answer::News(ticket.answer(News { folders, overflow, ..News::default() }))
            }
            Ask::SetMetadata { ticket, .. }
            | Ask::Folder { ticket, .. }
            | Ask::AppendUrl { ticket, .. }
            | Ask::Remove { ticket, .. }
            | Ask::Expunge { ticket, .. } => Answer::Done(ticket.answer(self.or_refused(()))),
            Ask::Fetch { ticket, uids, .. } => {
                let mut page = FetchPage::default();
                for uid in self.some(&uids).iter().take(2) {
                    page.bytes.extend_from_slice(b"UID 1");
                    page.rows.push(FetchRow { uid, end: page.bytes.len() });
                    page.next = Some(uid + 1);
                }
                page.gone = self.draw(4) == 0;
                Answer::Fetch(ticket.answer(self.or_refused(page)))
            }
            Ask::Store { ticket, uids, .. } => {
                let message = |uid| MessageFlags { uid, modseq: 9, ..MessageFlags::default() };
                let flags = self.some(&uids).iter().map(message).collect();
                let modified = self.some(&uids);
                let stored = Stored { flags, modified, keywords: Arc::default(), gone: self.draw(4) == 0 };
                Answer::Store(ticket.answer(self.or_refused(stored)))
            }
            Ask::Copy { ticket, uids, .. } => {
                let pairs = self.some(&uids).iter().map(|uid| (uid, uid + 7)).collect();
                let lacks_keywords = self.draw(4) == 0;
                Answer::Copy(ticket.answer(self.or_refused(Copied { uid_validity: 1, pairs, lacks_keywords })))
            }
            Ask::Sort { ticket, within, .. } => {
                let mut sorted: Vec<u32> = within.iter().filter(|_| self.draw(2) == 0).collect();
                sorted.sort_by_key(|uid| uid % 5);
                Answer::Sort(ticket.answer(self.or_refused(sorted)))
            }
            Ask::Thread { ticket, within, algorithm, .. } => {
                let mut threader = Threader::new(algorithm);
                for uid in within.iter() {
                    let id = |number: u64| format!("{number}@x").into_bytes();
                    let references = (0..self.draw(3)).map(|_| id(self.draw(9))).collect();
                    let id = Some(id(uid.into()));
                    threader.push(ThreadMessage { uid, id, references, ..ThreadMessage::default() });
                }
                Answer::Thread(ticket.answer(self.or_refused(threader.finish())))
            }
            Ask::Vanished { ticket, uids, .. } => {
                let known = uids.intersect(&[NumberRange { first: 1, last: 99 }].into_iter().collect());
                Answer::Vanished(ticket.answer(self.some(&known)))
            }
            Ask::ModSeq { ticket, .. } => Answer::ModSeq(ticket.answer(self.draw(1 << 32))),
            Ask::SearchIn { ticket, .. } => {
                let uids = self.there.iter().copied().collect();
                let found = FoundIn { uid_validity: 1, uids, modseqs: Vec::new() };
                Answer::SearchedIn(ticket.answer(self.or_refused(found)))
            }
            Ask::Search { ticket, within, .. } => {
                let found = self.some(&within);
                Answer::Search(ticket.answer(self.or_refused(found)))
            }
        }
    }
}

fn account() -> Arc<Account> {
    let account = Account::new(b"you", b"example.test", b"/m".to_vec(), Secret::new("{PLAIN}x"));
    Arc::new(account.expect("a good name"))
}
