//! Transcripts: text files that anybody who knows IMAP can read.
//!
//! `C:` a line from the client (CRLF is added), `C+` octets with escapes, `A:` the answer to the last question,
//! `N:` a notice, `W:` seconds go by, `TLS>` the handshake is done, `EOF>` the client closes its side,
//! `RAW>` octets that are not packed though they should be, or those behind it as they are. Everything
//! else is what the session must do then, as [`bench`](super::bench) writes it. `#` begins a comment.
//! `CAPABILITY {logged in}`, `{with TLS}`, `{without TLS}` and `{on loopback}` stand for what is offered then. The first
//! lines may set things up: `setup: plain` and `setup: loopback` (no TLS, and a login without it), `setup: scram` and `setup: scram bound` (SCRAM is offered; all have the password and the server's nonce of RFC 7677 §3), `setup: whole`
//! (not cut into pieces), `setup: three errors` (are too many), `setup: three contexts` (are the most), `setup: short commands` (64 octets at most), `setup: masks` (something is hidden from iPhone Mail, and ESORT from all), `setup: logged in`, `setup: selected 4 with …` (the answer to SELECT).

use super::bench::{Bench, flags_of, setup};
use crate::auth::AuthVerdict;
use crate::auth::sasl::Offered;
use crate::auth::scram::tests::pencil;
use crate::imap::metadata::Entry;
use crate::imap::sequence::{SequenceSet, UidSet};
use crate::imap::server::capability::{self, Moment};
use crate::imap::server::{
    Answer, Appended, Ask, Changes, Copied, FetchPage, FetchRow, Folder, FolderNews, FoundIn, Mask,
    MessageFlags, News, Notice, Refusal, Selected, SelectionId, Status, Stored,
};
use crate::imap::thread::{Algorithm, ThreadMessage, Threader, Threads};
use crate::machine::TlsInfo;
use crate::maildir::folder::SpecialUse;
use crate::send_queue::FileRange;
use crate::site::{Account, Quota, Secret, Usage};
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Plays a transcript; what the client says is cut as `pieces` says.
pub(super) fn play(name: &str, script: &str, mut pieces: impl FnMut() -> usize) {
    let mut options = setup();
    for line in script.lines().filter_map(|line| line.strip_prefix("setup: ")) {
        match line {
            "plain" => options.tls = None,
            "loopback" => (options.tls, options.plaintext_login) = (None, true),
            "whole" | "logged in" => {}
            "short commands" => options.limits.imap_command_bytes_max = 64,
            "masks" => {
                let mask = |client: Option<&str>, names: &[&str]| Mask {
                    client: client.map(Into::into),
                    capabilities: names.iter().map(|name| (*name).into()).collect(),
                };
                let phone = mask(Some("iPhone Mail"), &["IMAP4rev2", "SORT", "IDLE"]);
                options.masks = [phone, mask(None, &["esort"])].into();
            }
            "scram" => options.scram = true,
            "scram bound" => {
                options.scram = true;
                options.tls = Some(TlsInfo { exporter: Some([5; 32]), ..TlsInfo::default() });
            }
            "three contexts" => options.limits.imap_contexts_max = 3,
            "few ranges" => options.limits.imap_context_ranges_max = 2,
            "three errors" => options.limits.errors_max = 3,
            other => assert!(other.starts_with("selected "), "{name}: setup {other}"),
        }
    }
    let whole = script.contains("setup: whole");
    let mut bench = Bench::new(options);
    prepare(&mut bench, script);
    let mut said = Vec::new();
    let mut expected: Vec<String> = Vec::new();
    let lines = script.lines().filter(|line| !line.is_empty() && !line.starts_with(['#']));
    for line in lines.filter(|line| !line.starts_with("setup: ")).chain(["END>"]) {
        let client = line.strip_prefix("C: ").map(|text| [text.as_bytes(), b"\r\n"].concat());
        let client = client.or_else(|| line.strip_prefix("C+ ").map(unescape));
        let steers =
            ["A: ", "N: ", "W: ", "TLS>", "EOF>", "RAW>", "END>"].iter().any(|key| line.starts_with(key));
        if (client.is_some() && !expected.is_empty()) || steers {
            if !said.is_empty() {
                let said: Vec<u8> = core::mem::take(&mut said);
                bench.bytes(&said, &mut || if whole { usize::MAX } else { pieces() });
            }
            bench.flush_body();
            assert_eq!(bench.log, expected, "{name}: before {line}");
            bench.log.clear();
            expected.clear();
        }
        match client {
            Some(octets) => said.extend_from_slice(&octets),
            None if steers => steer(&mut bench, line),
            None => expected.push(with_capabilities(line)),
        }
    }
}

