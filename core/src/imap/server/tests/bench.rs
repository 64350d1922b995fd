//! A session on the bench: octets in, a readable log out.
//!
//! Lines of the log: `S:` a line sent, `Q:` a question, `B:` octets of a message, `E:` an event, `K:` an ask is
//! cancelled, `TLS:` a handshake is to begin, `X:` closed and why.

use crate::auth::{Attempt, Proof};
use crate::event::Event;
use crate::imap::flag::{FlagList, FlagSet};
use crate::imap::metadata::Entry;
use crate::imap::notify::{Events, MailboxFilter};
use crate::imap::search::SearchKey;
use crate::imap::sequence::UidSet;
use crate::imap::server::{
    Answer, Ask, FolderChange, MessageHead, Notice, SearchQuery, Session, Setup, StoreAction,
};
use crate::imap::sort::SortCriterion;
use crate::limits::Limits;
use crate::machine::{Action, Input, Instant, Machine, Now, TlsInfo};
use crate::send_queue::{SendQueue, Transmit};
use crate::wire::deflate::{Deflater, Inflater};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

/// What every opened file holds.
pub(super) const FILE: &[u8] = b"Subject: a test\n\nHello\n";

pub(super) struct Bench {
    pub(super) session: Session,
    pub(super) tx: SendQueue,
    pub(super) log: Vec<String>,
    /// Questions with a ticket that are not answered.
    pub(super) asked: Vec<Ask>,
    pub(super) closed: bool,
    rx: Vec<u8>,
    now: Now,
    line: Vec<u8>,
    body: Vec<u8>,
    /// COMPRESS is on: what the client packs and unpacks with.
    packing: Option<(Deflater, Inflater)>,
}

pub(super) fn setup() -> Setup {
    Setup {
        hostname: "mail.example.org".into(),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        starttls: true,
        tls: Some(TlsInfo::default()),
        plaintext_login: false,
        scram: false,
        masks: Default::default(),
        limits: Limits::default(),
    }
}

impl Bench {
    pub(super) fn new(setup: Setup) -> Bench {
        let now = Now { instant: Instant::from_micros(1_000_000), ..Now::default() };
        let mut tx = SendQueue::new(setup.limits.tx_high_water_bytes);
        let session = Session::new(setup, now, &mut tx);
        let (log, asked, rx) = (Vec::new(), Vec::new(), Vec::new());
        let (line, body, packing) = (vec![], vec![], None);
        let mut bench = Bench { session, tx, log, asked, closed: false, rx, now, line, body, packing };
        bench.drain();
        bench
    }

