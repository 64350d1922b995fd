//! The dates of SEARCH and APPEND, RFC 9051 §9 date and date-time.

use super::cursor::{Cursor, Expected, Parsed};
use crate::imap::command::DateTime;
use crate::imap::search::Day;

const DATE: &str = "a date such as 1-Feb-1994";
const DATE_TIME: &str = "a date such as \"17-Jul-1996 02:44:25 -0700\"";

const MONTHS: [&[u8; 3]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];

/// `1-Feb-1994`, with or without quotes.
pub(super) fn date(cursor: &mut Cursor<'_>) -> Parsed<Day> {
    let quoted = cursor.eat(b'"');
    let day = day(cursor, DATE)?;
    if quoted {
        cursor.expect(b'"', "a closing quote")?;
    }
    Ok(day)
}

/// `"17-Jul-1996 02:44:25 -0700"`; a day below 10 has a space before it.
pub(super) fn date_time(cursor: &mut Cursor<'_>) -> Parsed<DateTime> {
    cursor.expect(b'"', DATE_TIME)?;
    cursor.eat(b' ');
    let day = day(cursor, DATE_TIME)?;
    cursor.expect(b' ', DATE_TIME)?;
    let hour = digits(cursor, 2, 23, DATE_TIME)? as u8;
    cursor.expect(b':', DATE_TIME)?;
    let minute = digits(cursor, 2, 59, DATE_TIME)? as u8;
    cursor.expect(b':', DATE_TIME)?;
    let second = digits(cursor, 2, 60, DATE_TIME)? as u8;
    cursor.expect(b' ', DATE_TIME)?;
    let west = match cursor.peek() {
        Some(b'-') => true,
        Some(b'+') => false,
        Some(_) | None => return Err(Expected("a zone such as +0100")),
    };
    cursor.advance(1);
    let hours = digits(cursor, 2, 23, "a zone such as +0100")? as i16;
    let minutes = digits(cursor, 2, 59, "a zone such as +0100")? as i16;
    cursor.expect(b'"', "a closing quote")?;
    let zone_minutes = if west { -(hours * 60 + minutes) } else { hours * 60 + minutes };
    Ok(DateTime { day, hour, minute, second, zone_minutes })
}

fn day(cursor: &mut Cursor<'_>, expected: &'static str) -> Parsed<Day> {
    let day = cursor.number(expected)?;
    cursor.expect(b'-', expected)?;
    let rest = cursor.rest();
    let found =
        MONTHS.iter().position(|name| rest.get(..3).is_some_and(|text| text.eq_ignore_ascii_case(*name)));
    let Some((month, index)) = found.and_then(|index| Some((u8::try_from(index + 1).ok()?, index))) else {
        return Err(Expected(expected));
    };
    cursor.advance(3);
    cursor.expect(b'-', expected)?;
    let year = digits(cursor, 4, 9999, expected)? as u16;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let longest = match index {
        1 if leap => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    };
    match u8::try_from(day) {
        Ok(day) if (1..=longest).contains(&day) => Ok(Day { year, month, day }),
        Ok(_) | Err(_) => Err(Expected("a day that the month has, before this")),
    }
}

/// Exactly `count` digits with a value of at most `largest`, which is below 10,000.
fn digits(cursor: &mut Cursor<'_>, count: usize, largest: u32, expected: &'static str) -> Parsed<u32> {
    let mut value = 0;
    for _ in 0..count {
        let Some(digit) = cursor.peek().filter(u8::is_ascii_digit) else { return Err(Expected(expected)) };
        cursor.eat(digit);
        value = value * 10 + u32::from(digit - b'0');
    }
    if value <= largest { Ok(value) } else { Err(Expected(expected)) }
}
