//! NOTIFY (RFC 5465 §8), and the filters of mailboxes that ESEARCH has, too (RFC 7377 §3).

use super::cursor::{Cursor, Expected, Parsed};
use super::fetch;
use crate::imap::command::{CommandBody, MailboxName};
use crate::imap::notify::{EventGroup, Events, MailboxFilter, Notify, Source};
use crate::wire::keyword::match_keyword;
use alloc::vec;
use alloc::vec::Vec;

/// How many groups one command may have: each is compared with every mailbox.
pub(super) const GROUPS_MAX: usize = 32;
/// How many mailboxes they may name in all.
pub(super) const NAMES_MAX: usize = 500;

const GROUP: &str = "mailboxes and events in parentheses";
const FILTER: &str = "a filter such as personal";

pub(super) fn notify<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    const HOW: &str = "SET or NONE";
    cursor.space()?;
    let word = cursor.name();
    let mut notify = Notify::default();
    match_keyword!(word,
        "NONE" => {},
        "SET" => set(cursor, &mut notify)?,
        _ => return Err(cursor.back(word, HOW)),
    );
    Ok(CommandBody::Notify(notify))
}

fn set(cursor: &mut Cursor<'_>, notify: &mut Notify) -> Parsed<()> {
    cursor.space()?;
    if cursor.peek() != Some(b'(') {
        let word = cursor.name();
        if !word.eq_ignore_ascii_case(b"STATUS") {
            return Err(cursor.back(word, "STATUS or mailboxes and events in parentheses"));
        }
        notify.status = true;
        cursor.space()?;
    }
    let mut names = NAMES_MAX;
    loop {
        let group = group(cursor, &mut names, &mut notify.unknown_event)?;
        let is_selected = |group: &EventGroup| !matches!(group.source, Source::Others(_));
        if is_selected(&group) && notify.groups.iter().any(is_selected) {
            // RFC 5465 §6.1
            return Err(Expected("one group of the selected mailbox, before this"));
        }
        notify.groups.push(group);
        if cursor.at_end() {
            return Ok(());
        }
        if notify.groups.len() == GROUPS_MAX {
            return Err(Expected("at most 32 groups"));
        }
        cursor.space()?;
    }
}

fn group(cursor: &mut Cursor<'_>, names: &mut usize, unknown_event: &mut bool) -> Parsed<EventGroup> {
    cursor.expect(b'(', GROUP)?;
    let source = source(cursor, names)?;
    cursor.space()?;
    let mut group = EventGroup { source, events: Events::NONE, fetch: Vec::new() };
    match cursor.peek() {
        Some(b'(') => events(cursor, &mut group, unknown_event)?,
        Some(_) | None => {
            let word = cursor.name();
            if !word.eq_ignore_ascii_case(b"NONE") {
                return Err(cursor.back(word, "NONE or events in parentheses"));
            }
        }
    }
    cursor.expect(b')', "a closing parenthesis")?;
    Ok(group)
}

/// A filter (RFC 5465 §8, filter-mailboxes; RFC 7377 §3, filter-mailboxes-other). `left`: how many mailboxes it may name.
pub(super) fn source(cursor: &mut Cursor<'_>, left: &mut usize) -> Parsed<Source> {
    let word = cursor.name();
    Ok(match_keyword!(word,
        "SELECTED" => Source::Selected,
        "INBOXES" => Source::Others(MailboxFilter::Inboxes),
        "PERSONAL" => Source::Others(MailboxFilter::Personal),
        "SUBSCRIBED" => Source::Others(MailboxFilter::Subscribed),
        "SUBTREE" => Source::Others(MailboxFilter::Subtree(mailboxes(cursor, left)?)),
        "SUBTREE-ONE" => Source::Others(MailboxFilter::SubtreeOne(mailboxes(cursor, left)?)),
        "MAILBOXES" => Source::Others(MailboxFilter::Mailboxes(mailboxes(cursor, left)?)),
        // Too long to be one number.
        _ => match word.eq_ignore_ascii_case(b"SELECTED-DELAYED") {
            true => Source::SelectedDelayed,
            false => return Err(cursor.back(word, FILTER)),
        },
    ))
}

/// A space, and one mailbox or several in parentheses.
fn mailboxes(cursor: &mut Cursor<'_>, left: &mut usize) -> Parsed<Vec<MailboxName>> {
    const NAME: &str = "a mailbox name";
    cursor.space()?;
    let name = |cursor: &mut Cursor<'_>| Ok(MailboxName::new(cursor.astring(NAME)?));
    let names = match cursor.peek() {
        Some(b'(') => cursor.list(NAME, name)?,
        Some(_) | None => vec![name(cursor)?],
    };
    match left.checked_sub(names.len()) {
        Some(rest) if !names.is_empty() => *left = rest,
        Some(_) | None => return Err(Expected("1 to 500 mailboxes before this")),
    }
    Ok(names)
}

