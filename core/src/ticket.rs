//! A question that can be answered exactly once.
//!
//! A [`Ticket<V>`] is move-only: answering consumes it, so a second answer or a verdict of the wrong kind does
//! not compile. The id inside makes an answer that comes too late harmless: the machine compares it with the
//! one it waits for.
//!
//! ```
//! use postier_core::ticket::TicketSource;
//! let mut source = TicketSource::default();
//! let ticket = source.issue::<bool>();
//! let id = ticket.id();
//! let answered = ticket.answer(true);
//! assert_eq!(answered.into_verdict(id), Some(true));
//! ```

use core::marker::PhantomData;

/// The number of a question, unique within one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TicketId(u64);

/// The right to answer one question with a `V`.
pub struct Ticket<V> {
    id: TicketId,
    verdict: PhantomData<fn(V)>,
}

impl<V> core::fmt::Debug for Ticket<V> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Ticket({})", self.id.0)
    }
}

impl<V> Ticket<V> {
    /// The question's number.
    pub fn id(&self) -> TicketId {
        self.id
    }

    /// Answers the question.
    pub fn answer(self, verdict: V) -> Answered<V> {
        Answered { id: self.id, verdict }
    }
}

/// An answer on its way to the machine that asked.
#[derive(Debug)]
pub struct Answered<V> {
    id: TicketId,
    verdict: V,
}

impl<V> Answered<V> {
    /// The number of the question.
    pub fn id(&self) -> TicketId {
        self.id
    }

    /// Whether this answers that question.
    pub fn answers(&self, id: TicketId) -> bool {
        self.id == id
    }

    /// What it says.
    pub fn verdict(&self) -> &V {
        &self.verdict
    }

    /// The verdict, if this answers the question that is being waited for.
    pub fn into_verdict(self, waiting_for: TicketId) -> Option<V> {
        (self.id == waiting_for).then_some(self.verdict)
    }
}

/// Numbers the questions of one machine.
#[derive(Debug, Default)]
pub struct TicketSource {
    last: u64,
}

impl TicketSource {
    /// A new ticket.
    pub fn issue<V>(&mut self) -> Ticket<V> {
        self.last += 1;
        Ticket { id: TicketId(self.last), verdict: PhantomData }
    }
}
