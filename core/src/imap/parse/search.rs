//! SEARCH, RFC 9051 §6.4.4; text is converted from the client's charset here.

use super::cursor::{Cursor, Expected, Parsed, upper};
use crate::imap::command::CommandBody;
use crate::imap::search::{SEARCH_DEPTH_MAX, SEARCH_KEYS_MAX, Search, SearchKey, SearchReturn};
use crate::mime::date::parse_search_date;
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use encoding_rs::{Encoding, UTF_8};

const KEY: &str = "a search key";

pub(super) fn search<'a>(cursor: &mut Cursor<'a>, uid: bool) -> Parsed<CommandBody<'a>> {
    cursor.space()?;
    let returns = if eat_word(cursor, b"RETURN ") { Some(return_options(cursor)?) } else { None };
    let mut reader = KeyReader { charset: Some(UTF_8), keys: 0 };
    let mut unknown_charset = None;
    if eat_word(cursor, b"CHARSET ") {
        let name = cursor.astring("a charset")?;
        reader.charset = Encoding::for_label_no_replacement(&name);
        if reader.charset.is_none() {
            unknown_charset = Some(String::from_utf8_lossy(&name).into_owned());
        }
        cursor.space()?;
    }
    let first = reader.key(cursor, 0)?;
    let key = reader.and_more(cursor, first, 0, Cursor::at_end)?;
    Ok(CommandBody::Search(Search { uid, returns, unknown_charset, key }))
}

fn eat_word(cursor: &mut Cursor<'_>, word: &[u8]) -> bool {
    let there = cursor.rest().get(..word.len()).is_some_and(|text| text.eq_ignore_ascii_case(word));
    if there {
        cursor.advance(word.len());
    }
    there
}

fn return_options(cursor: &mut Cursor<'_>) -> Parsed<SearchReturn> {
    const OPTION: &str = "MIN, MAX, ALL, COUNT, SAVE or PARTIAL";
    let mut returns = SearchReturn::default();
    cursor.list(OPTION, |cursor| {
        let word = cursor.name();
        match upper(word).as_slice() {
            b"MIN" => returns.min = true,
            b"MAX" => returns.max = true,
            b"ALL" => returns.all = true,
            b"COUNT" => returns.count = true,
            b"SAVE" => returns.save = true,
            b"PARTIAL" if returns.partial.is_some() => return Err(cursor.back(word, "one PARTIAL")),
            b"PARTIAL" => {
                cursor.space()?;
                returns.partial = Some(cursor.partial_range()?);
            }
            _ => return Err(cursor.back(word, OPTION)),
        }
        Ok(())
    })?;
    // RFC 9394 §3.1
    if returns.all && returns.partial.is_some() {
        return Err(Expected("only one of ALL and PARTIAL before this"));
    }
    cursor.space()?;
    if returns == SearchReturn::default() {
        returns.all = true;
    }
    Ok(returns)
}

struct KeyReader {
    /// What text is written in; `None` for a charset we do not know.
    charset: Option<&'static Encoding>,
    keys: usize,
}

