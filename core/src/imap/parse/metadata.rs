//! GETMETADATA and SETMETADATA (RFC 5464 §5).

use super::cursor::{Cursor, Expected, Parsed};
use crate::imap::command::{CommandBody, GetMetadata};
use crate::imap::metadata::{Depth, Entry};
use crate::wire::keyword::match_keyword;
use alloc::vec;
use alloc::vec::Vec;

const ENTRY: &str = "an entry such as /private/comment";
const OPTION: &str = "MAXSIZE or DEPTH";
/// How many entries one command may name: more than a mailbox can have.
const ENTRIES_MAX: usize = 256;

/// The options stand before the mailbox (RFC 5464 §5); the examples of §4.2.1 have them behind it, and so have clients.
pub(super) fn get<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    let (mut max_size, mut depth) = (None, Depth::Zero);
    if cursor.rest().starts_with(b" (") {
        cursor.space()?;
        options(cursor, &mut max_size, &mut depth)?;
    }
    let mailbox = cursor.mailbox_argument()?;
    cursor.space()?;
    let begins =
        |word: &[u8]| cursor.rest().get(1..=word.len()).is_some_and(|rest| rest.eq_ignore_ascii_case(word));
    if cursor.peek() == Some(b'(') && (begins(b"MAXSIZE ") || begins(b"DEPTH ")) {
        options(cursor, &mut max_size, &mut depth)?;
        cursor.space()?;
    }
    let entries = match cursor.peek() {
        Some(b'(') => self::entries(cursor)?,
        Some(_) | None => vec![entry(cursor)?],
    };
    Ok(CommandBody::GetMetadata(GetMetadata { mailbox, entries, max_size, depth }))
}

/// Entries in parentheses.
pub(super) fn entries(cursor: &mut Cursor<'_>) -> Parsed<Vec<Entry>> {
    let entries = cursor.list(ENTRY, entry)?;
    check_count(&entries)?;
    Ok(entries)
}

pub(super) fn set<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    let mailbox = cursor.mailbox_argument()?;
    cursor.space()?;
    let values = cursor.list("entries with their values in parentheses", |cursor| {
        let entry = entry(cursor)?;
        if !entry.can_have_value() {
            return Err(Expected("a level below /private or /shared before this"));
        }
        cursor.space()?;
        Ok((entry, cursor.nstring8()?))
    })?;
    check_count(&values)?;
    Ok(CommandBody::SetMetadata { mailbox, values })
}

fn check_count<T>(all: &[T]) -> Parsed<()> {
    if all.is_empty() || all.len() > ENTRIES_MAX {
        Err(Expected("1 to 256 entries before this"))
    } else {
        Ok(())
    }
}

fn options(cursor: &mut Cursor<'_>, max_size: &mut Option<u32>, depth: &mut Depth) -> Parsed<()> {
    const DEPTH: &str = "0, 1 or infinity";
    cursor.list(OPTION, |cursor| {
        let word = cursor.name();
        match_keyword!(word,
            "MAXSIZE" => {
                cursor.space()?;
                *max_size = Some(cursor.number("a number of octets")?);
            },
            "DEPTH" => {
                cursor.space()?;
                let word = cursor.name();
                *depth = match_keyword!(word,
                    "0" => Depth::Zero,
                    "1" => Depth::One,
                    "INFINITY" => Depth::Infinity,
                    _ => return Err(cursor.back(word, DEPTH)),
                );
            },
            _ => return Err(cursor.back(word, OPTION)),
        );
        Ok(())
    })?;
    Ok(())
}

fn entry(cursor: &mut Cursor<'_>) -> Parsed<Entry> {
    let name = cursor.astring(ENTRY)?;
    Entry::new(&name)
        .ok_or(Expected("an entry below /private or /shared, without *, % and empty levels, before this"))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use crate::imap::command::MailboxName;
    use alloc::borrow::Cow;
    use alloc::string::ToString;

    fn entry(name: &str) -> Entry {
        Entry::new(name.as_bytes()).unwrap()
    }

    fn got(line: &str) -> GetMetadata {
        match parse(line.as_bytes()).unwrap().body {
            CommandBody::GetMetadata(wanted) => wanted,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_stand_before_the_mailbox_or_behind_it() {
        let expected = GetMetadata {
            mailbox: MailboxName::inbox(),
            entries: vec![entry("/shared/comment"), entry("/private/comment")],
            max_size: Some(1024),
            depth: Depth::Infinity,
        };
        let before =
            "a GETMETADATA (MAXSIZE 1024 depth Infinity) INBOX (/shared/comment /Private/Comment)\r\n";
        let behind = "a GETMETADATA inbox (maxsize 1024 DEPTH infinity) (/shared/comment {16}\r\n/private/comment)\r\n";
        assert_eq!([got(before), got(behind)], [expected.clone(), expected]);
        let server = got("a getmetadata \"\" /shared/admin\r\n");
        assert!(
            server.mailbox.as_bytes().is_empty() && server.depth == Depth::Zero && server.max_size.is_none()
        );
    }

    #[test]
    fn values_are_strings_octets_or_nothing() {
        let line = b"a SETMETADATA \"\" (/private/a \"x \\\"y\" /private/b NIL /private/c ~{3+}\r\n\0\r\n /private/d {2}\r\nab)\r\n";
        let CommandBody::SetMetadata { values, .. } = parse(line).unwrap().body else { panic!() };
        let values: Vec<Option<&[u8]>> =
            values.iter().map(|(_, value)| value.as_ref().map(Cow::as_ref)).collect();
        assert_eq!(values, [Some(&b"x \"y"[..]), None, Some(b"\0\r\n"), Some(b"ab")]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for line in [
            "a GETMETADATA INBOX\r\n",
            "a GETMETADATA INBOX ()\r\n",
            "a GETMETADATA INBOX /elsewhere\r\n",
            "a GETMETADATA (MAXSIZE x) INBOX /private\r\n",
            "a GETMETADATA (DEPTH 2) INBOX /private\r\n",
            "a GETMETADATA (WIDTH 2) INBOX /private\r\n",
            "a SETMETADATA INBOX /private/a x\r\n",
            "a SETMETADATA INBOX (/private x)\r\n",
            "a SETMETADATA INBOX (/private/a)\r\n",
            "a SETMETADATA INBOX (/private/a {1}\r\n\0)\r\n",
        ] {
            assert!(parse(line.as_bytes()).unwrap_err().to_string().contains("expected"), "{line}");
        }
    }
}
