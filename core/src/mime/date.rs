//! Dates of mail: RFC 5322 §3.3 (read leniently, §4.3 included), IMAP's INTERNALDATE and SEARCH dates (RFC 9051 §9),
//! and the calendar arithmetic behind them. A moment is seconds since 1970-01-01T00:00:00Z; a zone is minutes east
//! of UTC. Leap seconds are read as the second before.

use alloc::format;
use alloc::string::String;

/// A moment and the zone it was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub unix_seconds: i64,
    /// Minutes east of UTC, within ±(99·60 + 59).
    pub offset_minutes: i32,
}

impl Date {
    /// The day, as days since 1970-01-01, in the date's own zone: what SEARCH SENTBEFORE and its like compare
    /// ("disregarding time and timezone", RFC 9051 §6.4.4).
    pub fn day(&self) -> i64 {
        local_seconds(self.unix_seconds, self.offset_minutes).div_euclid(DAY_SECONDS)
    }
}

const DAY_SECONDS: i64 = 86_400;
const OFFSET_MINUTES_MAX: i32 = 99 * 60 + 59;
/// Years 0 to 9999: what four digits can write.
const DAY_MIN: i64 = days_from_civil(0, 1, 1);
const DAY_MAX: i64 = days_from_civil(9999, 12, 31);
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// Days since 1970-01-01 of a day of the Gregorian calendar; `month` 1 to 12, `day` 1 to 31, years within ±10,000.
pub const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // The year begins in March, so that the leap day is its last; 400 years are 146,097 days.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month (1 to 12) and day (1 to 31) of a number of days since 1970-01-01, within ±10,000 years.
pub const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * from_march + 2) / 5 + 1, (from_march + 2) % 12 + 1);
    let year = era * 400 + year_of_era;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

/// `Tue, 24 Nov 2026 04:19:24 +0000`. A moment outside the years 0 to 9999 is drawn to the nearer end.
pub fn format_rfc5322(unix_seconds: i64, offset_minutes: i32) -> String {
    let civil = Civil::new(unix_seconds, offset_minutes);
    let Civil { weekday, year, month, day, hour, minute, second, zone } = civil;
    format!("{weekday}, {day} {month} {year:04} {hour:02}:{minute:02}:{second:02} {zone}")
}

/// `17-Jul-1996 02:44:25 -0700`, a one-digit day with a space before it (RFC 9051 §9 date-time, without its quotes).
pub fn format_internaldate(unix_seconds: i64, offset_minutes: i32) -> String {
    let civil = Civil::new(unix_seconds, offset_minutes);
    let Civil { year, month, day, hour, minute, second, zone, .. } = civil;
    format!("{day:2}-{month}-{year:04} {hour:02}:{minute:02}:{second:02} {zone}")
}

/// Reads a `Date` field's value. Day name, seconds and zone may be missing (UTC then), years may have two or three
/// digits, zones may be names (§4.3: unknown ones and military letters are UTC), comments are skipped.
/// `None` when day, month, year, hour or minute cannot be told.
pub fn parse_rfc5322(value: &[u8]) -> Option<Date> {
    let mut words = Words { rest: value };
    let mut first = words.next()?;
    if !first.first()?.is_ascii_digit() && month_number(first).is_none() {
        first = words.next()?;
    }
    // "24 Nov 2026", and ctime's "Nov 24 04:19:24 2026".
    let (day, month, late_year) = match month_number(first) {
        Some(month) => (number(words.next()?, 2)?, month, true),
        None => (number(first, 2)?, month_number(words.next()?)?, false),
    };
    let mut year = if late_year { None } else { Some(words.next()?) };
    let (hour, minute, second) = time_of_day(words.next()?)?;
    let mut zone = words.next();
    if late_year {
        // ctime writes the zone, if any, before or after the year.
        let word = zone?;
        let year_first = number(word, 4).is_some() && word.len() == 4;
        (year, zone) = if year_first { (Some(word), words.next()) } else { (words.next(), Some(word)) };
    }
    let digits = year?;
    let year = match (digits.len(), number(digits, 4)?) {
        (4, year) => year,
        // RFC 5322 §4.3.
        (2, year) if year < 50 => 2000 + year,
        (2 | 3, year) => 1900 + year,
        _ => return None,
    };
    date(year, month, day, (hour, minute, second), zone.map_or(0, zone_minutes))
}

/// Reads `17-Jul-1996 02:44:25 -0700` or ` 1-Feb-1994 …` (RFC 9051 §9 date-time, without its quotes), strictly.
pub fn parse_internaldate(text: &[u8]) -> Option<Date> {
    let (day_text, rest) = text.split_at_checked(11)?;
    if day_text.get(2) != Some(&b'-') {
        return None;
    }
    let days = parse_search_date(day_text.strip_prefix(b" ").unwrap_or(day_text))?;
    let (time, zone) = rest.strip_prefix(b" ")?.split_at_checked(8)?;
    let zone = zone.strip_prefix(b" ").filter(|zone| zone.len() == 5)?;
    let (hour, minute, second) = time_of_day(time)?;
    let offset_minutes = numeric_zone(zone)?;
    let (year, month, day) = civil_from_days(days);
    date(year, month, day, (hour, minute, second), offset_minutes)
}