/// What `setup: logged in` and `setup: selected` stand for; nothing of it is in the log.
fn prepare(bench: &mut Bench, script: &str) {
    let selected = script.lines().find_map(|line| line.strip_prefix("setup: selected 4 with "));
    if selected.is_none() && !script.contains("setup: logged in") {
        return;
    }
    bench.bytes(b"a LOGIN you secret\r\n", &mut || usize::MAX);
    steer(bench, "A: granted");
    if let Some(answer) = selected {
        bench.bytes(b"b SELECT INBOX\r\n", &mut || usize::MAX);
        steer(bench, &alloc::format!("A: selection=4 validity=7 next=10 {answer}"));
    }
    bench.log.clear();
}

fn steer(bench: &mut Bench, line: &str) {
    let (key, text) = line.split_once(['>', ' ']).unwrap();
    match key {
        "A:" => {
            let ask = bench.asked.pop().expect("a question to answer");
            bench.answer(answer(ask, text));
        }
        "N:" if text == "changed" => bench.notice(Notice::Changed),
        "N:" if text == "news" => bench.notice(Notice::News),
        "N:" if text == "account gone" => bench.notice(Notice::AccountGone),
        "N:" => bench.notice(Notice::Shutdown),
        "W:" => bench.wait(text.parse().unwrap()),
        "TLS" => bench.tls(),
        "EOF" => bench.eof(),
        "RAW" if text.is_empty() => bench.raw(&[0xff; 20]),
        "RAW" => bench.raw(&unescape(text.trim_start())),
        _ => {}
    }
}

/// A line with the capabilities of a moment written out, for which a transcript has `{logged in}` and its like: which
/// they are is tested beside their table.
fn with_capabilities(line: &str) -> String {
    let Some((before, rest)) = line.split_once("CAPABILITY {") else { return line.to_string() };
    let (moment, after) = rest.split_once('}').unwrap();
    let (logged_in, starttls, login) = match moment {
        "without TLS" => (false, true, false),
        "on loopback" => (false, true, true),
        "with TLS" | "with TLS, SCRAM" | "with TLS, SCRAM bound" => (false, false, true),
        "logged in" | "logged in, hidden" => (true, false, true),
        other => panic!("{other}"),
    };
    let offered =
        Offered { login, scram: moment.contains("SCRAM"), binding: moment.ends_with("SCRAM bound") };
    let hidden: &[&str] =
        if moment.ends_with("hidden") { &["IMAP4rev2", "SORT", "IDLE", "ESORT"] } else { &[] };
    let now = Moment { logged_in, starttls, offered, append_limit: 36_700_160 };
    let list = capability::list(now, |name| hidden.contains(&name));
    alloc::format!("{before}CAPABILITY {list}{after}")
}

fn unescape(text: &str) -> Vec<u8> {
    let text = text.replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0");
    let mut pieces = text.split("\\x");
    let mut octets = pieces.next().unwrap().as_bytes().to_vec();
    for piece in pieces {
        let (octet, rest) = piece.split_at(2);
        octets.push(u8::from_str_radix(octet, 16).unwrap());
        octets.extend_from_slice(rest.as_bytes());
    }
    octets
}

/// `key=value` words.
struct Words<'t>(BTreeMap<&'t str, &'t str>);

impl<'t> Words<'t> {
    fn of(text: &'t str) -> Self {
        Words(text.split_whitespace().map(|word| word.split_once('=').unwrap_or((word, ""))).collect())
    }

    fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn number(&self, key: &str) -> u32 {
        self.0.get(key).map_or(0, |text| text.parse().unwrap())
    }

    fn uids(&self, key: &str) -> UidSet {
        let text = self.0.get(key).filter(|text| !text.is_empty());
        text.map_or(UidSet::new(), |text| SequenceSet::parse(text.as_bytes()).unwrap().resolve(u32::MAX))
    }

    fn list(&self, key: &str) -> Arc<Vec<String>> {
        let text = self.0.get(key).filter(|text| !text.is_empty());
        Arc::new(text.map_or(Vec::new(), |text| text.split(',').map(ToString::to_string).collect()))
    }

