//! SEARCH, RFC 9051 §6.4.4, and what SORT and THREAD have of it; text is converted from the client's charset here.

use super::cursor::{Cursor, Expected, Parsed};
use super::{fetch, notify};
use crate::imap::command::{CommandBody, MultiSearch};
use crate::imap::fetch::FetchItem;
use crate::imap::search::{SEARCH_DEPTH_MAX, SEARCH_KEYS_MAX, Search, SearchKey, SearchReturn};
use crate::mime::date::parse_search_date;
use crate::wire::keyword::match_keyword;
use crate::wire::utf7;
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use encoding_rs::{Encoding, UTF_8};

const KEY: &str = "a search key";

/// Too long to be one number.
const SAVE_DATE_SUPPORTED: &[u8] = b"SAVEDATESUPPORTED";

pub(super) fn search<'a>(cursor: &mut Cursor<'a>, uid: bool) -> Parsed<CommandBody<'a>> {
    cursor.space()?;
    let mut update = None;
    let returns = returns(cursor, Some(&mut update))?;
    let search = program(cursor, uid, returns)?;
    Ok(CommandBody::Search(Box::new(Search { update, ..search })))
}

/// What SEARCH and ESEARCH have in common: CHARSET, and the keys.
fn program(cursor: &mut Cursor<'_>, uid: bool, returns: Option<SearchReturn>) -> Parsed<Search> {
    match eat_word(cursor, b"CHARSET ") {
        true => criteria_in_charset(cursor, uid, returns),
        false => criteria(cursor, uid, returns, Some(Charset::Standard(UTF_8))),
    }
}

// RFC 7377 §3
pub(super) fn esearch<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    const SOURCES: &str = "filters of mailboxes in parentheses";
    cursor.space()?;
    let (mut sources, mut names) = (Vec::new(), notify::NAMES_MAX);
    if eat_word(cursor, b"IN ") {
        sources = cursor.list(SOURCES, |cursor| notify::source(cursor, &mut names))?;
        if sources.is_empty() || sources.len() > notify::GROUPS_MAX {
            return Err(Expected("1 to 32 filters before this"));
        }
        cursor.space()?;
    }
    let returns = returns(cursor, None)?;
    let search = program(cursor, true, returns)?;
    Ok(CommandBody::MultiSearch(Box::new(MultiSearch { sources, search })))
}

/// What is to be fetched of messages that come into the result, if UPDATE is said.
type Update = Option<Vec<FetchItem>>;

/// `RETURN (…) `, if it is there. `update`: a place for UPDATE, where that may be said.
pub(super) fn returns(cursor: &mut Cursor<'_>, update: Option<&mut Update>) -> Parsed<Option<SearchReturn>> {
    if eat_word(cursor, b"RETURN ") { return_options(cursor, update).map(Some) } else { Ok(None) }
}

/// The name of a charset and the keys, as SORT and THREAD have them and SEARCH after CHARSET.
pub(super) fn criteria_in_charset(
    cursor: &mut Cursor<'_>,
    uid: bool,
    returns: Option<SearchReturn>,
) -> Parsed<Search> {
    let name = cursor.astring("a charset")?;
    let charset = Charset::named(&name);
    cursor.space()?;
    let search = criteria(cursor, uid, returns, charset)?;
    let unknown_charset = charset.is_none().then(|| String::from_utf8_lossy(&name).into_owned());
    Ok(Search { names_charset: true, unknown_charset, ..search })
}

fn criteria(
    cursor: &mut Cursor<'_>,
    uid: bool,
    returns: Option<SearchReturn>,
    charset: Option<Charset>,
) -> Parsed<Search> {
    let mut reader = KeyReader { charset, keys: 0, numbers: false, modseq: false };
    let first = reader.key(cursor, 0)?;
    let key = reader.and_more(cursor, first, 0, Cursor::at_end)?;
    let KeyReader { numbers, modseq, .. } = reader;
    let (update, unknown_charset) = (None, None);
    Ok(Search { uid, returns, update, names_charset: false, unknown_charset, numbers, modseq, key })
}

