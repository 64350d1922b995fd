//! One message on its way in: what becomes of its octets between the wire and the store.
//!
//! Counts them, watches its header go by, puts in what a submission lacks (RFC 6409 §8), leaves out what must not go
//! on, and notes what is wrong with it. Left out are: Return-Path, which is written by who delivers and by nobody
//! else (RFC 5321 §4.4); at submission also Bcc and Resent-Bcc, which are for the sender's eyes (RFC 5322 §3.6.3). A fault is answered at the message's real end; from the moment it is known nothing more is
//! passed on. Slices of the receive buffer are passed on as they are, but for the one in which the header
//! ends.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::mime::date;
use crate::mime::header_scanner::{HeaderEnd, HeaderScanner};
use crate::smtp::reply::Reply;
use crate::ticket::TicketId;
use crate::wire::dot::NewlineWatch;

/// Fields nobody but this server writes.
const UNWANTED: &[&[u8]] = &[b"return-path"];
/// Fields that end with the submission.
const UNWANTED_OF_SUBMISSION: &[&[u8]] = &[b"return-path", b"bcc", b"resent-bcc"];

/// A message whose transaction has begun.
#[derive(Debug)]
pub(crate) struct Message {
    id: Arc<str>,
    begin: Option<TicketId>,
    /// Goes in front of it.
    trace: Vec<u8>,
    header: Header,
    completion: Option<Completion>,
    bytes: u64,
    bytes_max: u64,
    received_fields_max: usize,
    newlines: Option<NewlineWatch>,
    fault: Option<Reply>,
    cancelled: bool,
}

/// What a message is told at its start.
#[derive(Debug)]
pub(crate) struct MessageSetup {
    pub(crate) id: Arc<str>,
    /// Return-Path and Received.
    pub(crate) trace: Vec<u8>,
    /// It is a submission: put in what is missing.
    pub(crate) completion: Option<Completion>,
    pub(crate) bytes_max: u64,
    pub(crate) received_fields_max: usize,
    pub(crate) refuse_bare_newlines: bool,
}

/// What missing fields are made of.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) unix_seconds: i64,
    pub(crate) hostname: Arc<str>,
}

#[derive(Debug)]
enum Header {
    /// Going by.
    Within(Box<HeaderScanner>),
    /// Gone by, with so many Received fields.
    Over { received: u32 },
}

impl Message {
    /// `begin` is the number of the ask by which it began; a mail of a local program began with none.
    pub(crate) fn new(setup: MessageSetup, begin: Option<TicketId>) -> Self {
        let unwanted = if setup.completion.is_some() { UNWANTED_OF_SUBMISSION } else { UNWANTED };
        Message {
            id: setup.id,
            begin,
            trace: setup.trace,
            header: Header::Within(Box::new(HeaderScanner::leaving_out(unwanted))),
            completion: setup.completion,
            bytes: 0,
            bytes_max: setup.bytes_max,
            received_fields_max: setup.received_fields_max,
            newlines: setup.refuse_bare_newlines.then(NewlineWatch::new),
            fault: None,
            cancelled: false,
        }
    }

