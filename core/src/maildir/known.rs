//! What is known of a mailbox when an operation that changes it begins.
//!
//! Such an operation may have to wait for the lock of the uidlist, and what it waits for changes the mailbox.
//! Meanwhile others look at the mailbox and their looks are adopted. So the state to begin with is taken only
//! when the lock is there: until then whoever owns the mailbox's state can put a newer one in its place.
//!
//! ```
//! use postier_core::maildir::known::Known;
//! use postier_core::maildir::mailbox::MailboxState;
//!
//! let known = Known::from(MailboxState::default());
//! let for_the_operation = known.clone();
//! assert!(known.is_waiting());
//! known.renew(MailboxState { uid_next: 7, ..MailboxState::default() });
//! assert_eq!(for_the_operation.take().map(|state| state.uid_next), Some(7));
//! assert!(!known.is_waiting());
//! ```

use super::mailbox::MailboxState;
use alloc::boxed::Box;
use alloc::sync::Arc;
use spin::Mutex;

/// A state that can be renewed until it is taken; clones share it. `None` inside: the mailbox is not known.
#[derive(Clone, Debug)]
pub struct Known(Arc<Mutex<Slot>>);

#[derive(Debug)]
enum Slot {
    Waiting(Option<Box<MailboxState>>),
    Taken,
}

impl Known {
    /// The newest state, taken; the operation goes on from there. `None` if the mailbox is not known, and
    /// when it was taken before.
    pub fn take(&self) -> Option<MailboxState> {
        match core::mem::replace(&mut *self.0.lock(), Slot::Taken) {
            Slot::Waiting(state) => state.map(|state| *state),
            Slot::Taken => None,
        }
    }

    /// Puts a newer state in its place; too late, and nothing done, once it was taken.
    pub fn renew(&self, state: MailboxState) {
        if let Slot::Waiting(slot) = &mut *self.0.lock() {
            *slot = Some(Box::new(state));
        }
    }

    /// Whether the operation has not begun: it has no lock yet, and has done nothing.
    pub fn is_waiting(&self) -> bool {
        matches!(*self.0.lock(), Slot::Waiting(_))
    }
}

impl From<Option<MailboxState>> for Known {
    fn from(state: Option<MailboxState>) -> Known {
        Known(Arc::new(Mutex::new(Slot::Waiting(state.map(Box::new)))))
    }
}

impl From<MailboxState> for Known {
    fn from(state: MailboxState) -> Known {
        Known::from(Some(state))
    }
}
