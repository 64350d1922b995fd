//! FETCH, RFC 9051 §6.4.5.

use super::cursor::{Cursor, Expected, Parsed};
use crate::imap::command::CommandBody;
use crate::imap::fetch::{Fetch, FetchItem, FetchSection, FieldNames, Partial, Section, SectionKind};
use crate::wire::keyword::match_keyword;
use alloc::vec;
use alloc::vec::Vec;
use memchr::memchr;

const ITEM: &str = "something to fetch";

pub(super) fn fetch<'a>(cursor: &mut Cursor<'a>, uid: bool) -> Parsed<CommandBody<'a>> {
    cursor.space()?;
    let set = cursor.sequence_set()?;
    cursor.space()?;
    let items = match cursor.peek() {
        Some(b'(') => items(cursor)?,
        Some(_) | None => macro_or_item(cursor)?,
    };
    let mut fetch = Fetch { uid, set, items, partial: None, changed_since: None, vanished: false };
    if !cursor.at_end() {
        cursor.space()?;
        modifiers(cursor, &mut fetch)?;
    }
    Ok(CommandBody::Fetch(fetch))
}

// RFC 4466 §2.4, fetch-modifiers
fn modifiers(cursor: &mut Cursor<'_>, fetch: &mut Fetch) -> Parsed<()> {
    const MODIFIER: &str = "PARTIAL, CHANGEDSINCE or VANISHED";
    let read = cursor.list(MODIFIER, |cursor| {
        let word = cursor.name();
        match_keyword!(word,
            "PARTIAL" if fetch.uid && fetch.partial.is_none() => {
                cursor.space()?;
                fetch.partial = Some(cursor.partial_range()?);
            },
            "CHANGEDSINCE" if fetch.changed_since.is_none() => {
                cursor.space()?;
                fetch.changed_since = Some(cursor.modseq()?);
            },
            "VANISHED" if fetch.uid => fetch.vanished = true,
            "VANISHED" => return Err(cursor.back(word, "VANISHED in UID FETCH only")),
            // RFC 9394 §3.3: it is UID FETCH that has it, once.
            "PARTIAL" => return Err(cursor.back(word, "one PARTIAL, in UID FETCH")),
            _ => return Err(cursor.back(word, MODIFIER)),
        );
        Ok(())
    })?;
    if fetch.vanished && fetch.changed_since.is_none() {
        return Err(Expected("CHANGEDSINCE beside VANISHED before this"));
    }
    if read.is_empty() { Err(Expected("at least one modifier before this")) } else { Ok(()) }
}

/// A list of items, at least one.
pub(super) fn items(cursor: &mut Cursor<'_>) -> Parsed<Vec<FetchItem>> {
    let items = cursor.list(ITEM, item)?;
    if items.is_empty() { Err(Expected(ITEM)) } else { Ok(items) }
}

/// A macro stands alone, never in a list.
fn macro_or_item(cursor: &mut Cursor<'_>) -> Parsed<Vec<FetchItem>> {
    let name = cursor.name();
    let fast = [FetchItem::Flags, FetchItem::InternalDate, FetchItem::Rfc822Size];
    let more: &[FetchItem] = match_keyword!(name,
        "FAST" => &[],
        "ALL" => &[FetchItem::Envelope],
        "FULL" => &[FetchItem::Envelope, FetchItem::Body],
        _ => return Ok(vec![named_item(cursor, name)?]),
    );
    Ok(fast.into_iter().chain(more.iter().cloned()).collect())
}

fn item(cursor: &mut Cursor<'_>) -> Parsed<FetchItem> {
    let name = cursor.name();
    named_item(cursor, name)
}

