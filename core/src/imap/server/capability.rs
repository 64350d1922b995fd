//! The one list of capabilities, with the RFC that defines each and when it is shown.
//!
//! Only what works is in the list. The greeting, the answer to a login and CAPABILITY itself all show the
//! capabilities of the moment (RFC 9051 §6.1.1, §7.2.2).

use alloc::string::String;

/// What of a session's state decides what is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) logged_in: bool,
    /// STARTTLS would be accepted.
    pub(super) starttls: bool,
    /// LOGIN and AUTHENTICATE PLAIN would be accepted.
    pub(super) plain_login: bool,
}

type Capability = (&'static str, &'static str, fn(Moment) -> bool);

const CAPABILITIES: &[Capability] = &[
    ("IMAP4rev1", "RFC 3501", always),
    ("SASL-IR", "RFC 4959", always),
    ("LITERAL+", "RFC 7888", always),
    ("ID", "RFC 2971", always),
    ("ENABLE", "RFC 5161", always),
    ("IDLE", "RFC 2177", always),
    ("STARTTLS", "RFC 3501 §6.2.1", |moment| !moment.logged_in && moment.starttls),
    ("LOGINDISABLED", "RFC 3501 §6.2.3", |moment| !moment.logged_in && !moment.plain_login),
    ("AUTH=PLAIN", "RFC 4616", |moment| !moment.logged_in && moment.plain_login),
    ("NAMESPACE", "RFC 2342", after_login),
    ("CHILDREN", "RFC 3348", after_login),
    ("UIDPLUS", "RFC 4315", after_login),
    ("UNSELECT", "RFC 3691", after_login),
    ("MOVE", "RFC 6851", after_login),
    ("SPECIAL-USE", "RFC 6154", after_login),
    ("ESEARCH", "RFC 4731", after_login),
    ("WITHIN", "RFC 5032", after_login),
    ("LIST-EXTENDED", "RFC 5258", after_login),
    ("LIST-STATUS", "RFC 5819", after_login),
    ("STATUS=SIZE", "RFC 8438", after_login),
];

fn always(_: Moment) -> bool {
    true
}

fn after_login(moment: Moment) -> bool {
    moment.logged_in
}

/// The capabilities of the moment, separated by spaces.
pub(super) fn list(moment: Moment) -> String {
    let mut list = String::new();
    for (name, _, shown) in CAPABILITIES {
        if shown(moment) {
            if !list.is_empty() {
                list.push(' ');
            }
            list.push_str(name);
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_is_named_once_with_its_rfc() {
        for (index, (name, rfc, _)) in CAPABILITIES.iter().enumerate() {
            assert!(rfc.starts_with("RFC "), "{name}");
            assert!(CAPABILITIES.iter().skip(index + 1).all(|(other, _, _)| other != name), "{name}");
        }
    }

    #[test]
    fn what_is_shown_follows_the_moment() {
        let plain = Moment { logged_in: false, starttls: true, plain_login: false };
        assert_eq!(list(plain), "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE STARTTLS LOGINDISABLED");
        let secure = Moment { logged_in: false, starttls: false, plain_login: true };
        assert_eq!(list(secure), "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE AUTH=PLAIN");
        let inside = list(Moment { logged_in: true, starttls: true, plain_login: false });
        assert!(inside.starts_with("IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE NAMESPACE CHILDREN"));
        assert!(!inside.contains("STARTTLS") && !inside.contains("AUTH"));
    }
}