impl KeyReader {
    /// Reads one key. Recursion is bounded by `SEARCH_DEPTH_MAX`.
    fn key(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Parsed<SearchKey> {
        self.keys += 1;
        if depth > SEARCH_DEPTH_MAX {
            return Err(Expected("keys nested at most 50 deep"));
        }
        if self.keys > SEARCH_KEYS_MAX {
            return Err(Expected("at most 1000 keys"));
        }
        match cursor.peek() {
            Some(b'(') => {
                cursor.eat(b'(');
                let first = self.key(cursor, depth + 1)?;
                let key = self.and_more(cursor, first, depth + 1, |cursor| cursor.peek() == Some(b')'))?;
                cursor.expect(b')', "a closing parenthesis")?;
                Ok(key)
            }
            Some(b'*' | b'0'..=b'9' | b'$') => Ok(SearchKey::Sequence(cursor.sequence_set()?)),
            Some(_) | None => {
                let word = cursor.atom(KEY)?;
                self.named_key(cursor, word, depth)
            }
        }
    }

    /// Reads the keys that follow a first one until `ends`; all of them must hold.
    fn and_more<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        first: SearchKey,
        depth: usize,
        ends: fn(&Cursor<'a>) -> bool,
    ) -> Parsed<SearchKey> {
        if ends(cursor) {
            return Ok(first);
        }
        let mut keys = Vec::new();
        keys.push(first);
        while !ends(cursor) {
            cursor.space()?;
            keys.push(self.key(cursor, depth)?);
        }
        Ok(SearchKey::And(keys))
    }

    fn named_key(&mut self, cursor: &mut Cursor<'_>, word: &[u8], depth: usize) -> Parsed<SearchKey> {
        if let Some((_, key)) = WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
            return Ok(key.clone());
        }
        if let Some((_, key)) = TEXTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
            return Ok(key(self.text(cursor)?));
        }
        if let Some((_, key)) = DATES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
            return Ok(key(day(cursor)?));
        }
        match upper(word).as_slice() {
            b"NOT" => {
                cursor.space()?;
                Ok(SearchKey::Not(Box::new(self.key(cursor, depth + 1)?)))
            }
            b"OR" => {
                cursor.space()?;
                let left = self.key(cursor, depth + 1)?;
                cursor.space()?;
                let right = self.key(cursor, depth + 1)?;
                Ok(SearchKey::Or(Box::new((left, right))))
            }
            b"UID" => {
                cursor.space()?;
                Ok(SearchKey::Uid(cursor.sequence_set()?))
            }
            b"KEYWORD" => Ok(SearchKey::Keyword(keyword(cursor)?)),
            b"UNKEYWORD" => Ok(SearchKey::Unkeyword(keyword(cursor)?)),
            b"HEADER" => {
                let name = self.text(cursor)?;
                Ok(SearchKey::Header { name, text: self.text(cursor)? })
            }
            b"LARGER" => Ok(SearchKey::Larger(size(cursor)?)),
            b"SMALLER" => Ok(SearchKey::Smaller(size(cursor)?)),
            b"OLDER" => Ok(SearchKey::Older(interval(cursor)?)),
            b"YOUNGER" => Ok(SearchKey::Younger(interval(cursor)?)),
            _ => Err(cursor.back(word, KEY)),
        }
    }

    /// A space and an astring in the charset.
    fn text(&self, cursor: &mut Cursor<'_>) -> Parsed<String> {
        cursor.space()?;
        let octets = cursor.astring("text to search for")?;
        match self.charset {
            // The command is going to be refused; its grammar is still checked.
            None => Ok(String::new()),
            Some(charset) => match charset.decode_without_bom_handling_and_without_replacement(&octets) {
                Some(text) => Ok(text.into_owned()),
                None => Err(Expected("text in the charset named (UTF-8 if none is), before this")),
            },
        }
    }
}

type Texts = (&'static [u8], fn(String) -> SearchKey);
type Dates = (&'static [u8], fn(i64) -> SearchKey);

/// The keys that are just a word.
static WORDS: [(&[u8], SearchKey); 14] = [
    (b"ALL", SearchKey::All),
    (b"ANSWERED", SearchKey::Answered),
    (b"DELETED", SearchKey::Deleted),
    (b"DRAFT", SearchKey::Draft),
    (b"FLAGGED", SearchKey::Flagged),
    (b"SEEN", SearchKey::Seen),
    (b"UNANSWERED", SearchKey::Unanswered),
    (b"UNDELETED", SearchKey::Undeleted),
    (b"UNDRAFT", SearchKey::Undraft),
    (b"UNFLAGGED", SearchKey::Unflagged),
    (b"UNSEEN", SearchKey::Unseen),
    (b"NEW", SearchKey::New),
    (b"OLD", SearchKey::Old),
    (b"RECENT", SearchKey::Recent),
];

/// The keys with one text.
const TEXTS: [Texts; 7] = [
    (b"BCC", SearchKey::Bcc),
    (b"BODY", SearchKey::Body),
    (b"CC", SearchKey::Cc),
    (b"FROM", SearchKey::From),
    (b"SUBJECT", SearchKey::Subject),
    (b"TEXT", SearchKey::Text),
    (b"TO", SearchKey::To),
];

/// The keys with one date.
const DATES: [Dates; 6] = [
    (b"BEFORE", SearchKey::Before),
    (b"ON", SearchKey::On),
    (b"SINCE", SearchKey::Since),
    (b"SENTBEFORE", SearchKey::SentBefore),
    (b"SENTON", SearchKey::SentOn),
    (b"SENTSINCE", SearchKey::SentSince),
];

/// A space and a date, quoted or not: days since 1970-01-01.
fn day(cursor: &mut Cursor<'_>) -> Parsed<i64> {
    cursor.space()?;
    let text = cursor.astring("a date such as 1-Feb-1994")?;
    parse_search_date(&text).ok_or(Expected("a date such as 1-Feb-1994 before this"))
}

fn keyword(cursor: &mut Cursor<'_>) -> Parsed<String> {
    cursor.space()?;
    let word = cursor.atom("a keyword")?;
    match core::str::from_utf8(word) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(cursor.back(word, "a keyword")),
    }
}

fn size(cursor: &mut Cursor<'_>) -> Parsed<u64> {
    cursor.space()?;
    cursor.number64("a number of octets")
}

// RFC 5032 §3: nz-number
fn interval(cursor: &mut Cursor<'_>) -> Parsed<u32> {
    cursor.space()?;
    match cursor.number("a number of seconds")? {
        0 => Err(Expected("a number of seconds above 0, before this")),
        seconds => Ok(seconds),
    }
}
