//! SORT and THREAD, RFC 5256: a search with an order.

use super::cursor::{Cursor, Expected, Parsed};
use super::search;
use crate::imap::command::{CommandBody, Thread};
use crate::imap::sort::{SORT_CRITERIA_MAX, Sort, SortCriterion, SortKey};
use crate::imap::thread::Algorithm;
use alloc::boxed::Box;
use alloc::vec::Vec;

pub(super) fn sort<'a>(cursor: &mut Cursor<'a>, uid: bool) -> Parsed<CommandBody<'a>> {
    cursor.space()?;
    // RFC 5267 §3: ESORT
    let returns = search::returns(cursor, None)?;
    let criteria = criteria(cursor)?;
    cursor.space()?;
    let search = search::criteria_in_charset(cursor, uid, returns)?;
    Ok(CommandBody::Sort(Box::new(Sort { search, criteria })))
}

pub(super) fn thread<'a>(cursor: &mut Cursor<'a>, uid: bool) -> Parsed<CommandBody<'a>> {
    const ALGORITHM: &str = "ORDEREDSUBJECT or REFERENCES";
    cursor.space()?;
    let word = cursor.atom(ALGORITHM)?;
    let known = Algorithm::ALL.into_iter().find(|known| known.name().as_bytes().eq_ignore_ascii_case(word));
    let Some(algorithm) = known else { return Err(cursor.back(word, ALGORITHM)) };
    cursor.space()?;
    let search = search::criteria_in_charset(cursor, uid, None)?;
    Ok(CommandBody::Thread(Box::new(Thread { algorithm, search })))
}

fn criteria(cursor: &mut Cursor<'_>) -> Parsed<Vec<SortCriterion>> {
    const KEY: &str = "a sort key such as DATE";
    let criteria = cursor.list("a list of sort keys", |cursor| {
        let mut word = cursor.name();
        let reverse = word.eq_ignore_ascii_case(b"REVERSE");
        if reverse {
            cursor.space()?;
            word = cursor.name();
        }
        let known = SortKey::ALL.into_iter().find(|known| known.name().as_bytes().eq_ignore_ascii_case(word));
        match known {
            Some(key) => Ok(SortCriterion { key, reverse }),
            None => Err(cursor.back(word, KEY)),
        }
    })?;
    match criteria.len() {
        1..=SORT_CRITERIA_MAX => Ok(criteria),
        _ => Err(Expected("1 to 16 sort keys before this")),
    }
}
