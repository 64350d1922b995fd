//! The dates of a certificate (RFC 5280 §4.1.2.5), read from its DER without a library for the rest of it.

/// From when until when a certificate is good, in seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// The first second.
    pub not_before: i64,
    /// The last second.
    pub not_after: i64,
}

impl Validity {
    /// The last day, as `2049-12-31`.
    pub fn last_day(self) -> String {
        let (year, month, day) = civil_date(self.not_after);
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// Of a certificate in DER; `None` when its structure is not one.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        // Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { version [0], serialNumber, signature,
        //                            issuer, validity SEQUENCE { notBefore, notAfter }, … } … }
        let (_, certificate, _) = element(certificate)?;
        let (_, mut fields, _) = element(certificate)?;
        let (tag, _, rest) = element(fields)?;
        if tag == 0xa0 {
            fields = rest;
        }
        for _ in ["serialNumber", "signature", "issuer"] {
            (_, _, fields) = element(fields)?;
        }
        let (_, validity, _) = element(fields)?;
        let (tag, not_before, rest) = element(validity)?;
        let not_before = time(tag, not_before)?;
        let (tag, not_after, _) = element(rest)?;
        Some(Self { not_before, not_after: time(tag, not_after)? })
    }
}

/// Tag, content, and what follows.
pub(super) fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f).min(4))?;
        (octets.iter().fold(0, |length, &octet| length << 8 | usize::from(octet)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` (UTCTime, 1950 to 2049) or `YYYYMMDDHHMMSSZ` (GeneralizedTime).
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    let mut pairs = [0_i64; 7];
    let pairs_used = digits.len() / 2;
    for (pair, value) in digits.chunks_exact(2).zip(&mut pairs) {
        *value = std::str::from_utf8(pair).ok()?.parse().ok()?;
    }
    let (year, [month, day, hour, minute, second]) = match (tag, pairs_used, pairs) {
        (0x17, 6, [year, rest @ .., _]) => (if year < 50 { 2000 + year } else { 1900 + year }, rest),
        (0x18, 7, [century, year, rest @ ..]) => (century * 100 + year, rest),
        _ => return None,
    };
    Some(((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days since 1970-01-01 of a date of the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // The year begins in March, so that the leap day is its last.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// Year, month and day of a second since 1970.
fn civil_date(seconds: i64) -> (i64, i64, i64) {
    let days = seconds.div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = (era * 400 + year_of_era, if month < 10 { month + 3 } else { month - 9 });
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_time() {
        assert_eq!(time(0x17, b"700101000000Z"), Some(0));
        assert_eq!(time(0x17, b"260229235959Z"), time(0x18, b"20260229235959Z"));
        assert_eq!(time(0x18, b"20261124043602Z"), Some(1_795_494_962));
        for bad in [&b"700101000000"[..], b"7001010000Z", b"", b"Z", b"xx0101000000Z"] {
            assert_eq!(time(0x17, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn dates_go_both_ways() {
        for days in (-800_000_i64..800_000).step_by(97) {
            let (year, month, day) = civil_date(days * 86_400);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(civil_date(1_795_494_962), (2026, 11, 24));
    }

    proptest::proptest! {
        #[test]
        fn any_octets_are_read_without_panic(der in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            Validity::of(&der);
        }
    }
}
