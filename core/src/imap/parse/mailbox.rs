//! Commands about mailboxes: SELECT, CREATE, LIST, LSUB, STATUS. RFC 9051 §6.3.

use super::cursor::{Cursor, Expected, Parsed};
use super::metadata;
use crate::imap::command::{
    AString, CommandBody, List, ListReturn, ListSelect, Resync, Select, SpecialUse, StatusItem,
};
use crate::imap::sequence::UidSet;
use crate::wire::keyword::match_keyword;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// How many patterns one LIST may have: each is matched with every mailbox.
const LIST_PATTERNS_MAX: usize = 64;
/// How long they may be together with their reference, in octets: more than any name.
const LIST_PATTERN_BYTES_MAX: usize = 4096;

// RFC 9051 §6.3.2; RFC 7162 §7, select-param
pub(super) fn select<'a>(cursor: &mut Cursor<'a>, read_only: bool) -> Parsed<CommandBody<'a>> {
    const PARAMETER: &str = "CONDSTORE or QRESYNC";
    let mailbox = cursor.mailbox_argument()?;
    let mut select = Select { mailbox, read_only, condstore: false, resync: None };
    if !cursor.at_end() {
        cursor.space()?;
        cursor.list(PARAMETER, |cursor| {
            let word = cursor.name();
            match_keyword!(word,
                "CONDSTORE" => select.condstore = true,
                "QRESYNC" if select.resync.is_none() => {
                    cursor.space()?;
                    select.resync = Some(Box::new(resync(cursor)?));
                },
                _ => return Err(cursor.back(word, PARAMETER)),
            );
            Ok(())
        })?;
    }
    Ok(CommandBody::Select(select))
}

/// `(67890007 20050715194045000 41:211,214 (1,9 41,57))`
fn resync(cursor: &mut Cursor<'_>) -> Parsed<Resync> {
    cursor.expect(b'(', "a UIDVALIDITY and a mod-sequence in parentheses")?;
    let uid_validity = cursor.number("a UIDVALIDITY")?;
    cursor.space()?;
    let mut resync = Resync { uid_validity, modseq: cursor.modseq()?, known: None, matches: None };
    if cursor.rest().starts_with(b" ") && !cursor.rest().starts_with(b" (") {
        cursor.space()?;
        resync.known = Some(known_set(cursor)?);
    }
    if cursor.eat(b' ') {
        cursor.expect(b'(', "sequence numbers and their UIDs in parentheses")?;
        let numbers = known_set(cursor)?;
        cursor.space()?;
        resync.matches = Some((numbers, known_set(cursor)?));
        cursor.expect(b')', "a closing parenthesis")?;
    }
    cursor.expect(b')', "a closing parenthesis")?;
    Ok(resync)
}

/// A set of what the client has seen: no `*`.
fn known_set(cursor: &mut Cursor<'_>) -> Parsed<UidSet> {
    let set = cursor.sequence_set()?;
    if set.has_star() || set.is_saved() {
        return Err(Expected("a set without * and $ before this"));
    }
    Ok(set.resolve(u32::MAX))
}

// RFC 9051 §6.3.4; RFC 6154 §3
pub(super) fn create<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    let mailbox = cursor.mailbox_argument()?;
    let (mut special_use, mut unknown_use) = (Vec::new(), false);
    if !cursor.at_end() {
        cursor.space()?;
        cursor.expect(b'(', "(USE (...))")?;
        let word = cursor.name();
        if !word.eq_ignore_ascii_case(b"USE") {
            return Err(cursor.back(word, "USE"));
        }
        cursor.space()?;
        let uses = cursor.list("a list of uses", |cursor| {
            cursor.expect(b'\\', "a use such as \\Sent")?;
            let word = cursor.atom("a use such as \\Sent")?;
            let same = |special: &SpecialUse| {
                special.attribute().as_bytes().get(1..).is_some_and(|name| name.eq_ignore_ascii_case(word))
            };
            Ok(SpecialUse::ALL.into_iter().find(same))
        })?;
        cursor.expect(b')', "a closing parenthesis")?;
        unknown_use = uses.iter().any(Option::is_none);
        special_use = SpecialUse::ALL.into_iter().filter(|known| uses.contains(&Some(*known))).collect();
    }
    Ok(CommandBody::Create { mailbox, special_use, unknown_use })
}

pub(super) fn lsub<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    cursor.space()?;
    let reference = cursor.astring("a reference name")?;
    cursor.space()?;
    let pattern = cursor.list_pattern()?;
    check_length(&reference, core::slice::from_ref(&pattern))?;
    Ok(CommandBody::Lsub { reference, pattern })
}

fn check_length(reference: &[u8], patterns: &[AString<'_>]) -> Parsed<()> {
    let octets: usize = patterns.iter().map(|pattern| reference.len() + pattern.len()).sum();
    if octets > LIST_PATTERN_BYTES_MAX { Err(Expected("shorter patterns before this")) } else { Ok(()) }
}

pub(super) fn status<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    let mailbox = cursor.mailbox_argument()?;
    cursor.space()?;
    Ok(CommandBody::Status { mailbox, items: status_items(cursor)? })
}