fn named_item(cursor: &mut Cursor<'_>, name: &[u8]) -> Parsed<FetchItem> {
    if cursor.peek() == Some(b'[') {
        return match_keyword!(name,
            "BODY" => Ok(FetchItem::Section(section_item(cursor, false, false)?)),
            "BODY.PEEK" => Ok(FetchItem::Section(section_item(cursor, true, false)?)),
            "BINARY" => Ok(FetchItem::Binary(section_item(cursor, false, true)?)),
            "BINARY.PEEK" => Ok(FetchItem::Binary(section_item(cursor, true, true)?)),
            "BINARY.SIZE" => {
                let section = section_item(cursor, true, true)?;
                match section.partial {
                    None => Ok(FetchItem::BinarySize(section)),
                    Some(_) => Err(Expected("no range of octets before this")),
                }
            },
            _ => Err(cursor.back(name, ITEM)),
        );
    }
    Ok(match_keyword!(name,
        "FLAGS" => FetchItem::Flags,
        "UID" => FetchItem::Uid,
        "INTERNALDATE" => FetchItem::InternalDate,
        "RFC822.SIZE" => FetchItem::Rfc822Size,
        "ENVELOPE" => FetchItem::Envelope,
        "BODY" => FetchItem::Body,
        "BODYSTRUCTURE" => FetchItem::BodyStructure,
        "RFC822" => FetchItem::Rfc822,
        "RFC822.HEADER" => FetchItem::Rfc822Header,
        "RFC822.TEXT" => FetchItem::Rfc822Text,
        "SAVEDATE" => FetchItem::SaveDate,
        "EMAILID" => FetchItem::EmailId,
        "THREADID" => FetchItem::ThreadId,
        "MODSEQ" => FetchItem::ModSeq,
        "PREVIEW" => return preview(cursor),
        _ => return Err(cursor.back(name, ITEM)),
    ))
}

/// RFC 8970 §4: `PREVIEW (LAZY)` may be answered with less; here it costs no more than the header does.
fn preview(cursor: &mut Cursor<'_>) -> Parsed<FetchItem> {
    if cursor.rest().starts_with(b" (") {
        cursor.space()?;
        cursor.list("LAZY", |cursor| {
            let word = cursor.name();
            if word.eq_ignore_ascii_case(b"LAZY") { Ok(()) } else { Err(cursor.back(word, "LAZY")) }
        })?;
    }
    Ok(FetchItem::Preview)
}

fn section_item(cursor: &mut Cursor<'_>, peek: bool, binary: bool) -> Parsed<FetchSection> {
    cursor.expect(b'[', "a section")?;
    let section = section(cursor)?;
    cursor.expect(b']', "a closing bracket")?;
    let partial = if cursor.eat(b'<') { Some(partial(cursor, binary)?) } else { None };
    Ok(FetchSection { peek, section, partial })
}

fn partial(cursor: &mut Cursor<'_>, binary: bool) -> Parsed<Partial> {
    let offset = cursor.number64("an offset")?;
    if binary && cursor.eat(b'>') {
        // Dovecot takes it for all the rest, and so do its clients.
        return Ok(Partial { offset, length: u64::MAX });
    }
    cursor.expect(b'.', "a dot and a length")?;
    let length = cursor.number64("a length")?;
    if length == 0 {
        return Err(Expected("a length above 0"));
    }
    cursor.expect(b'>', "a closing angle bracket")?;
    Ok(Partial { offset, length })
}

// RFC 9051 §9, section-spec
pub(super) fn section(cursor: &mut Cursor<'_>) -> Parsed<Section> {
    let mut part = Vec::new();
    while cursor.peek().is_some_and(|octet| octet.is_ascii_digit()) {
        match cursor.number("a part number")? {
            0 => return Err(Expected("a part number above 0")),
            number => part.push(number),
        }
        if !cursor.eat(b'.') {
            return Ok(Section { part, kind: SectionKind::Full });
        }
    }
    let name = cursor.name();
    let kind = match_keyword!(name,
        "" if part.is_empty() => SectionKind::Full,
        "HEADER" => SectionKind::Header,
        "HEADER.FIELDS" => SectionKind::HeaderFields { not: false, names: field_names(cursor)? },
        "TEXT" => SectionKind::Text,
        "MIME" if !part.is_empty() => SectionKind::Mime,
        _ => match name.eq_ignore_ascii_case(b"HEADER.FIELDS.NOT") {
            true => SectionKind::HeaderFields { not: true, names: field_names(cursor)? },
            false => return Err(cursor.back(name, "a section")),
        },
    );
    Ok(Section { part, kind })
}

fn field_names(cursor: &mut Cursor<'_>) -> Parsed<FieldNames> {
    const NAMES: &str = "a list of header field names";
    cursor.expect(b' ', NAMES)?;
    cursor.expect(b'(', NAMES)?;
    if let Some(end) = memchr(b')', cursor.rest())
        && let Some(names) = cursor.rest().get(..end).and_then(FieldNames::from_atoms)
    {
        cursor.advance(end + 1);
        return Ok(names);
    }
    let mut names = FieldNames::default();
    loop {
        let name = cursor.astring("a header field name")?;
        if !names.push(&name) {
            return Err(Expected("the name of a header field before this"));
        }
        if cursor.eat(b')') {
            return Ok(names);
        }
        cursor.expect(b' ', "a space or a closing parenthesis")?;
    }
}
