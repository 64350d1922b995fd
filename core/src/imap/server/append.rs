//! APPEND (RFC 9051 §6.3.12) with MULTIAPPEND (RFC 3502), CATENATE (RFC 4469) and UIDPLUS (RFC 4315), and REPLACE
//! (RFC 8508).
//!
//! The scanner stops at each literal. What was announced up to there are pieces, done one after the other:
//! [`Ask::Append`] and [`Ask::AppendNext`] begin a message and are answered before the client is let go on; octets go
//! out as [`Action::Body`], never gathered here; [`Ask::AppendUrl`] puts octets of another message in; at the end of
//! the command [`Ask::AppendCommit`] makes all messages visible, or none. A literal that is refused while the client
//! sends it is swallowed by the scanner, with the rest of its command.

use super::reply::{of_refusal, warn_of_lacking_keywords};
use super::session::{Session, State, Then};
use super::{Appended, Ask, Refusal, SelectionId};
use crate::imap::command::{self, AppendPiece, LiteralHead, parse_append_rest};
use crate::imap::flag::FlagList;
use crate::imap::response::{Code, Status, write_continuation, write_untagged};
use crate::imap::scanner::Scan;
use crate::imap::sequence::UidSet;
use crate::imap::url::{self, MessageUrl, URL_BYTES_MAX};
use crate::machine::{Action, Step, StepOf};
use crate::send_queue::SendQueue;
use crate::ticket::TicketId;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use memchr::memchr;

const NUL: &str = "A message with a NUL octet cannot be taken";

/// An APPEND or REPLACE on its way.
#[derive(Debug, Default)]
pub(super) struct Appending {
    mailbox: Vec<u8>,
    /// The UID of the message that REPLACE takes away.
    replaces: Option<u32>,
    /// What is still to be done of the lines that have come.
    pieces: VecDeque<AppendPiece<'static>>,
    /// The number of its [`Ask::Append`], to cancel it by, once the mailbox has taken the first message.
    pub(super) id: Option<TicketId>,
    messages: usize,
    /// Octets of this message so far.
    octets: u64,
    /// This message is put together.
    joined: bool,
    /// All URLs so far.
    urls: Vec<Vec<u8>>,
}

/// A literal that is coming.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) appending: Box<Appending>,
    /// Octets still to come.
    left: u64,
    /// NUL is allowed: literal8.
    binary: bool,
    /// The literal is a URL; its octets so far.
    url: Option<Vec<u8>>,
}

/// Why an APPEND ends before its end.
struct Refused {
    status: Status,
    code: Option<Code<'static>>,
    text: Cow<'static, str>,
}

impl Refused {
    fn bad(text: impl Into<Cow<'static, str>>) -> Self {
        Refused { status: Status::Bad, code: None, text: text.into() }
    }

    fn no(code: Code<'static>, text: &'static str) -> Self {
        Refused { status: Status::No, code: Some(code), text: text.into() }
    }

    /// RFC 9051 §6.3.12: a mailbox that does not exist is one the client may create.
    fn of(refusal: &Refusal) -> Self {
        let trycreate = if *refusal == Refusal::NonExistent { &Refusal::TryCreate } else { refusal };
        let (code, text) = of_refusal(trycreate);
        Refused::no(code, text)
    }
}

impl Session {
    pub(super) fn start_append(&mut self, append: command::Append<'_>, tx: &mut SendQueue) {
        let command::Append { mailbox, replaces, pieces } = append;
        let pieces: VecDeque<_> = pieces.into_iter().map(AppendPiece::into_owned).collect();
        let mut appending = Box::new(Appending { pieces, ..Appending::default() });
        let Some(name) = self.checked_name(&mailbox, tx) else { return self.skip_rest(&appending) };
        appending.mailbox = name;
        if let Some(command::Replaced { uid, set }) = replaces {
            let Some(uids) = self.named_uids(&set, uid, tx) else { return self.skip_rest(&appending) };
            let read_only = self.mailbox.as_ref().is_none_or(|mailbox| mailbox.read_only);
            match uids.first() {
                Some(_) if read_only => {
                    return self.refuse_append(&appending, Refused::of(&Refusal::ReadOnly), tx);
                }
                Some(uid) => appending.replaces = Some(uid),
                None => {
                    let text = "There is no message of that UID to be replaced";
                    return self.refuse_append(&appending, Refused::no(Code::NonExistent, text), tx);
                }
            }
        }
        self.go_on_appending(appending, tx);
    }

