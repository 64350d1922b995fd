//! The one table of capabilities: the RFC that defines each, when it is shown, and the transcripts that earn it.
//!
//! Some of what other servers show has no row, because it has no use here: ACL and LIST-MYRIGHTS (RFC 4314, RFC 8440),
//! where a mailbox has one owner, who may do everything; CONTEXT=SORT (RFC 5267), where each change would say at which
//! place of an ordered result it is, for which all of it would have to be ordered again. A page of an ordered result is
//! had by ESORT and PARTIAL.
//!
//! Only what works whole is in the table. The greeting, the answer to a login and CAPABILITY itself all show the
//! capabilities of the moment (RFC 9051 §6.1.1, §7.2.2), in the order of the table.

use super::session::Session;
use crate::auth::sasl::{Mechanism, Offered};
use crate::imap::command::AString;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// What of a session's state decides what is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) logged_in: bool,
    /// STARTTLS would be accepted.
    pub(super) starttls: bool,
    /// Which mechanisms AUTHENTICATE would accept; the same for LOGIN.
    pub(super) offered: Offered,
    /// Octets of the largest message that can be appended.
    pub(super) append_limit: u64,
}

impl Moment {
    fn offers(self, mechanism: Mechanism) -> bool {
        !self.logged_in && mechanism.is_offered(self.offered)
    }
}

/// A row of the table.
#[cfg_attr(not(test), expect(dead_code, reason = "what earns it is for readers and for the tests"))]
struct Capability {
    name: &'static str,
    rfc: &'static str,
    shown: fn(Moment) -> bool,
    /// Names of files in `transcripts/`, without `.txt`: each shows some of it at work.
    transcripts: &'static [&'static str],
}

const fn row(
    name: &'static str,
    rfc: &'static str,
    shown: fn(Moment) -> bool,
    transcripts: &'static [&'static str],
) -> Capability {
    Capability { name, rfc, shown, transcripts }
}

/// Its value is the limit.
const APPENDLIMIT: &str = "APPENDLIMIT";