    pub(crate) fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// The octets that go first; once.
    pub(crate) fn take_trace(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.trace)
    }

    /// The next octets of the message, dots unstuffed; what of them is to be passed on.
    pub(crate) fn pass<'i>(&mut self, octets: &'i [u8]) -> Option<Cow<'i, [u8]>> {
        if self.fault.is_some() {
            return None;
        }
        let room = self.bytes_max.saturating_sub(self.bytes);
        let fitting = usize::try_from(room).ok().and_then(|room| octets.get(..room));
        if fitting.is_some_and(|fitting| fitting.len() < octets.len()) {
            self.fault = Some(Reply::MessageTooBig);
        }
        let octets = fitting.unwrap_or(octets);
        self.bytes = self.bytes.saturating_add(octets.len() as u64);
        if let Some(newlines) = &mut self.newlines {
            newlines.observe(octets);
        }
        let body = match &mut self.header {
            Header::Over { .. } => Cow::Borrowed(octets),
            Header::Within(scanner) => {
                let (passed, received) = pass_header(scanner, self.completion.as_ref(), &self.id, octets);
                if let Some(received) = received {
                    self.header = Header::Over { received };
                }
                passed
            }
        };
        (!body.is_empty()).then_some(body)
    }

    /// The message is over; the last octets to be passed on, if there is no fault.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut last = Vec::new();
        let received = match &mut self.header {
            Header::Over { received } => *received,
            Header::Within(scanner) => {
                let mid_line = scanner.is_mid_line();
                let end = scanner.finish();
                write_header_end(scanner, end, self.completion.as_ref(), &self.id, &mut last);
                if mid_line && !last.is_empty() {
                    last.splice(..0, *b"\r\n");
                }
                scanner.received_count()
            }
        };
        // A CR at the very end has no LF to wait for.
        let bare = self.newlines.as_mut().is_some_and(|newlines| {
            newlines.observe(b".");
            newlines.bare_seen()
        });
        let looping = usize::try_from(received).is_ok_and(|received| received > self.received_fields_max);
        if self.fault.is_none() {
            // RFC 5321 §6.3, §2.3.8
            self.fault = looping.then_some(Reply::MailLoop).or(bare.then_some(Reply::BareNewline));
        }
        last
    }

    /// What is wrong with it.
    pub(crate) fn fault(&self) -> Option<Reply> {
        self.fault
    }

    /// The transaction to be cancelled because of a fault; once.
    pub(crate) fn poll_cancel(&mut self) -> Option<TicketId> {
        let due = self.fault.is_some() && !self.cancelled;
        self.cancelled |= due;
        self.begin.filter(|_| due)
    }

    /// The transaction to be cancelled because it will not come to its end.
    pub(crate) fn into_cancel(self) -> Option<TicketId> {
        self.begin.filter(|_| !self.cancelled)
    }
}

/// What of `octets` is passed on, and the number of Received fields if the header ends among them.
fn pass_header<'i>(
    scanner: &mut HeaderScanner,
    completion: Option<&Completion>,
    id: &str,
    octets: &'i [u8],
) -> (Cow<'i, [u8]>, Option<u32>) {
    let (mut rest, mut out) = (octets, Vec::new());
    loop {
        let scan = scanner.feed(rest);
        let (header, after) = rest.split_at_checked(scan.header_bytes).unwrap_or((rest, &[]));
        if out.is_empty() && scan.released.is_empty() && scan.left_out == 0 && scan.end.is_none() {
            return (Cow::Borrowed(header), None);
        }
        out.extend_from_slice(scan.released);
        out.extend_from_slice(header);
        match (scan.end, scan.left_out) {
            (Some(end), _) => {
                out.reserve(after.len() + 256);
                write_header_end(scanner, end, completion, id, &mut out);
                out.extend_from_slice(after);
                return (Cow::Owned(out), Some(scanner.received_count()));
            }
            (None, 0) => return (Cow::Owned(out), None),
            (None, left_out) => rest = after.get(left_out..).unwrap_or_default(),
        }
    }
}

/// Where the header ends: the missing fields, the missing empty line, and what the scanner holds back.
fn write_header_end(
    scanner: &HeaderScanner,
    end: HeaderEnd,
    completion: Option<&Completion>,
    id: &str,
    out: &mut Vec<u8>,
) {
    if let Some(Completion { unix_seconds, hostname }) = completion {
        if !scanner.has_date() {
            let date = date::format_rfc5322(*unix_seconds, 0);
            out.extend_from_slice(format!("Date: {date}\r\n").as_bytes());
        }
        if !scanner.has_message_id() {
            out.extend_from_slice(format!("Message-ID: <{id}@{hostname}>\r\n").as_bytes());
        }
    }
    match end {
        // RFC 5322 §2.1: header and body are two things only because of the empty line between them.
        HeaderEnd::NotAField => out.extend_from_slice(b"\r\n"),
        HeaderEnd::EmptyLine | HeaderEnd::EndOfMessage => {}
    }
    out.extend_from_slice(scanner.held());
}
