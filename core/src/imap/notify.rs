//! What a client wants to be told of without asking (NOTIFY, RFC 5465), and the filters that name the mailboxes it
//! means.
//!
//! ```
//! use postier_core::imap::notify::MailboxFilter;
//!
//! let lists = MailboxFilter::Subtree(vec![b"Lists".to_vec()]);
//! assert!(lists.matches(b"Lists.imap", false) && !lists.matches(b"Listserv", true));
//! ```

use super::command::{INBOX, MailboxName};
use super::fetch::FetchItem;
use super::server::DELIMITER;
use alloc::vec::Vec;

/// A NOTIFY command. Without groups it is NOTIFY NONE: nothing is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// STATUS: say first how the mailboxes are.
    pub status: bool,
    /// What to tell of which mailboxes.
    pub groups: Vec<EventGroup>,
    /// An event was named that we do not know or do not tell (AnnotationChange): the answer is `NO [BADEVENT]`.
    pub unknown_event: bool,
}

/// Some mailboxes, and what to tell of them (RFC 5465 §8, event-group).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventGroup {
    /// Which mailboxes.
    pub source: Source,
    /// What to tell; nothing for NONE.
    pub events: Events,
    /// What to fetch of each new message; only of the selected mailbox.
    pub fetch: Vec<FetchItem>,
}

/// Which mailboxes a client means (RFC 5465 §6, RFC 7377 §2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The selected one. Of NOTIFY: EXPUNGE is told at any time.
    Selected,
    /// The selected one. Of NOTIFY: EXPUNGE is told when a command allows it.
    SelectedDelayed,
    /// Those that a filter names.
    Others(MailboxFilter<MailboxName>),
}

/// A filter of mailboxes, by their names as the client has them or as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailboxFilter<N> {
    /// Where mail is delivered to: INBOX.
    Inboxes,
    /// All of the account's.
    Personal,
    /// Those subscribed to.
    Subscribed,
    /// These and all below them.
    Subtree(Vec<N>),
    /// These and those one level below them (RFC 7377 §2.2).
    SubtreeOne(Vec<N>),
    /// These.
    Mailboxes(Vec<N>),
}

/// Kinds of events (RFC 5465 §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// MessageNew and MessageExpunge, which go together.
    pub messages: bool,
    /// FlagChange
    pub flags: bool,
    /// MailboxName: mailboxes are made, renamed, deleted.
    pub names: bool,
    /// SubscriptionChange
    pub subscriptions: bool,
    /// MailboxMetadataChange
    pub metadata: bool,
    /// ServerMetadataChange
    pub server_metadata: bool,
}

impl Events {
    /// Nothing.
    pub const NONE: Events = Events {
        messages: false,
        flags: false,
        names: false,
        subscriptions: false,
        metadata: false,
        server_metadata: false,
    };

    /// Both.
    pub fn union(self, other: Events) -> Events {
        Events {
            messages: self.messages || other.messages,
            flags: self.flags || other.flags,
            names: self.names || other.names,
            subscriptions: self.subscriptions || other.subscriptions,
            metadata: self.metadata || other.metadata,
            server_metadata: self.server_metadata || other.server_metadata,
        }
    }
}

impl<N> MailboxFilter<N> {
    /// The same with the names in another form; `None` if one of them has none.
    pub fn try_map<M>(self, form: impl FnMut(N) -> Option<M>) -> Option<MailboxFilter<M>> {
        let all = |names: Vec<N>| names.into_iter().map(form).collect::<Option<Vec<M>>>();
        Some(match self {
            MailboxFilter::Inboxes => MailboxFilter::Inboxes,
            MailboxFilter::Personal => MailboxFilter::Personal,
            MailboxFilter::Subscribed => MailboxFilter::Subscribed,
            MailboxFilter::Subtree(names) => MailboxFilter::Subtree(all(names)?),
            MailboxFilter::SubtreeOne(names) => MailboxFilter::SubtreeOne(all(names)?),
            MailboxFilter::Mailboxes(names) => MailboxFilter::Mailboxes(all(names)?),
        })
    }
}

impl MailboxFilter<Vec<u8>> {
    /// Whether it names this mailbox.
    pub fn matches(&self, name: &[u8], subscribed: bool) -> bool {
        let below = |top: &Vec<u8>| {
            name.strip_prefix(top.as_slice())
                .and_then(|rest| rest.split_first())
                .and_then(|(first, rest)| (*first == DELIMITER).then_some(rest))
        };
        match self {
            MailboxFilter::Inboxes => name == INBOX,
            MailboxFilter::Personal => true,
            MailboxFilter::Subscribed => subscribed,
            MailboxFilter::Subtree(tops) => tops.iter().any(|top| name == top || below(top).is_some()),
            MailboxFilter::SubtreeOne(tops) => {
                let one_below = |top| below(top).is_some_and(|rest| !rest.contains(&DELIMITER));
                tops.iter().any(|top| name == top || one_below(top))
            }
            MailboxFilter::Mailboxes(names) => names.iter().any(|other| name == other),
        }
    }
}

/// What is told of a mailbox that is not selected: what all groups together say, up to one that says NONE of it
/// (RFC 5465 §3.1).
pub fn events_of(groups: &[(MailboxFilter<Vec<u8>>, Events)], name: &[u8], subscribed: bool) -> Events {
    let meant = groups.iter().filter(|(filter, _)| filter.matches(name, subscribed));
    meant
        .map(|(_, events)| *events)
        .take_while(|events| *events != Events::NONE)
        .fold(Events::NONE, Events::union)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn filters_name_whole_levels() {
        let names = || vec![b"a.b".to_vec(), b"INBOX".to_vec()];
        let subtree = MailboxFilter::Subtree(names());
        let one = MailboxFilter::SubtreeOne(names());
        let only = MailboxFilter::Mailboxes(names());
        for (name, expected) in [
            ("a", [false, false, false]),
            ("a.b", [true, true, true]),
            ("a.bc", [false, false, false]),
            ("a.b.c", [true, true, false]),
            ("a.b.c.d", [true, false, false]),
            ("INBOX", [true, true, true]),
            ("INBOX.x", [true, true, false]),
        ] {
            let found = [&subtree, &one, &only].map(|filter| filter.matches(name.as_bytes(), true));
            assert_eq!(found, expected, "{name}");
        }
        assert!(MailboxFilter::Inboxes.matches(b"INBOX", false));
        assert!(!MailboxFilter::Inboxes.matches(b"a", true));
        assert!(MailboxFilter::Subscribed.matches(b"a", true));
        assert!(!MailboxFilter::Subscribed.matches(b"a", false));
    }

    #[test]
    fn groups_add_up_until_one_says_none() {
        let messages = Events { messages: true, ..Events::NONE };
        let names = Events { names: true, ..Events::NONE };
        let groups = [
            (MailboxFilter::Inboxes, messages),
            (MailboxFilter::Subtree(vec![b"quiet".to_vec()]), Events::NONE),
            (MailboxFilter::Personal, names),
        ];
        assert_eq!(events_of(&groups, b"INBOX", false), messages.union(names));
        assert_eq!(events_of(&groups, b"quiet.x", false), Events::NONE);
        assert_eq!(events_of(&groups, b"else", false), names);
    }
}