    /// Does the next piece.
    fn go_on_appending(&mut self, mut appending: Box<Appending>, tx: &mut SendQueue) {
        loop {
            let refused = match appending.pieces.front() {
                None => {
                    let urls = core::mem::take(&mut appending.urls);
                    let then = Committing { replaces: appending.replaces, urls };
                    return self.ask(Then::AppendCommit(then), |ticket| Ask::AppendCommit { ticket });
                }
                Some(AppendPiece::Joined) => {
                    appending.pieces.pop_front();
                    continue;
                }
                Some(AppendPiece::Message { joined, .. }) => {
                    let size = match appending.pieces.get(1) {
                        Some(AppendPiece::Octets(literal)) if !*joined => Some(*literal),
                        Some(_) | None => None,
                    };
                    (appending.joined, appending.octets) = (*joined, 0);
                    match size.and_then(|literal| self.refusal_of(&appending, literal)) {
                        None if appending.messages >= self.setup.limits.imap_append_messages_max => {
                            Refused::no(Code::Limit, "These are too many messages for one APPEND")
                        }
                        None => return self.begin_message(appending, size),
                        Some(refused) => refused,
                    }
                }
                Some(AppendPiece::Octets(literal)) => match self.refusal_of(&appending, *literal) {
                    None => return self.take_literal(appending, tx),
                    Some(refused) => refused,
                },
                Some(AppendPiece::UrlLiteral(literal)) if literal.size > URL_BYTES_MAX as u64 => {
                    Refused::no(Code::Limit, "The URL is too long")
                }
                Some(AppendPiece::UrlLiteral(_)) => return self.take_literal(appending, tx),
                Some(AppendPiece::Url(_)) => return self.start_url(appending, tx),
            };
            return self.refuse_append(&appending, refused, tx);
        }
    }

    /// Why these octets cannot be taken, whatever the mailbox.
    fn refusal_of(&self, appending: &Appending, literal: LiteralHead) -> Option<Refused> {
        if literal.size == 0 && !appending.joined {
            return Some(Refused::no(Code::Cannot, "A message of no octets cannot be kept"));
        }
        let size = appending.octets.saturating_add(literal.size);
        (size > self.setup.limits.message_bytes_max).then(|| Refused::of(&Refusal::TooBig))
    }

    fn begin_message(&mut self, mut appending: Box<Appending>, literal: Option<LiteralHead>) {
        let Some(AppendPiece::Message { flags, date, .. }) = appending.pieces.pop_front() else { return };
        appending.messages += 1;
        let head = MessageHead {
            flags,
            date: date.map(|date| date.unix_seconds),
            size: literal.map(|literal| literal.size),
            binary: literal.is_some_and(|literal| literal.binary),
            replaces: self.mailbox.as_ref().map(|mailbox| mailbox.id).zip(appending.replaces),
        };
        let mailbox = (appending.messages == 1).then(|| appending.mailbox.clone());
        self.ask(Then::Append(appending), |ticket| match mailbox {
            Some(mailbox) => Ask::Append { ticket, mailbox, head },
            None => Ask::AppendNext { ticket, head },
        });
    }

    /// Lets the client send the literal that it has announced.
    fn take_literal(&mut self, mut appending: Box<Appending>, tx: &mut SendQueue) {
        let (literal, url) = match appending.pieces.pop_front() {
            Some(AppendPiece::Octets(literal)) => (literal, None),
            Some(AppendPiece::UrlLiteral(literal)) => (literal, Some(Vec::new())),
            Some(AppendPiece::Message { .. } | AppendPiece::Url(_) | AppendPiece::Joined) | None => return,
        };
        if literal.sync {
            let text = if url.is_some() { "Ready for the URL" } else { "Ready for the message" };
            tx.write_with(|out| write_continuation(out, text));
        }
        if url.is_none() {
            appending.octets = appending.octets.saturating_add(literal.size);
        }
        let binary = literal.binary && !appending.joined;
        self.state = State::Message(Message { appending, left: literal.size, binary, url });
        self.keep_alive();
    }

    /// Octets of another message (RFC 4469 §3).
    fn start_url(&mut self, mut appending: Box<Appending>, tx: &mut SendQueue) {
        let Some(AppendPiece::Url(text)) = appending.pieces.pop_front() else { return };
        if appending.urls.len() >= self.setup.limits.imap_append_urls_max {
            let refused = Refused::no(Code::Limit, "These are too many URLs for one APPEND");
            return self.refuse_append(&appending, refused, tx);
        }
        appending.urls.push(text.into_owned());
        let place = appending.urls.len() - 1;
        let parsed =
            appending.urls.last().and_then(|text| url::parse(text)).and_then(|url| self.own_url(url));
        let Some((mailbox, url)) = parsed else { return self.refuse_url(appending, place, tx) };
        let wire_bytes_max = self.setup.limits.message_bytes_max;
        self.ask(Then::Append(appending), |ticket| Ask::AppendUrl {
            ticket,
            mailbox,
            url,
            wire_bytes_max,
            place,
        });
    }

