//! URLs of messages (RFC 5092), as CATENATE names octets by them (RFC 4469): in the account that is logged in only.
//!
//! `imap://you@mail.example.org/Drafts;UIDVALIDITY=7/;UID=20/;SECTION=1.2/;PARTIAL=0.1024`, or without the server, or
//! without the mailbox, which then is the selected one. What needs somebody else's word (URLAUTH, another server) is
//! no URL here.
//!
//! ```
//! use postier_core::imap::url::{MessageUrl, parse};
//!
//! let url = parse(b"/Drafts;UIDVALIDITY=7/;UID=20/;SECTION=1.MIME").unwrap();
//! assert_eq!((url.mailbox.as_deref(), url.uid_validity, url.uid), (Some(&b"Drafts"[..]), Some(7), 20));
//! assert!(parse(b"http://example.org/").is_none());
//! ```

use super::command::{MailboxName, parse_section};
use super::fetch::{Section, SectionKind};
use crate::wire::mutf7;
use alloc::vec::Vec;

/// The longest URL that is looked at, in octets.
pub const URL_BYTES_MAX: usize = 4096;

/// Octets of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageUrl {
    /// Who must be logged in, and the server's name, if the URL says so.
    pub server: Option<Server>,
    /// The mailbox in modified UTF-7; the selected one if there is none.
    pub mailbox: Option<Vec<u8>>,
    /// The UIDVALIDITY that it must have.
    pub uid_validity: Option<u32>,
    /// The message, not 0.
    pub uid: u32,
    /// Which part of it.
    pub section: Section,
    /// Which octets of that.
    pub range: Option<UrlRange>,
}

/// The server part of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The user, percent-decoded.
    pub user: Option<Vec<u8>>,
    /// The host without its port.
    pub host: Vec<u8>,
}

/// `;PARTIAL=offset[.length]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlRange {
    /// The first octet, counted from 0.
    pub offset: u64,
    /// How many at most; to the end if `None`.
    pub length: Option<u64>,
}

/// Reads a URL of octets of a message; `None` for anything else.
pub fn parse(url: &[u8]) -> Option<MessageUrl> {
    if url.len() > URL_BYTES_MAX {
        return None;
    }
    let (server, path) = match url.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"imap://")) {
        Some(_) => {
            let rest = url.get(7..)?;
            let slash = rest.iter().position(|octet| *octet == b'/')?;
            (Some(server(rest.get(..slash)?)?), rest.get(slash..)?)
        }
        None => (None, url),
    };
    // Anything else that has a scheme is another server's.
    let path = if path.starts_with(b";") { path } else { path.strip_prefix(b"/")? };
    // The mailbox may have slashes in it; what follows it begins with `;`.
    let at = find(path, b";UID=")?;
    let mailbox = path.get(..at)?.strip_suffix(b"/").unwrap_or(path.get(..at)?);
    let (mailbox, uid_validity) = match find(mailbox, b";UIDVALIDITY=") {
        Some(end) => (mailbox.get(..end)?, Some(number(mailbox.get(end + 13..)?)?)),
        None => (mailbox, None),
    };
    let mailbox = if mailbox.is_empty() { None } else { Some(mailbox_name(mailbox)?) };
    let mut section = Section { part: Vec::new(), kind: SectionKind::Full };
    let mut range = None;
    let mut rest = path.get(at + 5..)?.split(|octet| *octet == b'/');
    let uid = number(rest.next()?)?;
    for word in rest {
        if range.is_some() {
            return None;
        }
        if let Some(text) = strip(word, b";SECTION=").filter(|_| section.kind == SectionKind::Full) {
            section = parse_section(&decode(text)?)?;
        } else if let Some(text) = strip(word, b";PARTIAL=") {
            range = Some(url_range(text)?);
        } else if !word.is_empty() {
            return None;
        }
    }
    Some(MessageUrl { server, mailbox, uid_validity, uid, section, range })
}

fn server(text: &[u8]) -> Option<Server> {
    let (user, host) = match text.iter().rposition(|octet| *octet == b'@') {
        Some(at) => {
            let user = text.get(..at)?;
            let end = find(user, b";AUTH=").unwrap_or(user.len());
            (Some(decode(user.get(..end)?)?).filter(|user| !user.is_empty()), text.get(at + 1..)?)
        }
        None => (None, text),
    };
    let end = match host.iter().rposition(|octet| *octet == b':') {
        Some(colon) if host.get(colon + 1..)?.iter().all(u8::is_ascii_digit) => colon,
        Some(_) | None => host.len(),
    };
    let host = host.get(..end)?.to_vec();
    (!host.is_empty()).then_some(Server { user, host })
}