    /// `flags=5:\Seen/0;6:@40`: with a mod-sequence or without.
    fn flags(&self) -> Vec<MessageFlags> {
        let text = self.0.get("flags").copied().unwrap_or_default();
        let pairs = text.split(';').filter_map(|pair| pair.split_once(':'));
        let parse = |(uid, flags): (&str, &str)| {
            let (flags, modseq) = flags.split_once('@').unwrap_or((flags, "0"));
            let (uid, modseq) = (uid.parse().unwrap(), modseq.parse().unwrap());
            MessageFlags { uid, flags: flags_of(flags), modseq }
        };
        pairs.map(parse).collect()
    }

    /// `modseq=none`, or a number: 40 if it is not said.
    fn modseq(&self) -> Option<u64> {
        match self.0.get("modseq").copied() {
            Some("none") => None,
            Some(text) => Some(text.parse().unwrap()),
            None => Some(40),
        }
    }
}

pub(super) fn refusal(text: &str) -> Option<Refusal> {
    Some(match text.strip_prefix("no ")? {
        "nonexistent" => Refusal::NonExistent,
        "trycreate" => Refusal::TryCreate,
        "alreadyexists" => Refusal::AlreadyExists,
        "readonly" => Refusal::ReadOnly,
        "inuse" => Refusal::InUse,
        "nospace" => Refusal::NoSpace,
        "toobig" => Refusal::TooBig,
        "nopermission" => Refusal::NoPermission,
        "unavailable" => Refusal::Unavailable,
        "keywords full" => Refusal::KeywordsFull,
        "too many entries" => Refusal::TooManyEntries,
        "too many mailboxes" => Refusal::TooManyFollowed,
        "use" => Refusal::SpecialUse,
        "badcharset" => Refusal::BadCharset,
        "badurl 1" => Refusal::BadUrl(1),
        _ => Refusal::Cannot("It cannot be done"),
    })
}

fn or_refused<V>(text: &str, value: impl FnOnce() -> V) -> Result<V, Refusal> {
    refusal(text).map_or_else(|| Ok(value()), Err)
}