fn events(cursor: &mut Cursor<'_>, group: &mut EventGroup, unknown: &mut bool) -> Parsed<()> {
    const EVENT: &str = "an event such as MessageNew";
    let (mut new, mut expunge) = (false, false);
    let selected = !matches!(group.source, Source::Others(_));
    let EventGroup { events, fetch, .. } = group;
    let named = cursor.list(EVENT, |cursor| {
        let word = cursor.atom(EVENT)?;
        let is = |event: &str| word.eq_ignore_ascii_case(event.as_bytes());
        if is("MessageNew") && cursor.rest().starts_with(b" (") {
            cursor.space()?;
            *fetch = fetch::items(cursor)?;
            if !selected {
                return Err(Expected("something to fetch of the selected mailbox only, before this"));
            }
        }
        let (of_messages, named) = match () {
            () if is("MessageNew") => (true, &mut new),
            () if is("MessageExpunge") => (true, &mut expunge),
            () if is("FlagChange") => (true, &mut events.flags),
            () if is("MailboxName") => (false, &mut events.names),
            () if is("SubscriptionChange") => (false, &mut events.subscriptions),
            () if is("MailboxMetadataChange") => (false, &mut events.metadata),
            () if is("ServerMetadataChange") => (false, &mut events.server_metadata),
            () => (true, &mut *unknown),
        };
        *named = true;
        // RFC 5465 §6.1
        if selected && !of_messages { Err(cursor.back(word, "events of messages")) } else { Ok(()) }
    })?;
    events.messages = new && expunge;
    // RFC 5465 §5: neither goes without the other, and FlagChange not without both.
    if named.is_empty() || new != expunge || (events.flags && !new) {
        return Err(Expected("MessageNew together with MessageExpunge before this"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use crate::imap::fetch::FetchItem;
    use alloc::format;
    use alloc::string::ToString;

    fn parsed(line: &str) -> Notify {
        match parse(format!("a {line}\r\n").as_bytes()).unwrap().body {
            CommandBody::Notify(notify) => notify,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn groups_have_mailboxes_and_events() {
        assert_eq!(parsed("NOTIFY NONE"), Notify::default());
        let notify = parsed(
            "notify set status (Selected-Delayed (MessageNew (uid flags) MessageExpunge FlagChange)) \
             (subtree (Lists {1}\r\nx) (MailboxName SubscriptionChange MailboxMetadataChange)) (mailboxes inbox NONE)",
        );
        assert!(notify.status && !notify.unknown_event);
        let [selected, lists, inbox] = &notify.groups[..] else { panic!() };
        assert_eq!(selected.source, Source::SelectedDelayed);
        assert_eq!(selected.events, Events { messages: true, flags: true, ..Events::NONE });
        assert_eq!(selected.fetch, [FetchItem::Uid, FetchItem::Flags]);
        let names = vec![MailboxName::new(*b"Lists"), MailboxName::new(*b"x")];
        assert_eq!(lists.source, Source::Others(MailboxFilter::Subtree(names)));
        let events = Events { names: true, subscriptions: true, metadata: true, ..Events::NONE };
        assert_eq!(lists.events, events);
        assert_eq!(inbox.source, Source::Others(MailboxFilter::Mailboxes(vec![MailboxName::inbox()])));
        assert_eq!(inbox.events, Events::NONE);
        let all = parsed("NOTIFY SET (personal (ServerMetadataChange AnnotationChange))");
        assert!(all.unknown_event && all.groups[0].events.server_metadata);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for line in [
            "NOTIFY",
            "NOTIFY SET",
            "NOTIFY SET STATUS",
            "NOTIFY NONE x",
            "NOTIFY SET (personal)",
            "NOTIFY SET (personal ())",
            "NOTIFY SET (nowhere NONE)",
            "NOTIFY SET (subtree () NONE)",
            "NOTIFY SET (personal (MessageNew))",
            "NOTIFY SET (personal (MessageExpunge))",
            "NOTIFY SET (personal (FlagChange))",
            "NOTIFY SET (personal (MessageNew (uid) MessageExpunge))",
            "NOTIFY SET (selected (MailboxName))",
            "NOTIFY SET (selected (MessageNew () MessageExpunge))",
            "NOTIFY SET (selected NONE) (selected-delayed NONE)",
        ] {
            let command = format!("a {line}\r\n");
            assert!(parse(command.as_bytes()).unwrap_err().to_string().contains("expected"), "{line}");
        }
        let many = format!("a NOTIFY SET (personal NONE){}\r\n", " (personal NONE)".repeat(GROUPS_MAX));
        assert!(parse(many.as_bytes()).is_err());
        let many = format!("a NOTIFY SET (mailboxes (x{}) NONE)\r\n", " x".repeat(NAMES_MAX));
        assert!(parse(many.as_bytes()).is_err());
    }
}