/// Reads `1-Feb-1994` or `01-Feb-1994` (RFC 9051 §9 date-text): days since 1970-01-01.
pub fn parse_search_date(text: &[u8]) -> Option<i64> {
    let mut pieces = text.split(|&byte| byte == b'-');
    let (day, month, year) = (pieces.next()?, pieces.next()?, pieces.next()?);
    if pieces.next().is_some() || month.len() != 3 || year.len() != 4 {
        return None;
    }
    civil_day(number(year, 4)?, month_number(month)?, number(day, 2)?)
}

/// A moment taken apart for writing.
struct Civil {
    weekday: &'static str,
    year: i64,
    month: &'static str,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    zone: String,
}

impl Civil {
    fn new(unix_seconds: i64, offset_minutes: i32) -> Civil {
        let offset_minutes = offset_minutes.clamp(-OFFSET_MINUTES_MAX, OFFSET_MINUTES_MAX);
        let last = DAY_MAX * DAY_SECONDS + DAY_SECONDS - 1;
        let local = local_seconds(unix_seconds, offset_minutes).clamp(DAY_MIN * DAY_SECONDS, last);
        let (days, seconds) = (local.div_euclid(DAY_SECONDS), local.rem_euclid(DAY_SECONDS));
        let (year, month, day) = civil_from_days(days);
        let sign = if offset_minutes < 0 { '-' } else { '+' };
        let offset = offset_minutes.unsigned_abs();
        Civil {
            weekday: name(&WEEKDAYS, days.rem_euclid(7)),
            year,
            month: name(&MONTHS, month - 1),
            day,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            zone: format!("{sign}{:02}{:02}", offset / 60, offset % 60),
        }
    }
}