fn answer(ask: Ask, text: &str) -> Answer {
    let words = Words::of(text);
    match ask {
        Ask::Verifier { ticket, .. } => Answer::Verifier(ticket.answer(pencil())),
        Ask::Authenticate { ticket, .. } => Answer::Authenticate(ticket.answer(match text {
            "denied" => AuthVerdict::Denied,
            "temporary" => AuthVerdict::Temporary,
            _ => AuthVerdict::Granted(account()),
        })),
        Ask::Select { ticket, .. } => Answer::Select(ticket.answer(or_refused(text, || selected(&words)))),
        Ask::Changes { ticket, .. } => Answer::Changes(ticket.answer(changes(&words))),
        Ask::List { ticket } => {
            let folders = || text.split_whitespace().skip(1).map(folder).collect();
            Answer::List(ticket.answer(or_refused(text, folders)))
        }
        Ask::Status { ticket, .. } => Answer::Status(ticket.answer(or_refused(text, || status(&words)))),
        Ask::Quota { ticket } => Answer::Quota(ticket.answer(or_refused(text, || quota(&words)))),
        Ask::Create { ticket, .. } => Answer::Created(ticket.answer(or_refused(text, || [0x12; 16]))),
        Ask::Metadata { ticket, .. } => {
            Answer::Metadata(ticket.answer(or_refused(text, || annotations(text))))
        }
        Ask::Follow { ticket, .. } => {
            let names = || text.split_whitespace().skip(1).map(|name| name.as_bytes().to_vec()).collect();
            Answer::Followed(ticket.answer(or_refused(text, names)))
        }
        Ask::News { ticket } => Answer::News(ticket.answer(news(text))),
        Ask::SetMetadata { ticket, .. }
        | Ask::Folder { ticket, .. }
        | Ask::Append { ticket, .. }
        | Ask::AppendNext { ticket, .. }
        | Ask::AppendUrl { ticket, .. }
        | Ask::Remove { ticket, .. }
        | Ask::Expunge { ticket, .. } => Answer::Done(ticket.answer(or_refused(text, || ()))),
        Ask::AppendCommit { ticket } => {
            let uid_validity = words.number("validity");
            let (uids, lacks_keywords) = (words.uids("uid"), words.has("lacking"));
            let done = || Appended { uid_validity, uids, lacks_keywords };
            Answer::Append(ticket.answer(or_refused(text, done)))
        }
        Ask::Fetch { ticket, .. } => Answer::Fetch(ticket.answer(or_refused(text, || page(text)))),
        Ask::Store { ticket, .. } => {
            let keywords = words.list("keywords");
            let modified = words.uids("modified");
            let stored = || Stored { flags: words.flags(), modified, keywords, gone: words.has("gone") };
            Answer::Store(ticket.answer(or_refused(text, stored)))
        }
        Ask::Copy { ticket, .. } => {
            let pairs = words.0.get("pairs").copied().unwrap_or_default();
            let pairs = pairs.split(',').filter_map(|pair| pair.split_once(':'));
            let pairs = pairs.map(|(from, to)| (from.parse().unwrap(), to.parse().unwrap())).collect();
            let (uid_validity, lacks_keywords) = (words.number("validity"), words.has("lacking"));
            let copied = || Copied { uid_validity, pairs, lacks_keywords };
            Answer::Copy(ticket.answer(or_refused(text, copied)))
        }
        Ask::Search { ticket, .. } => Answer::Search(ticket.answer(or_refused(text, || words.uids("uids")))),
        Ask::SearchIn { ticket, .. } => {
            let (uid_validity, uids) = (words.number("validity"), words.uids("uids"));
            // Each UID's mod-sequence is ten times as much.
            let modseqs = uids.iter().map(|uid| (uid, u64::from(uid) * 10)).collect();
            Answer::SearchedIn(ticket.answer(or_refused(text, || FoundIn { uid_validity, uids, modseqs })))
        }
        Ask::Vanished { ticket, .. } => Answer::Vanished(ticket.answer(words.uids("uids"))),
        Ask::ModSeq { ticket, .. } => Answer::ModSeq(ticket.answer(words.modseq().unwrap())),
        Ask::Sort { ticket, .. } => {
            let list = || words.0.get("list").into_iter().flat_map(|list| list.split(','));
            let sorted = || list().map(|uid| uid.parse().unwrap()).collect();
            Answer::Sort(ticket.answer(or_refused(text, sorted)))
        }
        Ask::Thread { ticket, .. } => Answer::Thread(ticket.answer(or_refused(text, || threads(text)))),
        Ask::Unauthenticate | Ask::Unfollow | Ask::Unselect { .. } => panic!("it has no answer"),
    }
}

pub(super) fn account() -> Arc<Account> {
    let secret = Secret::new("{PLAIN}secret");
    Arc::new(Account::new(b"you", b"example.test", b"/mail/you".to_vec(), secret).unwrap())
}

/// `threads 1 2<1 5`: 2 is below 1.
pub(super) fn threads(text: &str) -> Threads {
    let mut threader = Threader::new(Algorithm::References);
    for word in text.split_whitespace().skip(1) {
        let (uid, parent) = word.split_once('<').unwrap_or((word, ""));
        let id = |uid: &str| alloc::format!("{uid}@x").into_bytes();
        threader.push(ThreadMessage {
            uid: uid.parse().unwrap(),
            id: Some(id(uid)),
            references: if parent.is_empty() { Vec::new() } else { Vec::from([id(parent)]) },
            ..ThreadMessage::default()
        });
    }
    threader.finish()
}

fn selected(words: &Words<'_>) -> Selected {
    Selected {
        selection: SelectionId(words.number("selection").max(1).into()),
        uid_validity: words.number("validity"),
        uid_next: words.number("next"),
        modseq: words.modseq(),
        guid: words.has("guid").then_some([0xab; 16]),
        view: words.uids("uids").iter().collect(),
        recent: words.uids("recent"),
        first_unseen: words.has("unseen").then(|| words.number("unseen")),
        keywords: words.list("keywords"),
        read_only: words.has("read-only"),
    }
}

fn changes(words: &Words<'_>) -> Changes {
    Changes {
        expunged: words.uids("expunged"),
        appended: words.uids("appended").iter().collect(),
        recent: words.uids("recent"),
        flags: words.flags(),
        modseq: words.modseq(),
        keywords: words.has("keywords").then(|| words.list("keywords")),
        reset: words.has("reset"),
    }
}

