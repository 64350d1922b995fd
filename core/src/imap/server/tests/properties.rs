//! Arbitrary clients and arbitrary answers: nothing panics, everything ends, and the pieces in which the octets come
//! change nothing.

use super::bench::{Bench, setup};
use super::script::{self, account, refusal};
use crate::auth::AuthVerdict;
use crate::auth::scram::tests::pencil;
use crate::imap::flag::FlagSet;
use crate::imap::metadata::Entry;
use crate::imap::sequence::UidSet;
use crate::imap::server::{
    Answer, Appended, Ask, Changes, Copied, FetchPage, FetchRow, Folder, FoundIn, MessageFlags, News, Notice,
    Refusal, Selected, SelectionId, Status, Stored,
};
use crate::send_queue::FileRange;
use crate::site::{Quota, Usage};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use proptest::prelude::*;

/// Numbers that somebody else has drawn.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(bound)) as u32
    }

    fn uids(&mut self) -> UidSet {
        (0..self.below(4)).map(|_| self.below(12)).collect()
    }

    fn flags(&mut self) -> Vec<MessageFlags> {
        let mut flags = || {
            let (uid, flags) = (self.below(12), FlagSet::from_bits(self.below(u32::MAX)));
            MessageFlags { uid, flags, modseq: self.below(99).into() }
        };
        (0..3).map(|_| flags()).collect()
    }

    fn modseq(&mut self) -> Option<u64> {
        Some(self.below(99)).filter(|modseq| *modseq > 9).map(u64::from)
    }

    fn keywords(&mut self) -> Arc<Vec<String>> {
        Arc::new(["", "a", "b", "$c"].into_iter().take(self.below(5) as usize).map(Into::into).collect())
    }

    fn or_refused<V>(&mut self, value: V) -> Result<V, Refusal> {
        const WORDS: [&str; 10] = [
            "nonexistent",
            "trycreate",
            "alreadyexists",
            "readonly",
            "inuse",
            "nospace",
            "toobig",
            "unavailable",
            "badcharset",
            "cannot",
        ];
        match self.below(6) {
            0 => Err(refusal(&["no ", WORDS[self.below(10) as usize]].concat()).unwrap()),
            _ => Ok(value),
        }
    }

    fn page(&mut self) -> FetchPage {
        let mut page = FetchPage::default();
        for _ in 0..self.below(4) {
            page.bytes.extend_from_slice(b"UID 7 X");
            if self.below(4) == 0 {
                let (file, emit) = (crate::disk::Handle(1), u64::from(self.below(9)));
                page.files
                    .push((page.bytes.len() - self.below(3) as usize, FileRange::text(file, 0, 0, emit)));
            }
            // A row may lie about where it ends.
            page.rows
                .push(FetchRow { uid: self.below(12), end: page.bytes.len() + self.below(12) as usize / 11 });
        }
        page.next = (self.below(3) == 0).then(|| self.below(12));
        page.gone = self.below(4) == 0;
        page
    }

    fn answer(&mut self, ask: Ask) -> Option<Answer> {
        Some(match ask {
            Ask::Unselect { .. } | Ask::Unfollow | Ask::Unauthenticate => return None,
            Ask::Verifier { ticket, .. } => Answer::Verifier(ticket.answer(pencil())),
            Ask::Authenticate { ticket, .. } => Answer::Authenticate(ticket.answer(match self.below(4) {
                0 => AuthVerdict::Denied,
                1 => AuthVerdict::Temporary,
                _ => AuthVerdict::Granted(account()),
            })),
            Ask::Select { ticket, .. } => {
                let selected = Selected {
                    selection: SelectionId(self.below(9).into()),
                    uid_validity: 1,
                    uid_next: 12,
                    modseq: self.modseq(),
                    guid: None,
                    view: self.uids().iter().collect(),
                    recent: self.uids(),
                    first_unseen: Some(self.below(12)),
                    keywords: self.keywords(),
                    read_only: self.below(4) == 0,
                };
                Answer::Select(ticket.answer(self.or_refused(selected)))
            }
            Ask::Changes { ticket, .. } => Answer::Changes(ticket.answer(Changes {
                expunged: self.uids(),
                appended: self.uids().iter().collect(),
                recent: self.uids(),
                flags: self.flags(),
                modseq: self.modseq(),
                keywords: (self.below(3) == 0).then(|| self.keywords()),
                reset: self.below(20) == 0,
            })),
            Ask::List { ticket } => {
                let names = ["INBOX", "a", "a.b", "", ".", "a\"b"];
                let folder = |name: &str| Folder {
                    name: name.into(),
                    non_existent: name.len() == 1,
                    subscribed: name.len() == 3,
                    special_use: None,
                };
                let folders = names.into_iter().skip(self.below(6) as usize).map(folder).collect();
                Answer::List(ticket.answer(self.or_refused(folders)))
            }
            Ask::Status { ticket, .. } => {
                let (uid_next, size) = (self.below(99), Some(0));
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
            Ask::Quota { ticket } => {
                let quota = Quota { bytes: Some(9), messages: None };
                Answer::Quota(ticket.answer(self.or_refused(Some((quota, Usage::default())))))
            }
            Ask::Create { ticket, .. } => Answer::Created(ticket.answer(self.or_refused([7; 16]))),
            Ask::Metadata { ticket, .. } => {
                let entry = Entry::new(b"/private/comment").expect("a name");
                Answer::Metadata(ticket.answer(self.or_refused(Vec::from([(entry, b"x".to_vec())]))))
            }
            Ask::Follow { ticket, .. } => {
                Answer::Followed(ticket.answer(self.or_refused(Vec::from([b"a".to_vec()]))))
            }
            Ask::News { ticket } => {
                let overflow = self.below(9) == 0;
                Answer::News(ticket.answer(News { overflow, ..News::default() }))
            }
            Ask::SetMetadata { ticket, .. }
            | Ask::Folder { ticket, .. }
            | Ask::Append { ticket, .. }
            | Ask::AppendNext { ticket, .. }
            | Ask::AppendUrl { ticket, .. }
            | Ask::Remove { ticket, .. }
            | Ask::Expunge { ticket, .. } => Answer::Done(ticket.answer(self.or_refused(()))),
            Ask::AppendCommit { ticket } => {
                let lacks_keywords = self.below(4) == 0;
                let appended = Appended { uid_validity: 1, uids: UidSet::from_iter([3]), lacks_keywords };
                Answer::Append(ticket.answer(self.or_refused(appended)))
            }
            Ask::Fetch { ticket, .. } => {
                let page = self.page();
                Answer::Fetch(ticket.answer(self.or_refused(page)))
            }
            Ask::Store { ticket, .. } => {
                let stored = Stored {
                    flags: self.flags(),
                    modified: self.uids(),
                    keywords: self.keywords(),
                    gone: self.below(4) == 0,
                };
                Answer::Store(ticket.answer(self.or_refused(stored)))
            }
            Ask::Copy { ticket, .. } => {
                let pairs = (0..self.below(4)).map(|_| (self.below(9), self.below(9))).collect();
                let lacks_keywords = self.below(4) == 0;
                Answer::Copy(ticket.answer(self.or_refused(Copied {
                    uid_validity: 1,
                    pairs,
                    lacks_keywords,
                })))
            }
            Ask::Sort { ticket, .. } => {
                let sorted = (0..self.below(4)).map(|_| self.below(12)).collect();
                Answer::Sort(ticket.answer(self.or_refused(sorted)))
            }
            Ask::Thread { ticket, .. } => {
                let threads = ["threads", "threads 1", "threads 1 3<1 5<1", "threads 1<8 3<8 5<3"];
                let threads = threads.into_iter().nth(self.below(4) as usize).unwrap();
                Answer::Thread(ticket.answer(self.or_refused(script::threads(threads))))
            }
            Ask::Vanished { ticket, .. } => {
                let gone = self.uids();
                Answer::Vanished(ticket.answer(gone))
            }
            Ask::ModSeq { ticket, .. } => Answer::ModSeq(ticket.answer(self.below(99).into())),
            Ask::SearchIn { ticket, .. } => {
                let found = FoundIn { uid_validity: 1, uids: self.uids(), modseqs: Vec::new() };
                Answer::SearchedIn(ticket.answer(self.or_refused(found)))
            }
            Ask::Search { ticket, .. } => {
                let found = self.uids();
                Answer::Search(ticket.answer(self.or_refused(found)))
            }
        })
    }
}