    /// Octets from the client, in pieces of these lengths over and over.
    pub(super) fn bytes(&mut self, octets: &[u8], pieces: &mut impl FnMut() -> usize) {
        let mut packed = octets.to_vec();
        if let Some((deflater, _)) = &mut self.packing {
            packed.clear();
            deflater.feed(octets, &mut packed);
            deflater.flush(&mut packed);
        }
        let mut rest = &packed[..];
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(pieces().clamp(1, rest.len()));
            self.rx.extend_from_slice(piece);
            rest = tail;
            self.pump();
        }
    }

    pub(super) fn answer(&mut self, answer: Answer) {
        self.input(Input::Answer(answer));
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.input(Input::Notice(notice));
    }

    /// Octets as they are, though everything is packed.
    pub(super) fn raw(&mut self, octets: &[u8]) {
        self.rx.extend_from_slice(octets);
        self.pump();
    }

    pub(super) fn eof(&mut self) {
        self.input(Input::Eof);
    }

    pub(super) fn tls(&mut self) {
        self.input(Input::TlsStarted(TlsInfo::default()));
    }

    /// Lets time go by; a timer that runs out by then does.
    pub(super) fn wait(&mut self, seconds: u64) {
        self.now.instant = self.now.instant.plus(Duration::from_secs(seconds));
        if self.session.poll_timeout().is_some_and(|(at, _)| at <= self.now.instant) {
            self.input(Input::Timeout);
        }
    }

    fn input(&mut self, input: Input<'static, Answer, Notice>) {
        let step = self.session.handle_input(self.now, input, &mut self.tx);
        self.drain();
        if let Some(action) = step.and_then(|step| step.action) {
            self.note(action);
        }
        self.pump();
    }

    pub(super) fn pump(&mut self) {
        let mut idle_steps = 0;
        let mut rx = core::mem::take(&mut self.rx);
        while let Some(step) = self.session.handle_input(self.now, Input::Bytes(&rx), &mut self.tx) {
            idle_steps = if step.consumed == 0 && step.action.is_none() { idle_steps + 1 } else { 0 };
            assert!(idle_steps < 100, "the session goes round in circles");
            self.drain();
            if let Some(action) = step.action {
                self.note(action);
            }
            rx.drain(..step.consumed);
        }
        self.rx = rx;
        self.drain();
        assert!(self.rx.len() <= self.session.setup.limits.rx_bytes_max || !self.asked.is_empty());
    }

    /// Sends what waits.
    fn drain(&mut self) {
        loop {
            match self.tx.poll_transmit() {
                None => break,
                Some(Transmit::Bytes(bytes)) => {
                    match &mut self.packing {
                        None => self.line.extend_from_slice(bytes),
                        Some((_, inflater)) => {
                            let unpacked = inflater.feed(bytes, &mut self.line, usize::MAX);
                            assert_eq!(unpacked, Ok(bytes.len()));
                        }
                    }
                    if self.packing.is_none() && self.line.ends_with(b"DEFLATE active\r\n") {
                        self.packing = Some(Default::default());
                    }
                    let count = bytes.len();
                    self.tx.handle_sent(count);
                }
                Some(Transmit::Read { offset, len, .. }) => {
                    let start = usize::try_from(offset).unwrap().min(FILE.len());
                    let end = FILE.len().min(start + len);
                    self.tx.handle_read(&FILE[start..end]);
                }
            }
        }
        while let Some(end) = self.line.iter().position(|octet| *octet == b'\n') {
            self.flush_body();
            let line: Vec<u8> = self.line.drain(..=end).collect();
            let line = line.strip_suffix(b"\r\n").expect("every line that is sent ends with CRLF");
            self.log.push(format!("S: {}", String::from_utf8_lossy(line)));
        }
    }

    /// Shows the octets of a message: adjacent slices are one, until something else comes.
    pub(super) fn flush_body(&mut self) {
        if !self.body.is_empty() {
            let body = core::mem::take(&mut self.body);
            self.log.push(format!("B: {}", body.escape_ascii()));
        }
    }

    fn note(&mut self, action: Action<'_, Ask, Event>) {
        if let Action::Body(octets) = action {
            self.body.extend_from_slice(&octets);
            return;
        }
        self.flush_body();
        match action {
            Action::Ask(ask) => {
                self.log.push(format!("Q: {}", show(&ask)).trim_end().to_string());
                if !matches!(ask, Ask::Unselect { .. } | Ask::Unfollow | Ask::Unauthenticate) {
                    self.asked.push(ask);
                }
            }
            Action::Cancel(_) => self.log.push("K:".into()),
            Action::Event(event) => self.log.push(format!("E: {event:?}")),
            Action::StartTls => self.log.push("TLS:".into()),
            Action::Close(reason) => {
                self.closed = true;
                self.log.push(format!("X: {reason:?}"));
            }
            Action::Body(_) => unreachable!("taken above"),
        }
    }
}

