//! Targets for `postier_core::mime`.

use postier_core::mime::header::{fields, header_bytes, unfold};
use postier_core::mime::header_scanner::{HELD_BYTES_MAX, HeaderScanner};
use postier_core::mime::{address, date};

use crate::assert_split_invariant;

/// A message's header: its fields one by one, and as it passes by.
pub fn mime_header(message: &[u8]) {
    let end = header_bytes(message);
    let mut at = 0;
    for field in fields(message) {
        assert_eq!(field.range.start, at, "the fields leave nothing out");
        assert!(field.range.end > at);
        at = field.range.end;
        assert!(!unfold(field.value).contains(&b'\n'));
    }
    assert!(at <= end && end - at <= 2, "all that follows the fields is the empty line");

    assert_split_invariant(message, |pieces| {
        let (mut scanner, mut header, mut body, mut ended) =
            (HeaderScanner::new(), Vec::new(), Vec::new(), false);
        for piece in pieces {
            if ended {
                body.extend_from_slice(piece);
                continue;
            }
            let scan = scanner.feed(piece);
            header.extend_from_slice(scan.released);
            header.extend_from_slice(&piece[..scan.header_bytes]);
            ended = scan.end.is_some();
            let taken = scan.header_bytes;
            if ended {
                body.extend_from_slice(scanner.held());
                body.extend_from_slice(&piece[taken..]);
            }
            assert!(scanner.held().len() <= HELD_BYTES_MAX);
        }
        let end = scanner.finish();
        if !ended {
            body.extend_from_slice(scanner.held());
        }
        assert_eq!([&header[..], &body].concat(), message, "nothing is lost");
        let has = (scanner.has_date(), scanner.has_message_id(), scanner.has_from());
        (header, end, scanner.received_count(), has)
    });
}

/// The value of an address field.
pub fn mime_address(value: &[u8]) {
    let entries = address::parse(value);
    assert!(entries.len() <= address::ADDRESSES_MAX);
    let mut in_group = false;
    for entry in entries {
        match entry {
            address::Entry::Mailbox(mailbox) => {
                let octets =
                    mailbox.name.len() + mailbox.route.len() + mailbox.mailbox.len() + mailbox.host.len();
                assert!(octets <= 2 * value.len(), "it is made of what was there");
            }
            address::Entry::GroupStart(_) => {
                assert!(!in_group, "groups do not nest");
                in_group = true;
            }
            address::Entry::GroupEnd => {
                assert!(in_group, "an end has a start");
                in_group = false;
            }
        }
    }
}

/// Dates, in the three forms there are.
pub fn mime_date(value: &[u8]) {
    let dates = [date::parse_rfc5322(value), date::parse_internaldate(value)];
    for moment in dates.into_iter().flatten() {
        let (seconds, offset) = (moment.unix_seconds, moment.offset_minutes);
        // Another zone may push the edges out of the four-digit years.
        if !(-62_100_000_000..253_300_000_000).contains(&seconds) {
            continue;
        }
        assert_eq!(date::parse_rfc5322(date::format_rfc5322(seconds, offset).as_bytes()), Some(moment));
        assert_eq!(
            date::parse_internaldate(date::format_internaldate(seconds, offset).as_bytes()),
            Some(moment)
        );
    }
    if let Some(day) = date::parse_search_date(value) {
        let (year, month, day_of_month) = date::civil_from_days(day);
        assert_eq!(date::days_from_civil(year, month, day_of_month), day);
    }
}