fn name(names: &[&'static str], index: i64) -> &'static str {
    usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
}

fn local_seconds(unix_seconds: i64, offset_minutes: i32) -> i64 {
    unix_seconds.saturating_add(i64::from(offset_minutes) * 60)
}

fn date(year: i64, month: i64, day: i64, time: (i64, i64, i64), offset_minutes: i32) -> Option<Date> {
    let (hour, minute, second) = time;
    let local = civil_day(year, month, day)? * DAY_SECONDS + hour * 3600 + minute * 60 + second;
    Some(Date { unix_seconds: local - i64::from(offset_minutes) * 60, offset_minutes })
}

/// The day's number, when the calendar has that day.
fn civil_day(year: i64, month: i64, day: i64) -> Option<i64> {
    let days = days_from_civil(year, month, day);
    (day >= 1 && civil_from_days(days) == (year, month, day)).then_some(days)
}

fn month_number(word: &[u8]) -> Option<i64> {
    let prefix = word.get(..3)?;
    let index = MONTHS.iter().position(|month| prefix.eq_ignore_ascii_case(month.as_bytes()))?;
    i64::try_from(index + 1).ok()
}

/// One to `digits_max` digits and nothing else.
fn number(word: &[u8], digits_max: usize) -> Option<i64> {
    let ok = !word.is_empty() && word.len() <= digits_max && word.iter().all(u8::is_ascii_digit);
    ok.then(|| word.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

/// `hh:mm` or `hh:mm:ss`, with dots for colons too. A leap second is the second before it.
fn time_of_day(word: &[u8]) -> Option<(i64, i64, i64)> {
    let mut pieces = word.split(|&byte| matches!(byte, b':' | b'.'));
    let (hour, minute) = (number(pieces.next()?, 2)?, number(pieces.next()?, 2)?);
    let second = pieces.next().map_or(Some(0), |word| number(word, 2))?;
    let ok = hour < 24 && minute < 60 && second <= 60 && pieces.next().is_none();
    ok.then_some((hour, minute, second.min(59)))
}

fn numeric_zone(word: &[u8]) -> Option<i32> {
    let (sign, digits) = word.split_first()?;
    let digits = i32::try_from(number(digits, 4).filter(|_| digits.len() == 4)?).ok()?;
    let minutes = digits / 100 * 60 + digits % 100;
    match sign {
        b'+' if digits % 100 < 60 => Some(minutes),
        b'-' if digits % 100 < 60 => Some(-minutes),
        _ => None,
    }
}

fn zone_minutes(word: &[u8]) -> i32 {
    const NAMES: [(&[u8], i32); 8] = [
        (b"EST", -300),
        (b"EDT", -240),
        (b"CST", -360),
        (b"CDT", -300),
        (b"MST", -420),
        (b"MDT", -360),
        (b"PST", -480),
        (b"PDT", -420),
    ];
    let named =
        || NAMES.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, minutes)| *minutes);
    numeric_zone(word).or_else(named).unwrap_or(0)
}

/// Words between white space, commas and comments; a sign begins a word of its own ("10:00:00+0200").
struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    fn skip_blanks_and_comments(&mut self) {
        let mut depth = 0_usize;
        while let Some((byte, rest)) = self.rest.split_first() {
            match byte {
                b'(' => depth += 1,
                b')' => depth = depth.saturating_sub(1),
                b' ' | b'\t' | b'\r' | b'\n' | b',' => {}
                _ if depth == 0 => return,
                _ => {}
            }
            self.rest = rest;
        }
    }

    fn next(&mut self) -> Option<&'a [u8]> {
        self.skip_blanks_and_comments();
        let ends = |&(index, &byte): &(usize, &u8)| {
            matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b'(') || (index > 0 && byte == b'+')
        };
        let end = self.rest.iter().enumerate().find(ends).map_or(self.rest.len(), |(index, _)| index);
        let (word, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<(i64, i32)> {
        parse_rfc5322(text.as_bytes()).map(|date| (date.unix_seconds, date.offset_minutes))
    }

    #[test]
    fn rfc5322_examples_and_what_people_write() {
        // Appendix A.1.1, A.5, A.6.2 and friends; the numbers are date(1)'s.
        assert_eq!(read("Fri, 21 Nov 1997 09:55:06 -0600"), Some((880_127_706, -360)));
        assert_eq!(read("21 Nov 49 09:55:06 GMT"), read("21 Nov 2049 09:55:06 GMT"));
        assert_eq!(read("21 Nov 50 09:55:06 GMT"), read("21 Nov 1950 09:55:06 GMT"));
        let comments =
            "Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n -0330 (Newfoundland Time)";
        assert_eq!(read(comments), Some((-27_723_480, -210)));
        assert_eq!(read("21 Nov 97 09:55:06 GMT"), Some((880_106_106, 0)));
        assert_eq!(read("(a(b)c)Fri,21 Nov 1997 09(comment)"), None);
        assert_eq!(read("Tue, 1 Feb 2022 00:00 PDT"), Some((1_643_698_800, -420)));
        assert_eq!(read("1 February 122 00:00:60 Z"), Some((1_643_673_659, 0)));
        assert_eq!(read("Sat Sep  8 21:46:40 2001"), Some((999_985_600, 0)));
        assert_eq!(read("Sat Sep  8 21:46:40 EDT 2001"), Some((1_000_000_000, -240)));
        assert_eq!(read("Sun, 09 Sep 2001 01:46:40+0000"), Some((1_000_000_000, 0)));
        for bad in [
            "",
            "Fri",
            "31 Feb 2020 00:00 +0000",
            "1 Foo 2020 00:00",
            "1 Jan 2020 24:00",
            "0 Jan 2020 00:00",
            "1 Jan 20200 00:00",
            "((((",
            "1 Jan 2020",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn formats() {
        assert_eq!(format_rfc5322(1_795_493_964, 0), "Tue, 24 Nov 2026 04:19:24 +0000");
        assert_eq!(format_rfc5322(0, -150), "Wed, 31 Dec 1969 21:30:00 -0230");
        assert_eq!(format_internaldate(837_596_665, -420), "17-Jul-1996 02:44:25 -0700");
        assert_eq!(format_internaldate(760_060_800, 0), " 1-Feb-1994 00:00:00 +0000");
        assert_eq!(format_rfc5322(i64::MAX, i32::MAX), "Fri, 31 Dec 9999 23:59:59 +9959");
        assert_eq!(format_rfc5322(i64::MIN, i32::MIN), "Sat, 1 Jan 0000 00:00:00 -9959");
    }

    #[test]
    fn imap_dates() {
        let date = Date { unix_seconds: 837_596_665, offset_minutes: -420 };
        assert_eq!(parse_internaldate(b"17-Jul-1996 02:44:25 -0700"), Some(date));
        assert_eq!(date.day(), parse_search_date(b"17-jul-1996").unwrap());
        assert_eq!(parse_search_date(b"1-Feb-1994"), Some(8797));
        assert_eq!(parse_search_date(b"29-Feb-1900"), None);
        for bad in [
            "1-Feb-1994 00:00:00 +0000",
            " 1-Feb-1994 00:00 +0000",
            " 1-Feb-1994 00:00:00 UTC",
            " 1-Feb-1994 00:00:00 +0060",
            "",
            "17-Jul-1996",
        ] {
            assert_eq!(parse_internaldate(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn calendar_round_trip(days in DAY_MIN..=DAY_MAX) {
            let (year, month, day) = civil_from_days(days);
            prop_assert_eq!(days_from_civil(year, month, day), days);
            let (next_year, next_month, next_day) = civil_from_days(days + 1);
            prop_assert!((next_year, next_month, next_day) > (year, month, day));
        }

        #[test]
        fn format_and_parse(unix in -62_000_000_000_i64..253_000_000_000, offset in -1439_i32..=1439) {
            let date = Date { unix_seconds: unix, offset_minutes: offset };
            prop_assert_eq!(parse_rfc5322(format_rfc5322(unix, offset).as_bytes()), Some(date));
            prop_assert_eq!(parse_internaldate(format_internaldate(unix, offset).as_bytes()), Some(date));
        }

        #[test]
        fn never_panics(text in "[0-9a-zA-Z:+(), \\-.\u{e9}]{0,60}") {
            let _ = (read(&text), parse_internaldate(text.as_bytes()), parse_search_date(text.as_bytes()));
        }
    }
}
