//! Flags of a message: for each, which values it may have.

use super::ChangeId;

/// The flags that clients of this world set.
pub const FLAGS: [&str; 8] =
    ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Junk", "later", "work"];

/// A set of [`FLAGS`], by index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlagBits(pub u8);

impl FlagBits {
    /// With this one.
    #[must_use]
    pub fn with(self, index: usize) -> Self {
        FlagBits(self.0 | 1 << index)
    }

    /// Whether it is in.
    pub fn has(self, index: usize) -> bool {
        self.0 >> index & 1 == 1
    }

    /// The indices of those that are in.
    pub fn indices(self) -> impl Iterator<Item = usize> {
        (0..FLAGS.len()).filter(move |index| self.has(*index))
    }

    /// As IMAP writes them.
    pub fn names(self) -> String {
        self.indices().map(flag_name).collect::<Vec<_>>().join(" ")
    }
}

/// The place of a flag in [`FLAGS`]; case does not matter.
pub fn flag_index(name: &str) -> Option<usize> {
    FLAGS.iter().position(|flag| flag.eq_ignore_ascii_case(name))
}

/// The name of a flag.
pub fn flag_name(index: usize) -> &'static str {
    FLAGS[index]
}

/// A server looks at a selected mailbox this often at least, with room for slow disks, in microseconds.
const UNHEARD: u64 = 20_000_000;

#[derive(Clone, Debug)]
struct FlagState {
    may_be_off: bool,
    may_be_on: bool,
    pending: Vec<Pending>,
    /// Another program has changed it, and the server may not have looked since, up to this microsecond.
    unheard_until: u64,
}

#[derive(Clone, Debug)]
struct Pending {
    change: ChangeId,
    /// Another change was under way at the same time.
    overlapped: bool,
    /// What it may have been before: off, on.
    before: (bool, bool),
}

/// What is known of a message's flags.
#[derive(Clone, Debug)]
pub struct FlagStates([FlagState; FLAGS.len()]);

impl Default for FlagStates {
    fn default() -> Self {
        FlagStates::known(FlagBits::default())
    }
}

impl FlagStates {
    /// Exactly these.
    pub fn known(flags: FlagBits) -> Self {
        FlagStates(std::array::from_fn(|index| {
            let on = flags.has(index);
            FlagState { may_be_off: !on, may_be_on: on, pending: Vec::new(), unheard_until: 0 }
        }))
    }

    /// Whether this flag may have this value.
    pub fn may_be(&self, index: usize, on: bool) -> bool {
        let state = &self.0[index];
        if on { state.may_be_on } else { state.may_be_off }
    }

    /// Nothing is certain.
    pub fn forget(&mut self) {
        for state in &mut self.0 {
            (state.may_be_off, state.may_be_on) = (true, true);
        }
    }

    /// What another copy may be, this may be, too.
    pub fn also(&mut self, other: &FlagStates) {
        for (state, other) in self.0.iter_mut().zip(&other.0) {
            state.may_be_off |= other.may_be_off;
            state.may_be_on |= other.may_be_on;
        }
    }

    pub(super) fn without_pending(mut self) -> Self {
        self.process_died();
        self
    }

    pub(super) fn process_died(&mut self) {
        for state in &mut self.0 {
            state.pending.clear();
        }
    }

    /// Somebody has changed a flag without telling when.
    pub fn may_become(&mut self, index: usize, on: bool) {
        let state = &mut self.0[index];
        state.may_be_on |= on;
        state.may_be_off |= !on;
        state.pending.iter_mut().for_each(|pending| pending.overlapped = true);
    }

    /// Another program has changed a flag; a server that has not looked since may think that it is as it was, and that a
    /// client's change changes nothing.
    pub fn changed_unheard(&mut self, index: usize, on: bool, now: u64) {
        self.may_become(index, on);
        self.0[index].unheard_until = now + UNHEARD;
    }

    /// A change begins.
    pub fn start(&mut self, change: ChangeId, index: usize, on: bool, now: u64) {
        let before = (self.0[index].may_be_off, self.0[index].may_be_on);
        self.may_become(index, on);
        let state = &mut self.0[index];
        let overlapped = !state.pending.is_empty() || now < state.unheard_until;
        state.pending.push(Pending { change, overlapped, before });
    }

    /// A change is acknowledged; `alone` if there is but one copy it can have meant.
    pub fn acknowledge(&mut self, change: ChangeId, index: usize, on: bool, alone: bool) {
        let state = &mut self.0[index];
        let Some(at) = state.pending.iter().position(|pending| pending.change == change) else { return };
        let pending = state.pending.remove(at);
        if !pending.overlapped && alone {
            (state.may_be_off, state.may_be_on) = (!on, on);
        }
    }

    /// A change was refused: it has not happened, and will not.
    pub fn refuse(&mut self, change: ChangeId) {
        for state in &mut self.0 {
            let refused =
                state.pending.iter().find(|pending| pending.change == change && !pending.overlapped);
            if let Some(pending) = refused {
                (state.may_be_off, state.may_be_on) = pending.before;
            }
        }
        self.fail(change);
    }

    /// A change has failed: it may have happened, but will not happen any more.
    pub fn fail(&mut self, change: ChangeId) {
        for state in &mut self.0 {
            state.pending.retain(|pending| pending.change != change);
        }
    }
}
