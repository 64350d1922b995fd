//! The contract of a byte-stream machine: bytes and answers in, actions out.
//!
//! One pump: the caller feeds [`Machine::handle_input`] until it returns `None`. There is nothing else to call
//! that could be called in the wrong order.
//!
//! * The caller owns the receive buffer and passes all unconsumed octets with every [`Input::Bytes`]; a
//!   [`Step`] says how many of them are consumed. The machine remembers how far it has looked, so unconsumed
//!   octets are not scanned again.
//! * [`Input::Answer`] and [`Input::Notice`] are always absorbed. After any input that is not `Bytes`, and
//!   whenever the send queue falls below its low water, the caller pumps `Bytes(rest)`, possibly empty, until
//!   `None`.
//! * `None` means idle: nothing more happens without another input.
//! * Any segmentation of the same stream gives the same output and the same actions, adjacent
//!   [`Action::Body`] slices joined.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::send_queue::SendQueue;
use crate::ticket::TicketId;

/// A point of monotonic time, in microseconds since a start the adapter chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// From microseconds since the adapter's start.
    pub const fn from_micros(micros: u64) -> Self {
        Instant(micros)
    }

    /// Microseconds since the adapter's start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// This point, later by `duration`; saturates.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(micros))
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Wall-clock time (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub secs: i64,
    /// Microseconds within the second, 0 to 999,999.
    pub micros: u32,
}

/// The time as an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: for timers.
    pub instant: Instant,
    /// Wall clock: for dates people read.
    pub wall: WallTime,
}

/// What the TLS layer tells when a handshake is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.3`, `TLSv1.2`
    pub version: &'static str,
    /// Cipher suite by its IANA name, e.g. `TLS13_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
    /// The server name the client asked for (SNI).
    pub server_name: Option<String>,
    /// The channel binding `tls-exporter` (RFC 9266): with TLS 1.3 only.
    pub exporter: Option<[u8; 32]>,
    /// The channel binding `tls-server-end-point` (RFC 5929 §4): a hash of our certificate, if its signature has one.
    pub server_end_point: Option<Vec<u8>>,
}

impl TlsInfo {
    /// Whether a login can be bound to this connection.
    pub fn has_binding(&self) -> bool {
        self.exporter.is_some() || self.server_end_point.is_some()
    }
}

/// What goes into a machine.
#[derive(Debug)]
pub enum Input<'i, A, N> {
    /// All received and not yet consumed octets.
    Bytes(&'i [u8]),
    /// The answer to an ask.
    Answer(A),
    /// Something the machine did not ask for.
    Notice(N),
    /// The TLS handshake is done; everything from here on is encrypted.
    TlsStarted(TlsInfo),
    /// The instant of [`Machine::poll_timeout`] has come.
    Timeout,
    /// The peer will send nothing more.
    Eof,
}

/// Why the machine wants the connection closed, after what is in the send queue has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client said QUIT or LOGOUT.
    Goodbye,
    /// The client closed first.
    PeerClosed,
    /// Too long without a command.
    IdleTimeout,
    /// The server is shutting down.
    Shutdown,
    /// Too many errors, failed logins, or something no client of this protocol sends.
    Abuse,
    /// Plaintext behind STARTTLS, or a protocol error after which nothing can be trusted.
    ProtocolViolation,
}

/// What a machine wants done.
#[derive(Debug)]
pub enum Action<'i, Q, E> {
    /// A question for the layer above; its answer comes as [`Input::Answer`].
    Ask(Q),
    /// The answer to this ask is not wanted any more; what it began is to be undone.
    Cancel(TicketId),
    /// The next octets of the message body of the current transaction, as on the wire (CRLF), dots unstuffed.
    Body(Cow<'i, [u8]>),
    /// Something worth a line in the log.
    Event(E),
    /// Flush the send queue, then start a TLS handshake. Nothing received before it is handed in after it.
    StartTls,
    /// Flush the send queue, then close.
    Close(CloseReason),
}

/// One bounded unit of work.
#[derive(Debug)]
pub struct Step<'i, Q, E> {
    /// How many octets of [`Input::Bytes`] are used up; zero for other inputs.
    pub consumed: usize,
    /// What is to be done now.
    pub action: Option<Action<'i, Q, E>>,
}

impl<Q, E> Step<'_, Q, E> {
    /// A step that only consumed.
    pub fn consumed(consumed: usize) -> Self {
        Step { consumed, action: None }
    }
}

/// Which timer runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerKind {
    /// No command, or no progress in one, for too long.
    Idle,
    /// An answer is overdue.
    Answer,
    /// The whole session, or a delay imposed on it, is over.
    Session,
}

/// A step of a machine, by its associated types.
pub type StepOf<'i, M> = Step<'i, <M as Machine>::Ask, <M as Machine>::Event>;

/// A byte-stream protocol without the byte stream. See the module's manual for the rules of the pump.
pub trait Machine {
    /// Questions it asks.
    type Ask;
    /// Answers it takes.
    type Answer;
    /// What it may be told.
    type Notice;
    /// What it reports.
    type Event;

    /// One bounded unit of work; `None` means idle until another input.
    fn handle_input<'i>(
        &mut self,
        now: Now,
        input: Input<'i, Self::Answer, Self::Notice>,
        tx: &mut SendQueue,
    ) -> Option<StepOf<'i, Self>>;

    /// When to hand in [`Input::Timeout`].
    fn poll_timeout(&self) -> Option<(Instant, TimerKind)>;

    /// False: do not read from the socket now (backpressure).
    fn wants_bytes(&self) -> bool;
}
