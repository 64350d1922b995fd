//! ENABLE (RFC 5161, RFC 9051 §6.3.1): what a client has switched on for the rest of its connection.
//!
//! Each switch has a row of its name in the table of capabilities; one that is not shown cannot be switched on.

use super::session::Session;
use crate::imap::response::Status;
use crate::send_queue::SendQueue;
use alloc::vec::Vec;

/// What is switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Enabled {
    /// IMAP4rev2: answers are those of RFC 9051, without what RFC 3501 has besides.
    pub(super) rev2: bool,
    /// UTF8=ACCEPT (RFC 6855).
    pub(super) utf8: bool,
    /// CONDSTORE (RFC 7162): changes are told with their mod-sequences.
    pub(super) condstore: bool,
    /// QRESYNC (RFC 7162): what goes is told by UID.
    pub(super) qresync: bool,
    /// UIDONLY (RFC 9586): there are no sequence numbers.
    pub(super) uid_only: bool,
}

impl Enabled {
    /// Mailbox names are UTF-8 on the wire (RFC 9051 §5.1, RFC 6855 §3).
    pub(super) fn utf8_names(self) -> bool {
        self.rev2 || self.utf8
    }

    /// What goes is told by UID (RFC 7162 §3.2.10, RFC 9586 §3).
    pub(super) fn tells_vanished(self) -> bool {
        self.qresync || self.uid_only
    }
}

/// The name of a switch, and what it switches on.
type Switch = (&'static str, fn(&mut Enabled));

const SWITCHES: &[Switch] = &[
    ("IMAP4rev2", |enabled| enabled.rev2 = true),
    ("UTF8=ACCEPT", |enabled| enabled.utf8 = true),
    ("CONDSTORE", |enabled| enabled.condstore = true),
    // RFC 7162 §3.2.3
    ("QRESYNC", |enabled| (enabled.condstore, enabled.qresync) = (true, true)),
    ("UIDONLY", |enabled| enabled.uid_only = true),
];

impl Session {
    /// What is not known is passed over.
    pub(super) fn start_enable(&mut self, names: &[&[u8]], tx: &mut SendQueue) {
        let named = |switch: &str| names.iter().any(|name| name.eq_ignore_ascii_case(switch.as_bytes()));
        let before = self.enabled;
        let mut line = Vec::from(b"* ENABLED");
        for (name, switch_on) in SWITCHES.iter().filter(|(name, _)| named(name)) {
            if !self.offers(name) {
                continue;
            }
            switch_on(&mut self.enabled);
            line.push(b' ');
            line.extend_from_slice(name.as_bytes());
        }
        line.extend_from_slice(b"\r\n");
        tx.push(&line);
        self.adopt_enabled(before, tx);
        self.end(Status::Ok, None, "Enable completed", tx);
    }
}