    /// The mailbox of a URL, if it is one of this account on this server.
    fn own_url(&self, url: MessageUrl) -> Option<(Vec<u8>, MessageUrl)> {
        if let Some(url::Server { user, host }) = &url.server {
            let account = self.account.as_ref()?;
            let is_us = |user: &Vec<u8>| {
                user.eq_ignore_ascii_case(&account.address) || user.eq_ignore_ascii_case(&account.user)
            };
            if !host.eq_ignore_ascii_case(self.setup.hostname.as_bytes()) || !user.as_ref().is_none_or(is_us)
            {
                return None;
            }
        }
        let selected = || self.mailbox.as_ref().map(|mailbox| mailbox.name.clone());
        Some((url.mailbox.clone().or_else(selected)?, url))
    }

    /// RFC 4469 §4: which URL it is that cannot be had.
    fn refuse_url(&mut self, appending: Box<Appending>, place: usize, tx: &mut SendQueue) {
        self.drop_append(&appending);
        self.end_bad_url(&appending.urls, place, tx);
    }

    fn end_bad_url(&mut self, urls: &[Vec<u8>], place: usize, tx: &mut SendQueue) {
        let shown = urls.get(place).map(|url| shown_url(url)).unwrap_or_default();
        self.end(Status::No, Some(&Code::BadUrl(&shown)), "Nothing can be read by this URL", tx);
    }

    /// The mailbox takes the message, or the octets of the URL are there; or not.
    pub(super) fn handle_append_allowed(
        &mut self,
        id: TicketId,
        mut appending: Box<Appending>,
        answer: Result<(), Refusal>,
        tx: &mut SendQueue,
    ) {
        match answer {
            Ok(()) => {
                appending.id.get_or_insert(id);
                self.go_on_appending(appending, tx);
            }
            Err(Refusal::BadUrl(place)) => self.refuse_url(appending, place, tx),
            Err(refusal) => self.refuse_append(&appending, Refused::of(&refusal), tx),
        }
    }

    /// The command ends with this; what of it is still to come is swallowed.
    fn refuse_append(&mut self, appending: &Appending, refused: Refused, tx: &mut SendQueue) {
        self.drop_append(appending);
        self.end(refused.status, refused.code.as_ref(), &refused.text, tx);
    }

    /// Nothing of it is wanted any more.
    pub(super) fn drop_append(&mut self, appending: &Appending) {
        if let Some(id) = appending.id {
            self.push_cancel(id);
        }
        self.skip_rest(appending);
    }

    /// A literal that its client sends without waiting.
    fn skip_rest(&mut self, appending: &Appending) {
        if let Some(AppendPiece::Octets(literal) | AppendPiece::UrlLiteral(literal)) = appending.pieces.back()
        {
            self.skip_message(Some((literal.size, literal.sync)));
        }
    }

    /// A piece of the command that comes behind a literal.
    fn take_tail(
        &mut self,
        mut message: Message,
        line: &[u8],
        announced: Option<(u64, bool)>,
        tx: &mut SendQueue,
    ) {
        let appending = &mut message.appending;
        if let Some(url) = message.url {
            appending.pieces.push_back(AppendPiece::Url(url.into()));
        }
        if let Some((size, false)) = announced
            && self.is_endless(size)
        {
            if let Some(id) = appending.id {
                self.push_cancel(id);
            }
            return self.abuse("a huge literal that cannot be stopped", tx);
        }
        let is_message = |piece: &AppendPiece<'_>| matches!(piece, AppendPiece::Message { .. });
        let refused = match parse_append_rest(line, appending.joined) {
            Ok(pieces) if appending.replaces.is_some() && pieces.iter().any(is_message) => {
                Refused::bad("REPLACE takes one message")
            }
            Ok(pieces) => {
                appending.pieces.extend(pieces.into_iter().map(AppendPiece::into_owned));
                return self.go_on_appending(message.appending, tx);
            }
            Err(error) => Refused::bad(error.to_string()),
        };
        appending.pieces.clear();
        self.skip_message(announced);
        self.refuse_append(&message.appending, refused, tx);
    }
}

/// The messages are whole, and their commit is asked for.
#[derive(Debug)]
pub(super) struct Committing {
    /// The UID of the message that REPLACE takes away.
    replaces: Option<u32>,
    urls: Vec<Vec<u8>>,
}

/// What is asked of a message to be appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageHead {
    /// Flags and keywords.
    pub flags: FlagList<'static>,
    /// INTERNALDATE in seconds since 1970, if given.
    pub date: Option<i64>,
    /// Octets that will follow; not known of a message that is put together.
    pub size: Option<u64>,
    /// The octets may be binary: NULs, and line ends that are none (RFC 3516 §4.4).
    pub binary: bool,
    /// The UID of the message that goes for it (RFC 8508), and where it is.
    pub replaces: Option<(SelectionId, u32)>,
}