const CAPABILITIES: &[Capability] = &[
    row("IMAP4rev1", "RFC 3501", always, &["first_session", "errors", "select", "fetch", "store", "folders"]),
    row("IMAP4rev2", "RFC 9051", always, &["rev2", "rev2_names", "search_save", "binary"]),
    row("SASL-IR", "RFC 4959", always, &["authenticate"]),
    row("LITERAL+", "RFC 7888", always, &["append", "huge_literals", "huge_literal_before_login"]),
    row("ID", "RFC 2971", always, &["before_login"]),
    row("ENABLE", "RFC 5161", always, &["rev2", "client_thunderbird"]),
    row("IDLE", "RFC 2177", always, &["idle", "idle_times_out", "client_ios_idle"]),
    row("STARTTLS", "RFC 3501 §6.2.1", |moment| !moment.logged_in && moment.starttls, &["before_login"]),
    row(
        "LOGINDISABLED",
        "RFC 3501 §6.2.3",
        |moment| !moment.logged_in && !moment.offered.login,
        &["before_login"],
    ),
    row(
        "AUTH=SCRAM-SHA-256-PLUS",
        "RFC 7677",
        |moment| moment.offers(Mechanism::ScramSha256Plus),
        &["authenticate_scram_plus"],
    ),
    row(
        "AUTH=SCRAM-SHA-256",
        "RFC 7677",
        |moment| moment.offers(Mechanism::ScramSha256),
        &["authenticate_scram"],
    ),
    row("AUTH=PLAIN", "RFC 4616", |moment| moment.offers(Mechanism::Plain), &["authenticate"]),
    row(
        "AUTH=LOGIN",
        "draft-murchison-sasl-login",
        |moment| moment.offers(Mechanism::Login),
        &["authenticate_login"],
    ),
    row("UTF8=ACCEPT", "RFC 6855", after_login, &["utf8_accept", "append_kinds", "client_thunderbird"]),
    row("NAMESPACE", "RFC 2342", after_login, &["client_ios_list"]),
    row("CHILDREN", "RFC 3348", after_login, &["list"]),
    row("UIDPLUS", "RFC 4315", after_login, &["append", "copy_move", "expunge"]),
    row("UNSELECT", "RFC 3691", after_login, &["select"]),
    row("MOVE", "RFC 6851", after_login, &["copy_move", "client_macos"]),
    row("SPECIAL-USE", "RFC 6154", after_login, &["list"]),
    row("CREATE-SPECIAL-USE", "RFC 6154", after_login, &["folders", "metadata"]),
    row("METADATA", "RFC 5464", after_login, &["metadata"]),
    row("NOTIFY", "RFC 5465", after_login, &["notify", "notify_others"]),
    row("ESEARCH", "RFC 4731", after_login, &["search", "client_outlook"]),
    row("MULTISEARCH", "RFC 7377", after_login, &["multisearch"]),
    row("SEARCHRES", "RFC 5182", after_login, &["search_save"]),
    row("PARTIAL", "RFC 9394", after_login, &["search_partial"]),
    row(
        "CONTEXT=SEARCH",
        "RFC 5267",
        after_login,
        &["search_context", "search_context_fetch", "search_partial"],
    ),
    row("ESORT", "RFC 5267", after_login, &["sort"]),
    row("SORT", "RFC 5256", after_login, &["sort"]),
    row("SORT=DISPLAY", "RFC 5957", after_login, &["sort"]),
    row("THREAD=REFERENCES", "RFC 5256", after_login, &["thread"]),
    row("THREAD=ORDEREDSUBJECT", "RFC 5256", after_login, &["thread"]),
    row("I18NLEVEL=1", "RFC 5255", after_login, &["search", "sort", "thread"]),
    row("CONDSTORE", "RFC 7162", after_login, &["condstore", "condstore_search", "client_ios_changedsince"]),
    row("QRESYNC", "RFC 7162", after_login, &["qresync"]),
    row("UIDONLY", "RFC 9586", after_login, &["uidonly"]),
    row("UIDBATCHES", "RFC 10022", after_login, &["uid_batches"]),
    row("WITHIN", "RFC 5032", after_login, &["search"]),
    row("LIST-EXTENDED", "RFC 5258", after_login, &["list"]),
    row("LIST-STATUS", "RFC 5819", after_login, &["list"]),
    row("LIST-METADATA", "RFC 9590", after_login, &["metadata"]),
    row("STATUS=SIZE", "RFC 8438", after_login, &["folders", "list"]),
    row("MULTIAPPEND", "RFC 3502", after_login, &["multiappend", "multiappend_ends", "append_kinds"]),
    row("CATENATE", "RFC 4469", after_login, &["catenate", "append_kinds"]),
    row("URL-PARTIAL", "RFC 5550", after_login, &["catenate"]),
    row("BINARY", "RFC 3516", after_login, &["binary", "append_kinds"]),
    row("REPLACE", "RFC 8508", after_login, &["replace", "replace_read_only"]),
    row("QUOTA", "RFC 9208", after_login, &["quota"]),
    row("QUOTA=RES-STORAGE", "RFC 9208", after_login, &["quota"]),
    row("QUOTA=RES-MESSAGE", "RFC 9208", after_login, &["quota"]),
    row(APPENDLIMIT, "RFC 7889", after_login, &["append", "objectid"]),
    row("PREVIEW", "RFC 8970", after_login, &["fetch_more"]),
    row("SAVEDATE", "RFC 8514", after_login, &["fetch_more"]),
    row("OBJECTID", "RFC 8474", after_login, &["objectid", "fetch_more"]),
    row("COMPRESS=DEFLATE", "RFC 4978", after_login, &["compress"]),
    row("UNAUTHENTICATE", "RFC 8437", after_login, &["unauthenticate"]),
    row("INPROGRESS", "RFC 9585", after_login, &["in_progress"]),
];

fn always(_: Moment) -> bool {
    true
}

fn after_login(moment: Moment) -> bool {
    moment.logged_in
}

