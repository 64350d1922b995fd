//! APPEND and REPLACE: RFC 9051 §6.3.12, RFC 3502 (several messages), RFC 4469 (CATENATE), RFC 8508 (REPLACE), RFC 3516
//! (literal8), RFC 6855 (UTF8).
//!
//! Such a command comes in lines with literals between them, and the literals may be as large as a message. So a line is
//! parsed when it is there, [`head`] the first one and [`rest`] those behind a literal; only where the last one ended
//! decides what may come next.

use super::cursor::{Cursor, Expected, Parsed};
use super::store::flag_list;
use crate::imap::command::{Append, AppendPiece, CommandBody, LiteralHead, Replaced};
use crate::imap::flag::FlagList;
use crate::imap::sequence::{SequenceSet, UidSet};
use crate::mime::date::{Date, parse_internaldate};
use alloc::vec::Vec;

const MESSAGE: &str = "flags, a date, CATENATE, UTF8 or the message as a literal";

pub(super) fn append<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    head(cursor, None)
}

pub(super) fn replace<'a>(cursor: &mut Cursor<'a>, uid: bool) -> Parsed<CommandBody<'a>> {
    cursor.space()?;
    let set = if cursor.eat(b'*') {
        SequenceSet::parse(b"*").ok_or(Expected("a message"))?
    } else {
        match cursor.number("the number of one message")? {
            0 => return Err(Expected("a number above 0")),
            number => SequenceSet::from(UidSet::from_iter([number])),
        }
    };
    head(cursor, Some(Replaced { uid, set }))
}

fn head<'a>(cursor: &mut Cursor<'a>, replaces: Option<Replaced>) -> Parsed<CommandBody<'a>> {
    let mailbox = cursor.mailbox_argument()?;
    let mut pieces = Vec::new();
    message(cursor, &mut pieces)?;
    if replaces.is_none() {
        messages(cursor, &mut pieces)?;
    }
    Ok(CommandBody::Append(Append { mailbox, replaces, pieces }))
}

/// What follows a literal of APPEND: of a message that is put together if `joined`, else behind a whole one.
pub(super) fn rest<'a>(cursor: &mut Cursor<'a>, joined: bool) -> Parsed<Vec<AppendPiece<'a>>> {
    let mut pieces = Vec::new();
    if joined && !parts(cursor, false, &mut pieces)? {
        return Ok(pieces);
    }
    messages(cursor, &mut pieces)?;
    Ok(pieces)
}

/// Messages until the line ends.
fn messages<'a>(cursor: &mut Cursor<'a>, pieces: &mut Vec<AppendPiece<'a>>) -> Parsed<()> {
    while !cursor.at_end() {
        message(cursor, pieces)?;
    }
    Ok(())
}

fn message<'a>(cursor: &mut Cursor<'a>, pieces: &mut Vec<AppendPiece<'a>>) -> Parsed<()> {
    cursor.space()?;
    let mut flags = FlagList::default();
    if cursor.peek() == Some(b'(') {
        flags = flag_list(cursor)?;
        cursor.space()?;
    }
    let date = date(cursor)?;
    if let Some(literal) = literal(cursor)? {
        pieces.push(AppendPiece::Message { flags, date, joined: false });
        pieces.push(AppendPiece::Octets(literal));
        return Ok(());
    }
    let word = cursor.name();
    let utf8 = word.eq_ignore_ascii_case(b"UTF8");
    if !utf8 && !word.eq_ignore_ascii_case(b"CATENATE") {
        return Err(cursor.back(word, MESSAGE));
    }
    cursor.space()?;
    cursor.expect(b'(', "an opening parenthesis")?;
    pieces.push(AppendPiece::Message { flags, date, joined: true });
    if utf8 {
        // RFC 6855 §4: a message with UTF-8 in its header; like one that is put together of one TEXT.
        let Some(literal) = literal(cursor)? else { return Err(Expected("a literal")) };
        pieces.push(AppendPiece::Octets(literal));
        return Ok(());
    }
    parts(cursor, true, pieces)?;
    Ok(())
}

fn date(cursor: &mut Cursor<'_>) -> Parsed<Option<Date>> {
    if cursor.peek() != Some(b'"') {
        return Ok(None);
    }
    let date = parse_internaldate(&cursor.string()?);
    if date.is_none() {
        return Err(Expected("a date such as \"17-Jul-1996 02:44:25 -0700\" before this"));
    }
    cursor.space()?;
    Ok(date)
}

/// The parts of a message that is put together; false if a literal is among them that must come first.
fn parts<'a>(cursor: &mut Cursor<'a>, first: bool, pieces: &mut Vec<AppendPiece<'a>>) -> Parsed<bool> {
    let mut first = first;
    loop {
        if !first {
            if cursor.eat(b')') {
                pieces.push(AppendPiece::Joined);
                return Ok(true);
            }
            cursor.expect(b' ', "a space or a closing parenthesis")?;
        }
        first = false;
        let word = cursor.name();
        if word.eq_ignore_ascii_case(b"TEXT") {
            cursor.space()?;
            let Some(literal) = literal(cursor)? else { return Err(Expected("a literal")) };
            pieces.push(AppendPiece::Octets(literal));
            return Ok(false);
        }
        if !word.eq_ignore_ascii_case(b"URL") {
            return Err(cursor.back(word, "TEXT or URL"));
        }
        cursor.space()?;
        match literal(cursor)? {
            Some(literal) => {
                pieces.push(AppendPiece::UrlLiteral(literal));
                return Ok(false);
            }
            None => pieces.push(AppendPiece::Url(cursor.astring("a URL")?)),
        }
    }
}

/// An announcement, which ends the line.
fn literal(cursor: &mut Cursor<'_>) -> Parsed<Option<LiteralHead>> {
    let binary = cursor.eat(b'~');
    if cursor.peek() != Some(b'{') {
        return if binary { Err(Expected("a literal")) } else { Ok(None) };
    }
    let (size, sync) = cursor.literal_head()?;
    if !cursor.at_end() {
        return Err(Expected("the end of the line"));
    }
    Ok(Some(LiteralHead { size, sync, binary }))
}
