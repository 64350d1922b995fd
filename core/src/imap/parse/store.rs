//! STORE, RFC 9051 §6.4.6, and flags as a client writes them.

use super::cursor::{Cursor, Parsed};
use crate::imap::command::{CommandBody, Store, StoreMode};
use crate::imap::flag::{FlagList, SystemFlag};
use alloc::borrow::Cow;

/// How many keywords one command may name: more than any mailbox can hold, few enough to compare each with
/// each.
const KEYWORDS_NAMED_MAX: usize = 64;

const FLAG: &str = "a flag";

pub(super) fn store<'a>(cursor: &mut Cursor<'a>, uid: bool) -> Parsed<CommandBody<'a>> {
    cursor.space()?;
    let set = cursor.sequence_set()?;
    cursor.space()?;
    let unchanged_since = if cursor.peek() == Some(b'(') { modifiers(cursor)? } else { None };
    let mode = match cursor.peek() {
        Some(b'+') => StoreMode::Add,
        Some(b'-') => StoreMode::Remove,
        Some(_) | None => StoreMode::Replace,
    };
    cursor.advance(usize::from(mode != StoreMode::Replace));
    let name = cursor.name();
    let silent = name.eq_ignore_ascii_case(b"FLAGS.SILENT");
    if !silent && !name.eq_ignore_ascii_case(b"FLAGS") {
        return Err(cursor.back(name, "FLAGS or FLAGS.SILENT"));
    }
    cursor.space()?;
    let flags = match cursor.peek() {
        Some(b'(') => flag_list(cursor)?,
        Some(_) | None => bare_flags(cursor)?,
    };
    Ok(CommandBody::Store(Store { uid, set, unchanged_since, mode, silent, flags }))
}

/// RFC 7162 §3.1.3, store-modifiers of RFC 4466 §2.5, and the space after them.
fn modifiers(cursor: &mut Cursor<'_>) -> Parsed<Option<u64>> {
    const MODIFIER: &str = "one UNCHANGEDSINCE";
    let mut unchanged_since = None;
    cursor.list(MODIFIER, |cursor| {
        let word = cursor.name();
        if unchanged_since.is_some() || !word.eq_ignore_ascii_case(b"UNCHANGEDSINCE") {
            return Err(cursor.back(word, MODIFIER));
        }
        cursor.space()?;
        unchanged_since = Some(cursor.modseq()?);
        Ok(())
    })?;
    cursor.space()?;
    Ok(unchanged_since)
}

pub(super) fn flag_list<'a>(cursor: &mut Cursor<'a>) -> Parsed<FlagList<'a>> {
    let mut flags = FlagList::default();
    cursor.list(FLAG, |cursor| flag(cursor, &mut flags))?;
    Ok(flags)
}

fn bare_flags<'a>(cursor: &mut Cursor<'a>) -> Parsed<FlagList<'a>> {
    let mut flags = FlagList::default();
    flag(cursor, &mut flags)?;
    while !cursor.at_end() {
        cursor.space()?;
        flag(cursor, &mut flags)?;
    }
    Ok(flags)
}

fn flag<'a>(cursor: &mut Cursor<'a>, flags: &mut FlagList<'a>) -> Parsed<()> {
    if cursor.eat(b'\\') {
        let word = cursor.atom("the name of a system flag")?;
        let known = SystemFlag::ALL
            .into_iter()
            .find(|flag| flag.name().as_bytes().get(1..).is_some_and(|name| name.eq_ignore_ascii_case(word)));
        match known {
            Some(known) => flags.system = flags.system.with(known),
            // RFC 3501 §2.3.2: \Recent cannot be altered; a client that repeats what it was shown means well.
            None if word.eq_ignore_ascii_case(b"Recent") => {}
            None => return Err(cursor.back(word, "\\Answered, \\Flagged, \\Deleted, \\Seen or \\Draft")),
        }
        return Ok(());
    }
    let word = cursor.atom(FLAG)?;
    let Ok(text) = core::str::from_utf8(word) else { return Err(cursor.back(word, FLAG)) };
    if !flags.keywords.iter().any(|old| old.eq_ignore_ascii_case(text)) {
        if flags.keywords.len() >= KEYWORDS_NAMED_MAX {
            return Err(cursor.back(word, "fewer keywords"));
        }
        flags.keywords.push(Cow::Borrowed(text));
    }
    Ok(())
}