/// Capabilities that are kept from a client, for the quirk of the day.
///
/// What is hidden is not shown and cannot be enabled; who uses it all the same is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// The `name` the client gives itself by ID (RFC 2971), in any case; everybody if `None`.
    pub client: Option<String>,
    /// What is hidden, as the table has it.
    pub capabilities: Vec<String>,
}

/// The names of all capabilities there may be, for whoever makes a [`Mask`].
pub fn names() -> impl Iterator<Item = &'static str> {
    CAPABILITIES.iter().map(|capability| capability.name)
}

impl Session {
    /// Takes what the client says of itself by ID: its name decides what is hidden from it.
    pub(super) fn take_client_name(&mut self, fields: &[(AString<'_>, Option<AString<'_>>)]) {
        let name = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"name"));
        let name =
            name.and_then(|(_, value)| value.as_deref()).and_then(|name| core::str::from_utf8(name).ok());
        let is_known =
            |mask: &&Mask| mask.client.as_deref().zip(name).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b));
        // Only a name that somebody has written down is kept.
        self.client = self.setup.masks.iter().find(is_known).and_then(|mask| mask.client.clone());
    }

    /// Whether a capability is hidden from this client.
    pub(super) fn hides(&self, name: &str) -> bool {
        let is_meant = |mask: &&Mask| match &mask.client {
            None => true,
            Some(client) => self.client.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(client)),
        };
        let mut hidden = self.setup.masks.iter().filter(is_meant).flat_map(|mask| &mask.capabilities);
        hidden.any(|hidden| hidden.eq_ignore_ascii_case(name))
    }
}

/// The capabilities of the moment.
pub(super) fn shown(moment: Moment) -> impl Iterator<Item = &'static str> {
    CAPABILITIES.iter().filter(move |capability| (capability.shown)(moment)).map(|capability| capability.name)
}

/// The same but for what is hidden, separated by spaces.
pub(super) fn list(moment: Moment, is_hidden: impl Fn(&str) -> bool) -> String {
    let mut list = String::new();
    for name in shown(moment).filter(|name| !is_hidden(name)) {
        if !list.is_empty() {
            list.push(' ');
        }
        list.push_str(name);
        if name == APPENDLIMIT {
            list.push('=');
            list.push_str(&moment.append_limit.to_string());
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::super::tests::TRANSCRIPTS;
    use super::*;

    #[test]
    fn every_capability_is_there_once_with_its_rfc_and_what_earns_it() {
        for (index, Capability { name, rfc, transcripts, .. }) in CAPABILITIES.iter().enumerate() {
            assert!(rfc.starts_with("RFC ") || rfc.starts_with("draft-"), "{name}");
            assert!(CAPABILITIES.iter().skip(index + 1).all(|other| other.name != *name), "{name}");
            assert!(!transcripts.is_empty(), "{name}");
            for transcript in *transcripts {
                assert!(TRANSCRIPTS.contains(transcript), "{name}: {transcript}");
            }
        }
    }

    #[test]
    fn what_is_shown_follows_the_moment() {
        let shown = |moment| list(moment, |_| false);
        let offered = Offered::default();
        let plain = Moment { logged_in: false, starttls: true, offered, append_limit: 9 };
        assert_eq!(
            shown(plain),
            "IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE IDLE STARTTLS LOGINDISABLED"
        );
        let offered = Offered { login: true, ..offered };
        let secure = Moment { logged_in: false, starttls: false, offered, append_limit: 9 };
        assert_eq!(
            shown(secure),
            "IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE IDLE AUTH=PLAIN AUTH=LOGIN"
        );
        let offered = Offered { scram: true, binding: true, ..offered };
        let all = shown(Moment { offered, ..secure });
        assert!(all.ends_with(" AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN AUTH=LOGIN"));
        let inside = shown(Moment { logged_in: true, starttls: true, offered, append_limit: 9 });
        assert!(inside.starts_with("IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE IDLE UTF8=ACCEPT"));
        assert!(inside.contains(" APPENDLIMIT=9 "));
        assert!(!inside.contains("STARTTLS") && !inside.contains(" AUTH="));
    }
}