fn show(ask: &Ask) -> String {
    let text = |octets: &[u8]| octets.escape_ascii().to_string();
    match ask {
        Ask::Verifier { login, .. } => format!("verifier {}", text(login)),
        Ask::Authenticate { attempt: Attempt { login, proof, .. }, .. } => match proof {
            Proof::Password(password) => format!("authenticate {} {}", text(login), text(&password.0)),
            Proof::Scram(_) => format!("authenticate {} {proof:?}", text(login)),
        },
        Ask::Select { mailbox, read_only, .. } => {
            format!("{} {}", if *read_only { "examine" } else { "select" }, text(mailbox))
        }
        Ask::Unauthenticate => "unauthenticate".into(),
        Ask::Unselect { selection } => format!("unselect {}", selection.0),
        Ask::Changes { selection, rescan, .. } => {
            format!("changes {}{}", selection.0, if *rescan { " rescan" } else { "" })
        }
        Ask::List { .. } => "list".into(),
        Ask::Status { mailbox, size, .. } => {
            format!("status {}{}", text(mailbox), if *size { " size" } else { "" })
        }
        Ask::Quota { .. } => "quota".into(),
        Ask::Create { mailbox, special_use, .. } => {
            let special_use = special_use.map(|special_use| format!(" {}", special_use.attribute()));
            format!("create {}{}", text(mailbox), special_use.unwrap_or_default())
        }
        Ask::Metadata { mailbox, .. } => {
            format!("metadata {}", mailbox.as_deref().map_or("of the server".into(), text))
        }
        Ask::SetMetadata { mailbox, changes, .. } => {
            let change = |(entry, value): &(Entry, Option<Vec<u8>>)| {
                format!(" {}={}", text(entry.as_bytes()), value.as_deref().map_or("gone".into(), text))
            };
            let changes: String = changes.iter().map(change).collect();
            format!("annotate {}{changes}", mailbox.as_deref().map_or("the server".into(), text))
        }
        Ask::Follow { groups, .. } => {
            let group = |(filter, events): &(MailboxFilter<Vec<u8>>, Events)| {
                let names =
                    |names: &Vec<Vec<u8>>| names.iter().map(|name| format!(" {}", text(name))).collect();
                let (kind, names): (_, String) = match filter {
                    MailboxFilter::Inboxes => ("inboxes", String::new()),
                    MailboxFilter::Personal => ("personal", String::new()),
                    MailboxFilter::Subscribed => ("subscribed", String::new()),
                    MailboxFilter::Subtree(tops) => ("subtree", names(tops)),
                    MailboxFilter::SubtreeOne(tops) => ("subtree-one", names(tops)),
                    MailboxFilter::Mailboxes(all) => ("mailboxes", names(all)),
                };
                let told = [
                    (events.messages, " messages"),
                    (events.flags, " flags"),
                    (events.names, " names"),
                    (events.subscriptions, " subscriptions"),
                    (events.metadata, " metadata"),
                    (events.server_metadata, " server"),
                ];
                let told: String = told.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
                format!(" ({kind}{names}:{told})")
            };
            format!("follow{}", groups.iter().map(group).collect::<String>())
        }
        Ask::Unfollow => "unfollow".into(),
        Ask::News { .. } => "news".into(),
        Ask::Folder { change, .. } => match change {
            FolderChange::Delete { mailbox } => format!("delete {}", text(mailbox)),
            FolderChange::Rename { mailbox, to } => format!("rename {} {}", text(mailbox), text(to)),
            FolderChange::Subscribe { mailbox, subscribe: true } => format!("subscribe {}", text(mailbox)),
            FolderChange::Subscribe { mailbox, subscribe: false } => format!("unsubscribe {}", text(mailbox)),
        },
        Ask::Append { mailbox, head, .. } => format!("append {} {}", text(mailbox), show_head(head)),
        Ask::AppendNext { head, .. } => format!("append next {}", show_head(head)),
        Ask::AppendUrl { mailbox, url, place, .. } => {
            let mut section = Vec::new();
            url.section.write(&mut section);
            let validity =
                url.uid_validity.map(|validity| format!(" validity={validity}")).unwrap_or_default();
            let range = url.range.map(|range| format!(" {}.{:?}", range.offset, range.length));
            let range = range.unwrap_or_default();
            format!("url {place} {} uid={}{validity} [{}]{range}", text(mailbox), url.uid, text(&section))
        }
        Ask::Remove { selection, uids, .. } => format!("remove {} {uids}", selection.0),
        Ask::AppendCommit { .. } => "commit".into(),
        Ask::Fetch { selection, uids, request, .. } => {
            let mut items = Vec::new();
            for item in &request.items {
                items.extend_from_slice(if items.is_empty() { b"" } else { b" " });
                item.write_name(&mut items);
            }
            let seen = if request.set_seen { " seen" } else { "" };
            let since = request.changed_since.map(|modseq| format!(" since={modseq}")).unwrap_or_default();
            format!("fetch {} {uids} ({}) recent={}{seen}{since}", selection.0, text(&items), request.recent)
        }
        Ask::Store { selection, uids, unchanged_since, action, flags, .. } => {
            let sign = match action {
                StoreAction::Replace => "",
                StoreAction::Add => "+",
                StoreAction::Remove => "-",
            };
            let since = unchanged_since.map(|modseq| format!(" unless since={modseq}")).unwrap_or_default();
            format!("store {} {uids} {sign}{}{since}", selection.0, show_flags(flags))
        }
        Ask::Copy { selection, uids, mailbox, remove, .. } => {
            format!("{} {} {uids} {}", if *remove { "move" } else { "copy" }, selection.0, text(mailbox))
        }
        Ask::Expunge { selection, uids, .. } => match uids {
            Some(uids) => format!("expunge {} only {uids}", selection.0),
            None => format!("expunge {}", selection.0),
        },
        Ask::Search { selection, within, query, .. } => {
            format!("search {} {}", selection.0, show_query(query, within))
        }
        Ask::SearchIn { mailbox, query, modseqs, .. } => {
            let modseqs = if *modseqs { " modseqs" } else { "" };
            format!("search in {} {}{modseqs}", text(mailbox), show_key(&query.key))
        }
        Ask::Vanished { selection, since, uids, .. } => {
            format!("vanished {} {uids} since={since}", selection.0)
        }
        Ask::ModSeq { selection, uids, .. } => format!("modseq {} {uids}", selection.0),
        Ask::Sort { selection, within, query, criteria, .. } => {
            let sign = |criterion: &SortCriterion| if criterion.reverse { "-" } else { "" };
            let criteria = criteria.iter().map(|c| format!("{}{}", sign(c), c.key.name()));
            let criteria = criteria.collect::<Vec<_>>().join(",");
            format!("sort {} by {criteria} {}", selection.0, show_query(query, within))
        }
        Ask::Thread { selection, within, query, algorithm, .. } => {
            format!("thread {} {} {}", selection.0, algorithm.name(), show_query(query, within))
        }
    }
}

