//! How an IMAP client follows what changes in a mailbox.

use crate::rng::Rng;

/// See the module's manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// By what it is told, without mod-sequences.
    Plain,
    /// By mod-sequences (CONDSTORE); with `enables` it says so at first.
    CondStore {
        /// ENABLE CONDSTORE, or SELECT (CONDSTORE).
        enables: bool,
    },
    /// It remembers what it has seen, and asks for what it has missed (QRESYNC).
    QResync,
    /// By UID alone (UIDONLY), and maybe with QRESYNC.
    UidOnly {
        /// With QRESYNC.
        resyncs: bool,
    },
}

impl Habit {
    /// One of them.
    pub fn draw(rng: &mut Rng) -> Habit {
        match rng.below(20) {
            0..7 => Habit::Plain,
            7..10 => Habit::CondStore { enables: rng.chance(50) },
            10..16 => Habit::QResync,
            _ => Habit::UidOnly { resyncs: rng.chance(70) },
        }
    }

    /// Whether it uses mod-sequences.
    pub fn uses_modseqs(self) -> bool {
        match self {
            Habit::Plain | Habit::UidOnly { resyncs: false } => false,
            Habit::CondStore { .. } | Habit::QResync | Habit::UidOnly { resyncs: true } => true,
        }
    }

    /// Whether it remembers mailboxes.
    pub fn resyncs(self) -> bool {
        match self {
            Habit::Plain | Habit::CondStore { .. } | Habit::UidOnly { resyncs: false } => false,
            Habit::QResync | Habit::UidOnly { resyncs: true } => true,
        }
    }
}