/// `entries | /private/comment some text | /shared/x \0`
fn annotations(text: &str) -> Vec<(Entry, Vec<u8>)> {
    let parts = text.split(" | ").skip(1).map(|part| part.split_once(' ').unwrap());
    parts.map(|(name, value)| (Entry::new(name.as_bytes()).unwrap(), unescape(value))).collect()
}

/// `news | folder New:subscribed Old | annotated Boat /private/a | annotated "" /shared/x | status Boat messages=3 | overflow`
fn news(text: &str) -> News {
    let mut news = News::default();
    for part in text.split(" | ").skip(1) {
        let (kind, rest) = part.split_once(' ').unwrap_or((part, ""));
        let mut words = rest.split(' ');
        let name = words.next().unwrap();
        match kind {
            "folder" => {
                let old_name = words.next().map(|old| old.as_bytes().to_vec());
                news.folders.push(FolderNews { folder: folder(name), old_name });
            }
            "annotated" => {
                let name = (name != "\"\"").then(|| name.as_bytes().to_vec());
                let entries = words.map(|entry| Entry::new(entry.as_bytes()).unwrap()).collect();
                news.annotations.push((name, entries));
            }
            "status" => news.statuses.push((name.as_bytes().to_vec(), status(&Words::of(rest)))),
            other => news.overflow = other == "overflow",
        }
    }
    news
}

/// `Name:subscribed,sent,absent`
fn folder(text: &str) -> Folder {
    let (name, words) = text.split_once(':').unwrap_or((text, ""));
    let has = |word: &str| words.split(',').any(|other| other == word);
    Folder {
        name: name.as_bytes().to_vec(),
        non_existent: has("absent"),
        subscribed: has("subscribed"),
        special_use: SpecialUse::ALL.into_iter().find(|special| has(&special.name().to_lowercase())),
    }
}

/// `quota bytes=1500/4096 messages=2/10`: what there is, and the limit; `quota` alone: there is none.
fn quota(words: &Words<'_>) -> Option<(Quota, Usage)> {
    let pair = |key| -> Option<(u64, u64)> {
        let (used, most) = words.0.get(key)?.split_once('/')?;
        Some((used.parse().unwrap(), most.parse().unwrap()))
    };
    let (bytes, messages) = (pair("bytes"), pair("messages"));
    let limits = Quota { bytes: bytes.map(|(_, most)| most), messages: messages.map(|(_, most)| most) };
    let used = |pair: Option<(u64, u64)>| pair.map_or(0, |(used, _)| used);
    limits.is_limited().then(|| (limits, Usage { bytes: used(bytes), messages: used(messages) }))
}

fn status(words: &Words<'_>) -> Status {
    Status {
        messages: words.number("messages"),
        recent: words.number("recent"),
        uid_next: words.number("next"),
        uid_validity: words.number("validity"),
        unseen: words.number("unseen"),
        deleted: words.number("deleted"),
        size: words.has("size").then(|| words.number("size").into()),
        deleted_size: words.has("deleted-size").then(|| words.number("deleted-size").into()),
        modseq: words.modseq(),
        guid: words.has("guid").then_some([0xab; 16]),
    }
}

/// `page | 1 FLAGS () | 3 BODY[] {5}\r\n@5@ | next=5 | gone`: `@n@` is n octets of a file.
fn page(text: &str) -> FetchPage {
    let mut page = FetchPage::default();
    for part in text.split(" | ").skip(1) {
        if let Some(next) = part.strip_prefix("next=") {
            page.next = Some(next.parse().unwrap());
        } else if let Some(uids) = part.strip_prefix("unreadable ") {
            page.unreadable = uids.split(',').map(|uid| uid.parse::<u32>().unwrap()).collect();
        } else if part == "unknown encoding" {
            page.unknown_encoding = true;
        } else if part == "gone" {
            page.gone = true;
        } else {
            let (uid, row) = part.split_once(' ').unwrap();
            for (index, piece) in row.split('@').enumerate() {
                if index % 2 == 0 {
                    page.bytes.extend_from_slice(&unescape(piece));
                } else {
                    let file = crate::disk::Handle(1);
                    let range = FileRange::text(file, 0, 0, piece.parse().unwrap());
                    page.files.push((page.bytes.len(), range));
                }
            }
            page.rows.push(FetchRow { uid: uid.parse().unwrap(), end: page.bytes.len() });
        }
    }
    page
}
