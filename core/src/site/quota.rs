//! How much mail an account may have.

/// Limits of an account's mail, all mailboxes together.
///
/// ```
/// use postier_core::site::{Quota, Usage};
/// let quota = Quota { bytes: Some(1000), messages: None };
/// let used = Usage { bytes: 900, messages: 9 };
/// assert!(quota.admits(used, Usage { bytes: 100, messages: 1 }));
/// assert!(!quota.admits(used, Usage { bytes: 101, messages: 1 }));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Quota {
    /// Octets, as they are stored.
    pub bytes: Option<u64>,
    /// Messages.
    pub messages: Option<u64>,
}

impl Quota {
    /// Whether there is any limit.
    pub fn is_limited(&self) -> bool {
        self.bytes.is_some() || self.messages.is_some()
    }

    /// Whether who has `used` may have `more`.
    pub fn admits(&self, used: Usage, more: Usage) -> bool {
        let all = used.plus(more);
        self.bytes.is_none_or(|most| all.bytes <= most)
            && self.messages.is_none_or(|most| all.messages <= most)
    }

    /// The same, and whether it is a matter of what is there.
    pub fn room_for(&self, used: Usage, more: Usage) -> Room {
        match self.admits(used, more) {
            true => Room::Enough,
            false if self.admits(Usage::default(), more) => Room::Full,
            false => Room::Never,
        }
    }
}

/// Whether there is room for something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// There is.
    Enough,
    /// Not now.
    Full,
    /// Not even if there were nothing else.
    Never,
}

/// How much mail there is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// Octets, as they are stored.
    pub bytes: u64,
    /// Messages.
    pub messages: u64,
}

impl Usage {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Usage) -> Usage {
        Usage {
            bytes: self.bytes.saturating_add(other.bytes),
            messages: self.messages.saturating_add(other.messages),
        }
    }

    /// What is left of it without the other.
    #[must_use]
    pub fn minus(self, other: Usage) -> Usage {
        Usage {
            bytes: self.bytes.saturating_sub(other.bytes),
            messages: self.messages.saturating_sub(other.messages),
        }
    }
}