/// A name in UTF-8, percent-encoded, as the store has it.
fn mailbox_name(text: &[u8]) -> Option<Vec<u8>> {
    let name = alloc::string::String::from_utf8(decode(text)?).ok()?;
    Some(MailboxName::new(mutf7::encode(&name)).as_bytes().to_vec())
}

fn url_range(text: &[u8]) -> Option<UrlRange> {
    let mut words = text.splitn(2, |octet| *octet == b'.');
    let offset = number64(words.next()?)?;
    let length = match words.next() {
        Some(length) => Some(number64(length)?),
        None => None,
    };
    Some(UrlRange { offset, length })
}

fn number(text: &[u8]) -> Option<u32> {
    u32::try_from(number64(text)?).ok().filter(|number| *number > 0)
}

fn number64(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(text).ok()?.parse().ok()
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        if octet != b'%' {
            out.push(octet);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digit = |octet: u8| char::from(octet).to_digit(16);
        let value = digits.iter().try_fold(0, |value, octet| Some(value * 16 + digit(*octet)?))?;
        out.push(u8::try_from(value).ok()?);
        rest = after;
    }
    Some(out)
}

fn strip<'t>(text: &'t [u8], prefix: &[u8]) -> Option<&'t [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};
    use proptest::prelude::*;

    fn shown(url: &str) -> String {
        let Some(url) = parse(url.as_bytes()) else { return "no".to_string() };
        let mut section = Vec::new();
        url.section.write(&mut section);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let server = url.server.map(|server| {
            format!("{}@{} ", server.user.map(|user| text(&user)).unwrap_or_default(), text(&server.host))
        });
        let mailbox = url.mailbox.map_or("selected".to_string(), |name| text(&name));
        let validity = url.uid_validity.map(|validity| format!(";{validity}")).unwrap_or_default();
        let range = url.range.map(|range| format!(" {}.{:?}", range.offset, range.length));
        let (server, range) = (server.unwrap_or_default(), range.unwrap_or_default());
        format!("{server}{mailbox}{validity} {} {}{range}", url.uid, text(&section))
    }

    #[test]
    fn urls_of_messages() {
        for (url, read) in [
            ("/INBOX/;uid=4", "INBOX 4 "),
            ("/inbox;uidvalidity=7/;UID=4/;SECTION=HEADER", "INBOX;7 4 HEADER"),
            ("/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.2.MIME", "Drafts;385759045 20 1.2.MIME"),
            ("/a/b/;UID=1/;PARTIAL=0.1024", "a/b 1  0.Some(1024)"),
            ("/a/;UID=1/;SECTION=TEXT/;PARTIAL=5", "a 1 TEXT 5.None"),
            ("/a/;UID=1/;SECTION=HEADER.FIELDS%20(TO%20FROM)", "a 1 HEADER.FIELDS (TO FROM)"),
            ("/caf%C3%A9%20%26/;UID=1", "caf&AOk- &- 1 "),
            (";UID=9", "selected 9 "),
            ("/;UID=9/;SECTION=1", "selected 9 1"),
            ("imap://you;AUTH=*@mail.example.org:143/Sent/;UID=2", "you@mail.example.org Sent 2 "),
            ("imap://mail.example.org/Sent/;UID=2", "@mail.example.org Sent 2 "),
            ("imap://joe%40b.test@mail.example.org/Sent/;UID=2", "joe@b.test@mail.example.org Sent 2 "),
        ] {
            assert_eq!(shown(url), read, "{url}");
        }
        for url in [
            "",
            "/INBOX",
            "/INBOX/;UID=0",
            "/INBOX/;UID=x",
            "/INBOX/;UID=4294967296",
            "/INBOX;UIDVALIDITY=/;UID=1",
            "/INBOX/;UID=1/;SECTION=BOGUS",
            "/INBOX/;UID=1/;PARTIAL=",
            "/INBOX/;UID=1/;PARTIAL=1.x",
            "/INBOX/;UID=1/;URLAUTH=anonymous",
            "/INBOX/;UID=1;URLAUTH=anonymous:internal:00",
            "/%zz/;UID=1",
            "/%ff/;UID=1",
            "imap:///INBOX/;UID=1",
            "http://example.org/;UID=1",
        ] {
            assert_eq!(shown(url), "no", "{url}");
        }
    }

    proptest! {
        #[test]
        fn any_octets(url in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&url);
        }

        #[test]
        fn any_pieces(pieces in proptest::collection::vec(proptest::sample::select(
            &["imap://", "/", ";UID=", ";UIDVALIDITY=", "7", "%41", "%", ";SECTION=", "1.", "TEXT", ";PARTIAL=", ".", "@", ":"][..]
        ), 0..12)) {
            let _ = parse(pieces.concat().as_bytes());
        }
    }
}