// RFC 9208 §4.1.1
pub(super) fn get_quota<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    Ok(CommandBody::GetQuota { root: quota_root(cursor)? })
}

// RFC 9208 §4.1.3
pub(super) fn set_quota<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    let root = quota_root(cursor)?;
    cursor.space()?;
    cursor.list("limits such as STORAGE 512", |cursor| {
        cursor.atom("the name of a resource")?;
        cursor.space()?;
        cursor.number64("a limit")
    })?;
    Ok(CommandBody::SetQuota { root })
}

fn quota_root<'a>(cursor: &mut Cursor<'a>) -> Parsed<AString<'a>> {
    cursor.space()?;
    cursor.astring("a quota root")
}

// RFC 9051 §6.3.9
pub(super) fn list<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    let mut list = List::default();
    cursor.space()?;
    if cursor.peek() == Some(b'(') {
        list.extended = true;
        list.select = select_options(cursor)?;
        cursor.space()?;
    }
    list.reference = cursor.astring("a reference name")?;
    cursor.space()?;
    if cursor.peek() == Some(b'(') {
        list.extended = true;
        list.patterns = cursor.list("mailbox patterns", Cursor::list_pattern)?;
        if list.patterns.is_empty() || list.patterns.len() > LIST_PATTERNS_MAX {
            return Err(Expected("1 to 64 patterns before this"));
        }
    } else {
        list.patterns = vec![cursor.list_pattern()?];
    }
    check_length(&list.reference, &list.patterns)?;
    if !cursor.at_end() {
        cursor.space()?;
        let word = cursor.name();
        if !word.eq_ignore_ascii_case(b"RETURN") {
            return Err(cursor.back(word, "RETURN or the end of the command"));
        }
        list.extended = true;
        cursor.space()?;
        list.returns = return_options(cursor)?;
    }
    Ok(CommandBody::List(list))
}

fn select_options(cursor: &mut Cursor<'_>) -> Parsed<ListSelect> {
    const OPTION: &str = "SUBSCRIBED, REMOTE, RECURSIVEMATCH or SPECIAL-USE";
    let mut select = ListSelect::default();
    cursor.list(OPTION, |cursor| {
        let word = cursor.name();
        match_keyword!(word,
            "SUBSCRIBED" => select.subscribed = true,
            "REMOTE" => select.remote = true,
            "RECURSIVEMATCH" => select.recursive_match = true,
            "SPECIAL-USE" => select.special_use = true,
            _ => return Err(cursor.back(word, OPTION)),
        );
        Ok(())
    })?;
    // RFC 9051 §6.3.9.1: RECURSIVEMATCH alone, or with REMOTE only, selects nothing.
    if select.recursive_match && !select.subscribed && !select.special_use {
        return Err(Expected("SUBSCRIBED or SPECIAL-USE beside RECURSIVEMATCH before this"));
    }
    Ok(select)
}

fn return_options(cursor: &mut Cursor<'_>) -> Parsed<ListReturn> {
    const OPTION: &str = "SUBSCRIBED, CHILDREN, SPECIAL-USE, STATUS or METADATA";
    let mut returns = ListReturn::default();
    cursor.list(OPTION, |cursor| {
        let word = cursor.name();
        match_keyword!(word,
            "SUBSCRIBED" => returns.subscribed = true,
            "CHILDREN" => returns.children = true,
            "SPECIAL-USE" => returns.special_use = true,
            "STATUS" => {
                cursor.space()?;
                returns.status = status_items(cursor)?;
            },
            // RFC 9590 §4
            "METADATA" => {
                cursor.space()?;
                returns.metadata = metadata::entries(cursor)?;
            },
            _ => return Err(cursor.back(word, OPTION)),
        );
        Ok(())
    })?;
    Ok(returns)
}

fn status_items(cursor: &mut Cursor<'_>) -> Parsed<Vec<StatusItem>> {
    const ITEM: &str = "an item such as MESSAGES, UIDNEXT or HIGHESTMODSEQ";
    let mut items: Vec<StatusItem> = Vec::with_capacity(StatusItem::ALL.len());
    cursor.list(ITEM, |cursor| {
        let word = cursor.name();
        let item = match_keyword!(word,
            "MESSAGES" => StatusItem::Messages,
            "RECENT" => StatusItem::Recent,
            "UIDNEXT" => StatusItem::UidNext,
            "UIDVALIDITY" => StatusItem::UidValidity,
            "UNSEEN" => StatusItem::Unseen,
            "DELETED" => StatusItem::Deleted,
            "SIZE" => StatusItem::Size,
            "MAILBOXID" => StatusItem::MailboxId,
            "APPENDLIMIT" => StatusItem::AppendLimit,
            "HIGHESTMODSEQ" => StatusItem::HighestModSeq,
            "DELETED-STORAGE" => StatusItem::DeletedStorage,
            _ => return Err(cursor.back(word, ITEM)),
        );
        if !items.contains(&item) {
            items.push(item);
        }
        Ok(())
    })?;
    if items.is_empty() { Err(Expected("at least one item before this")) } else { Ok(items) }
}