fn show_query(query: &SearchQuery, within: &UidSet) -> String {
    let saved = if query.saved.is_empty() { String::new() } else { format!(" saved={}", query.saved) };
    format!("{} within={within} recent={}{saved}", show_key(&query.key), query.recent)
}

fn show_head(head: &MessageHead) -> String {
    let date = head.date.map(|date| format!(" date={date}")).unwrap_or_default();
    let size = head.size.map(|size| format!(" size={size}")).unwrap_or_default();
    let binary = if head.binary { " binary" } else { "" };
    let replaces = head.replaces.map(|(_, uid)| format!(" replaces={uid}")).unwrap_or_default();
    format!("{}{date}{size}{binary}{replaces}", show_flags(&head.flags))
}

fn show_flags(flags: &FlagList<'_>) -> String {
    let names: Vec<String> = flags.iter().map(|flag| flag.name().to_string()).collect();
    format!("({})", names.join(" "))
}

fn show_key(key: &SearchKey) -> String {
    match key {
        SearchKey::Uid(set) => format!("Uid({set})"),
        SearchKey::And(keys) => keys.iter().map(show_key).collect::<Vec<_>>().join("&"),
        SearchKey::Or(keys) => format!("({}|{})", show_key(&keys.0), show_key(&keys.1)),
        SearchKey::Not(key) => format!("!{}", show_key(key)),
        other => format!("{other:?}"),
    }
}

/// `\Seen/\Flagged/0`: system flags by name, keywords by index.
pub(super) fn flags_of(text: &str) -> FlagSet {
    let mut flags = FlagSet::EMPTY;
    for word in text.split('/').filter(|word| !word.is_empty()) {
        flags = match crate::imap::flag::SystemFlag::from_name(word.as_bytes()) {
            Some(flag) => flags.with(flag),
            None => flags.with_keyword(word.parse().expect("a keyword's index")),
        };
    }
    flags
}