fn eat_word(cursor: &mut Cursor<'_>, word: &[u8]) -> bool {
    let there = cursor.rest().get(..word.len()).is_some_and(|text| text.eq_ignore_ascii_case(word));
    if there {
        cursor.advance(word.len());
    }
    there
}

fn return_options(cursor: &mut Cursor<'_>, mut update: Option<&mut Update>) -> Parsed<SearchReturn> {
    const OPTION: &str = "MIN, MAX, ALL, COUNT, SAVE or PARTIAL";
    const SEARCH_OPTION: &str = "MIN, MAX, ALL, COUNT, SAVE, PARTIAL, CONTEXT or UPDATE";
    const CONTEXT: &str = "CONTEXT and UPDATE in SEARCH only";
    let mut returns = SearchReturn::default();
    cursor.list(OPTION, |cursor| {
        let word = cursor.name();
        match_keyword!(word,
            "MIN" => returns.min = true,
            "MAX" => returns.max = true,
            "ALL" => returns.all = true,
            "COUNT" => returns.count = true,
            "SAVE" => returns.save = true,
            "PARTIAL" if returns.partial.is_some() => return Err(cursor.back(word, "one PARTIAL")),
            "PARTIAL" => {
                cursor.space()?;
                returns.partial = Some(cursor.partial_range()?);
            },
            // RFC 5267 §4.2: a hint that more searches like this one will come.
            "CONTEXT" if update.is_some() => {},
            "UPDATE" if update.is_some() => {
                returns.update = true;
                if let Some(update) = &mut update {
                    **update = Some(items_to_fetch(cursor)?);
                }
            },
            "CONTEXT" => return Err(cursor.back(word, CONTEXT)),
            "UPDATE" => return Err(cursor.back(word, CONTEXT)),
            _ => return Err(cursor.back(word, if update.is_some() { SEARCH_OPTION } else { OPTION })),
        );
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

/// What is to be fetched of messages that come into the result, in parentheses (RFC 5465 §7), or nothing.
fn items_to_fetch(cursor: &mut Cursor<'_>) -> Parsed<Vec<FetchItem>> {
    if !cursor.rest().starts_with(b" (") {
        return Ok(Vec::new());
    }
    cursor.space()?;
    fetch::items(cursor)
}

/// What text is written in.
#[derive(Clone, Copy)]
enum Charset {
    /// One of the WHATWG Encoding Standard.
    Standard(&'static Encoding),
    /// UTF-7, which that standard bars from documents.
    Utf7,
}

impl Charset {
    fn named(name: &[u8]) -> Option<Charset> {
        match name.eq_ignore_ascii_case(b"UTF-7") {
            true => Some(Charset::Utf7),
            false => Encoding::for_label_no_replacement(name).map(Charset::Standard),
        }
    }

    fn decode(self, octets: &[u8]) -> Option<String> {
        match self {
            Charset::Standard(encoding) => {
                Some(encoding.decode_without_bom_handling_and_without_replacement(octets)?.into_owned())
            }
            Charset::Utf7 => utf7::decode(octets),
        }
    }
}

struct KeyReader {
    /// What text is written in; `None` for a charset we do not know.
    charset: Option<Charset>,
    keys: usize,
    /// Sequence numbers were among them.
    numbers: bool,
    /// MODSEQ was among them.
    modseq: bool,
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
            Some(b'*' | b'0'..=b'9' | b'$') => {
                let set = cursor.sequence_set()?;
                self.numbers |= !set.is_saved();
                Ok(SearchKey::Sequence(set))
            }
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
        Ok(match_keyword!(word,
            "ALL" => SearchKey::All,
            "ANSWERED" => SearchKey::Answered,
            "DELETED" => SearchKey::Deleted,
            "DRAFT" => SearchKey::Draft,
            "FLAGGED" => SearchKey::Flagged,
            "SEEN" => SearchKey::Seen,
            "UNANSWERED" => SearchKey::Unanswered,
            "UNDELETED" => SearchKey::Undeleted,
            "UNDRAFT" => SearchKey::Undraft,
            "UNFLAGGED" => SearchKey::Unflagged,
            "UNSEEN" => SearchKey::Unseen,
            "NEW" => SearchKey::New,
            "OLD" => SearchKey::Old,
            "RECENT" => SearchKey::Recent,
            "KEYWORD" => SearchKey::Keyword(keyword(cursor)?),
            "UNKEYWORD" => SearchKey::Unkeyword(keyword(cursor)?),
            "BCC" => SearchKey::Bcc(self.text(cursor)?),
            "BODY" => SearchKey::Body(self.text(cursor)?),
            "CC" => SearchKey::Cc(self.text(cursor)?),
            "FROM" => SearchKey::From(self.text(cursor)?),
            "SUBJECT" => SearchKey::Subject(self.text(cursor)?),
            "TEXT" => SearchKey::Text(self.text(cursor)?),
            "TO" => SearchKey::To(self.text(cursor)?),
            "EMAILID" => SearchKey::EmailId(self.text(cursor)?),
            "THREADID" => SearchKey::ThreadId(self.text(cursor)?),
            "HEADER" => SearchKey::Header { name: self.text(cursor)?, text: self.text(cursor)? },
            "BEFORE" => SearchKey::Before(day(cursor)?),
            "ON" => SearchKey::On(day(cursor)?),
            "SINCE" => SearchKey::Since(day(cursor)?),
            "SENTBEFORE" => SearchKey::SentBefore(day(cursor)?),
            "SENTON" => SearchKey::SentOn(day(cursor)?),
            "SENTSINCE" => SearchKey::SentSince(day(cursor)?),
            "SAVEDBEFORE" => SearchKey::SavedBefore(day(cursor)?),
            "SAVEDON" => SearchKey::SavedOn(day(cursor)?),
            "SAVEDSINCE" => SearchKey::SavedSince(day(cursor)?),
            "LARGER" => SearchKey::Larger(size(cursor)?),
            "SMALLER" => SearchKey::Smaller(size(cursor)?),
            "OLDER" => SearchKey::Older(interval(cursor)?),
            "YOUNGER" => SearchKey::Younger(interval(cursor)?),
            "MODSEQ" => {
                self.modseq = true;
                SearchKey::ModSeq(mod_sequence(cursor)?)
            },
            "UID" => {
                cursor.space()?;
                SearchKey::Uid(cursor.sequence_set()?)
            },
            "NOT" => {
                cursor.space()?;
                SearchKey::Not(Box::new(self.key(cursor, depth + 1)?))
            },
            "OR" => {
                cursor.space()?;
                let left = self.key(cursor, depth + 1)?;
                cursor.space()?;
                SearchKey::Or(Box::new((left, self.key(cursor, depth + 1)?)))
            },
            _ => match word.eq_ignore_ascii_case(SAVE_DATE_SUPPORTED) {
                true => SearchKey::SaveDateSupported,
                false => return Err(cursor.back(word, KEY)),
            },
        ))
    }

    /// A space and an astring in the charset.
    fn text(&self, cursor: &mut Cursor<'_>) -> Parsed<String> {
        cursor.space()?;
        let octets = cursor.astring("text to search for")?;
        match self.charset {
            // The command is going to be refused; its grammar is still checked.
            None => Ok(String::new()),
            Some(charset) => match charset.decode(&octets) {
                Some(text) => Ok(text),
                None => Err(Expected("text in the charset named (UTF-8 if none is), before this")),
            },
        }
    }
}

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

/// RFC 7162 §3.1.5: mod-sequences are those of messages here, so the one of a flag's metadata is that of its message.
fn mod_sequence(cursor: &mut Cursor<'_>) -> Parsed<u64> {
    const SHARING: &str = "priv, shared or all";
    cursor.space()?;
    if cursor.peek() == Some(b'"') {
        cursor.string()?;
        cursor.space()?;
        let word = cursor.name();
        if ![&b"priv"[..], b"shared", b"all"].iter().any(|known| word.eq_ignore_ascii_case(known)) {
            return Err(cursor.back(word, SHARING));
        }
        cursor.space()?;
    }
    cursor.modseq()
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