/// Plays a conversation in which the office and the world decide by lot. Notices and timeouts come only where the
/// octets said so far do not decide when: after all of them, with the question that is then open.
fn converse(octets: &[u8], seed: u64, mut pieces: impl FnMut() -> usize) -> Bench {
    let mut bench = Bench::new(setup());
    let mut draw = Draw(seed);
    bench.bytes(octets, &mut pieces);
    for _ in 0..200 {
        if bench.closed {
            break;
        }
        match (bench.asked.pop(), draw.below(12)) {
            (_, 0) => bench.notice(if draw.below(3) == 0 { Notice::News } else { Notice::Changed }),
            (None, 1) => bench.notice(Notice::Shutdown),
            (Some(_), 1) => bench.wait(600),
            (Some(ask), _) => {
                bench.asked.clear();
                if let Some(answer) = draw.answer(ask) {
                    bench.answer(answer);
                }
            }
            (None, 2) => bench.wait(60),
            (None, 3) => bench.eof(),
            (None, _) => {}
        }
    }
    bench.flush_body();
    bench
}

/// Lines that lead somewhere, and some that do not.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let commands: &[&[u8]] = &[
        b"a LOGIN you secret\r\n",
        b"a LOGIN {3+}\r\nyou {6}\r\nsecret\r\n",
        b"a AUTHENTICATE PLAIN\r\nAHlvdQBzZWNyZXQ=\r\n",
        b"b SELECT INBOX\r\n",
        b"b EXAMINE INBOX\r\n",
        b"c FETCH 1:* FLAGS\r\n",
        b"c UID FETCH 1:* BODY[]\r\n",
        b"c FETCH 2 BODY[]\r\n",
        b"d STORE 1:* +FLAGS (\\Seen x)\r\n",
        b"d UID STORE 1:9 FLAGS.SILENT ()\r\n",
        b"e SEARCH 1:* NOT UID 3\r\n",
        b"e UID SEARCH RETURN (SAVE PARTIAL -1:-2) NOT $\r\n",
        b"e SEARCH RETURN (UPDATE COUNT) UNSEEN UID 3:*\r\n",
        b"e2 UID SEARCH RETURN (UPDATE (UID)) ALL\r\n",
        b"e UIDBATCHES 500 1:9\r\n",
        b"e CANCELUPDATE \"e2\"\r\n",
        b"e SORT RETURN (MIN ALL COUNT) (REVERSE DATE) UTF-8 $\r\n",
        b"e UID THREAD REFERENCES UTF-8 ALL\r\n",
        b"e THREAD ORDEREDSUBJECT UTF-8 ALL\r\n",
        b"e UID FETCH $ FLAGS (PARTIAL 1:2)\r\n",
        b"e UID SEARCH RETURN (MIN MAX ALL COUNT) OR 1 SEEN\r\n",
        b"e ESEARCH IN (selected) RETURN (MIN SAVE) 1:*\r\n",
        b"e ESEARCH IN (personal subtree a) RETURN (MIN COUNT) SEEN\r\n",
        b"f APPEND INBOX {5+}\r\nHello\r\n",
        b"f APPEND INBOX (\\Seen) {5}\r\nHello\r\n",
        b"f APPEND INBOX {5+}\r\nHel\0o\r\n",
        b"g COPY 1:* Sent\r\n",
        b"g UID MOVE 1:9 Trash\r\n",
        b"h IDLE\r\nDONE\r\n",
        b"h IDLE\r\n",
        b"DONE\r\n",
        b"i NOOP\r\n",
        b"j CLOSE\r\n",
        b"j UNSELECT\r\n",
        b"j EXPUNGE\r\n",
        b"j UID EXPUNGE 1:5\r\n",
        b"k LIST \"\" *\r\n",
        b"k LIST (SUBSCRIBED RECURSIVEMATCH) \"\" % RETURN (STATUS (MESSAGES))\r\n",
        b"k LSUB \"\" %\r\n",
        b"l STATUS INBOX (MESSAGES SIZE)\r\n",
        b"m CREATE x\r\n",
        b"n NOTIFY SET STATUS (selected (MessageNew (FLAGS) MessageExpunge)) (personal (MailboxName))\r\n",
        b"n NOTIFY SET (selected-delayed (MessageNew MessageExpunge FlagChange))\r\n",
        b"n NOTIFY NONE\r\n",
        b"n LOGOUT\r\n",
        b"o {5+}\r\nabcde\r\n",
        b"\r\n",
    ];
    prop_oneof![
        12 => proptest::sample::select(commands.to_vec()).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => "[ -~]{0,30}\r\n".prop_map(String::into_bytes),
    ]
}

fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let opening = prop_oneof![
        4 => Just(b"a LOGIN you secret\r\nb SELECT INBOX\r\n".to_vec()),
        1 => Just(Vec::new()),
    ];
    (opening, proptest::collection::vec(line(), 0..12))
        .prop_map(|(opening, lines)| [opening, lines.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn pieces_change_nothing(octets in conversation(), seed in any::<u64>(), cut in 1usize..40) {
        let whole = converse(&octets, seed, || usize::MAX);
        let bytes = converse(&octets, seed, || 1);
        let pieces = converse(&octets, seed, || cut);
        prop_assert_eq!(&whole.log, &bytes.log);
        prop_assert_eq!(&whole.log, &pieces.log);
    }

    #[test]
    fn arbitrary_octets_end_in_peace(octets in proptest::collection::vec(any::<u8>(), 0..2000), seed in any::<u64>()) {
        let whole = converse(&octets, seed, || usize::MAX);
        let bytes = converse(&octets, seed, || 1);
        prop_assert_eq!(&whole.log, &bytes.log);
    }

    /// The client's side closed, the session closes as soon as nothing is asked any more.
    #[test]
    fn after_the_end_of_input_comes_the_end(octets in conversation(), seed in any::<u64>()) {
        let mut bench = Bench::new(setup());
        let mut draw = Draw(seed);
        bench.bytes(&octets, &mut || usize::MAX);
        bench.eof();
        for _ in 0..400 {
            let Some(ask) = bench.asked.pop() else { break };
            if let Some(answer) = draw.answer(ask) {
                bench.answer(answer);
            }
        }
        prop_assert!(bench.closed, "{:?}", bench.log);
        let closes = bench.log.iter().filter(|line| line.starts_with("X:")).count();
        prop_assert_eq!(closes, 1);
    }
}