impl Session {
    pub(super) fn handle_appended(
        &mut self,
        committing: Committing,
        answer: Result<Appended, Refusal>,
        tx: &mut SendQueue,
    ) {
        match answer {
            Ok(Appended { uid_validity, uids, lacks_keywords }) => {
                if lacks_keywords {
                    warn_of_lacking_keywords(tx);
                }
                let code = Code::AppendUid(uid_validity, &uids);
                let Some((uid, selection)) =
                    committing.replaces.zip(self.mailbox.as_ref().map(|mailbox| mailbox.id))
                else {
                    return self.end(Status::Ok, Some(&code), "Append completed", tx);
                };
                // RFC 8508 §3.3: the code comes before the EXPUNGE, in an untagged OK.
                tx.write_with(|out| write_untagged(out, Status::Ok, Some(&code), "The new message is there"));
                let uids = UidSet::from_iter([uid]);
                self.ask(Then::Replaced, |ticket| Ask::Remove { ticket, selection, uids });
            }
            Err(Refusal::BadUrl(place)) => self.end_bad_url(&committing.urls, place, tx),
            Err(refusal) => {
                let Refused { status, code, text } = Refused::of(&refusal);
                self.end(status, code.as_ref(), &text, tx);
            }
        }
    }

    /// The old message is gone, or there are both.
    pub(super) fn handle_replaced(&mut self, answer: Result<(), Refusal>, tx: &mut SendQueue) {
        match answer {
            Ok(()) => self.end(Status::Ok, None, "Replace completed", tx),
            Err(refusal) => self.end_refused(&refusal, tx),
        }
    }
}

/// A URL in a response code: RFC 4469 §4 has no control characters and no `]` there.
fn shown_url(url: &[u8]) -> String {
    let kept = url.iter().map(|octet| match octet {
        b'!'..=b'~' if *octet != b']' => char::from(*octet),
        _ => '?',
    });
    kept.collect()
}

/// Hands on the octets of a literal, then looks for what stands behind it.
pub(super) fn pump_message<'i>(
    session: &mut Session,
    rx: &'i [u8],
    tx: &mut SendQueue,
) -> Option<StepOf<'i, Session>> {
    let State::Message(message) = &mut session.state else { return None };
    if message.left == 0 {
        return pump_tail(session, rx, tx);
    }
    let count = usize::try_from(message.left).map_or(rx.len(), |left| left.min(rx.len()));
    let piece = rx.get(..count).unwrap_or_default();
    // RFC 9051 §4.3.1: a literal has no NUL, but a literal8 may.
    let good = if message.binary { count } else { memchr(0, piece).unwrap_or(count) };
    match piece.get(..good) {
        Some([]) | None if piece.is_empty() => session.starve(),
        Some([]) | None => {
            let State::Message(message) = core::mem::replace(&mut session.state, State::Command) else {
                return None;
            };
            session.scanner.start_skip(message.left);
            session.refuse_append(&message.appending, Refused::bad(NUL), tx);
            session.step(0)
        }
        Some(body) => {
            message.left = message.left.saturating_sub(body.len() as u64);
            if let Some(url) = &mut message.url {
                url.extend_from_slice(body);
                return session.step(body.len());
            }
            session.keep_alive();
            Some(Step { consumed: body.len(), action: Some(Action::Body(Cow::Borrowed(body))) })
        }
    }
}

/// The line behind a literal.
fn pump_tail(session: &mut Session, rx: &[u8], tx: &mut SendQueue) -> Option<StepOf<'static, Session>> {
    let limits = session.scan_limits();
    let (len, announced) = match session.scanner.scan_append_tail(rx, &limits) {
        Scan::Complete { len } => (len, None),
        Scan::Append { head_len, size, sync } => (head_len, Some((size, sync))),
        Scan::Refused { len, .. } => {
            let State::Message(message) = core::mem::replace(&mut session.state, State::Command) else {
                return None;
            };
            let refused = Refused {
                status: Status::Bad,
                code: Some(Code::Limit),
                text: "The command is too long".into(),
            };
            session.refuse_append(&message.appending, refused, tx);
            return session.step(len);
        }
        Scan::Skipped { len } => return session.step(len),
        Scan::Incomplete | Scan::Continue => return session.starve(),
    };
    let State::Message(message) = core::mem::replace(&mut session.state, State::Command) else { return None };
    session.take_tail(message, rx.get(..len).unwrap_or_default(), announced, tx);
    session.step(len)
}
