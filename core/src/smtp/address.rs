//! Addresses of the envelope: RFC 5321 §4.1.2 with UTF-8 (RFC 6531 §3.3).
//!
//! Everything borrows from the command line. The reader is lenient where clients in the street are wrong and
//! nothing can go wrong by it (blanks around and inside the angle brackets, no brackets at all, dots in odd
//! places of a local part, a domain with its root dot, `_` in a host name, long local parts) and strict about
//! the rest: no control character, no unclosed bracket or quote, nothing after the closing bracket but
//! blanks.
//!
//! A source route (`<@a,@b:user@c>`) is read and left out, as RFC 5321 §4.1.1.3 allows, but reported, so that
//! a policy may refuse it. What this module will not do: look anything up, compare addresses (a domain is
//! compared without case, a local part as the owner of the domain says), translate a domain to its ASCII
//! form.
//!
//! ```
//! use postier_core::smtp::address::{LocalPart, Mailbox};
//!
//! let mailbox = Mailbox::parse(r#""J. Doe"@Example.org"#).unwrap();
//! assert_eq!(mailbox.local, LocalPart::Quoted("J. Doe"));
//! assert_eq!(mailbox.to_string(), r#""J. Doe"@Example.org"#);
//! ```
use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::wire::token::{self, Class};

/// Octets of a local part, quotes included. RFC 5321 §4.5.3.1.1 asks for at least 64; bounce addresses that
/// carry another address (VERP, SRS, BATV) are longer.
pub const LOCAL_PART_BYTES_MAX: usize = 255;
/// Octets of a domain (RFC 5321 §4.5.3.1.2).
pub const DOMAIN_BYTES_MAX: usize = 255;
/// Octets of one label of a domain name (RFC 1035 §2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;
/// Octets of a whole mailbox: 64 + `@` + 255. RFC 5321 §4.5.3.1.3 asks for at least 256.
pub const MAILBOX_BYTES_MAX: usize = 320;

/// The argument of MAIL: who gets the bounce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReversePath<'a> {
    /// `<>`: nobody; this is a bounce or another notice (RFC 5321 §4.5.5).
    Null,
    /// A mailbox.
    Path(Path<'a>),
}

/// The argument of RCPT: whom the mail is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardPath<'a> {
    /// `<postmaster>` without a domain, in any case (RFC 5321 §4.5.1).
    Postmaster,
    /// A mailbox.
    Path(Path<'a>),
}

/// A mailbox as MAIL and RCPT name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    /// The mailbox itself.
    pub mailbox: Mailbox<'a>,
    /// There was a source route in front of it (RFC 5321 appendix C). It is not kept.
    pub source_route: bool,
}

/// `local-part@domain`. `Display` writes it so that [`Mailbox::parse`] reads the same back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mailbox<'a> {
    /// Left of the `@`.
    pub local: LocalPart<'a>,
    /// Right of the `@`.
    pub domain: Domain<'a>,
}

/// What stands left of the `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalPart<'a> {
    /// Atoms and dots, as written. Dots may stand anywhere.
    Plain(&'a str),
    /// What was between the quotes, backslashes still there. `"a"@x` and `a@x` are the same mailbox:
    /// compare [`LocalPart::unquoted`].
    Quoted(&'a str),
}

/// What stands right of the `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain<'a> {
    /// A host or domain name in the case it was written in, without a root dot. May hold U-labels (RFC 6531
    /// §3.3).
    Name(&'a str),
    /// `[192.0.2.1]`
    V4(Ipv4Addr),
    /// `[IPv6:2001:db8::1]`
    V6(Ipv6Addr),
}

/// Why an address was not understood. Always the peer's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// No address at all.
    Missing,
    /// `<` without `>`, or something stuck to the `>`.
    Brackets,
    /// The local part is empty, holds a character that must be quoted, or its quote is not closed.
    LocalPart,
    /// There is no `@domain`.
    NoDomain,
    /// The domain is not a name or an address in brackets.
    Domain,
    /// Longer than [`LOCAL_PART_BYTES_MAX`], [`DOMAIN_BYTES_MAX`] or [`MAILBOX_BYTES_MAX`].
    TooLong,
    /// The source route is malformed.
    Route,
}

impl<'a> ReversePath<'a> {
    /// Reads the path at the start of `text`; returns it and what follows (empty, or starting with a blank).
    ///
    /// # Errors
    /// When `text` does not start with a path.
    #[inline]
    pub fn parse_prefix(text: &'a str) -> Result<(Self, &'a str), AddressError> {
        let (inside, bracketed) = open(text)?;
        if bracketed && let Some(rest) = inside.strip_prefix('>') {
            return Ok((Self::Null, ended(rest)?));
        }
        let (path, rest) = path(inside)?;
        Ok((Self::Path(path), close(rest, bracketed)?))
    }

    /// The mailbox, if there is one.
    pub fn mailbox(&self) -> Option<Mailbox<'a>> {
        match self {
            Self::Null => None,
            Self::Path(path) => Some(path.mailbox),
        }
    }

    /// Whether it can be written without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.mailbox().is_none_or(|mailbox| mailbox.is_ascii())
    }
}

impl<'a> ForwardPath<'a> {
    /// Reads the path at the start of `text`; returns it and what follows (empty, or starting with a blank).
    ///
    /// # Errors
    /// When `text` does not start with a path, or with the null one.
    #[inline]
    pub fn parse_prefix(text: &'a str) -> Result<(Self, &'a str), AddressError> {
        let (inside, bracketed) = open(text)?;
        // RFC 5321 §4.1.1.3: "<Postmaster>" is the one path without a domain.
        if let Some((word, rest)) = inside.split_at_checked("postmaster".len())
            && word.eq_ignore_ascii_case("postmaster")
            && let Ok(rest) = close(rest, bracketed)
        {
            return Ok((Self::Postmaster, rest));
        }
        let (path, rest) = path(inside)?;
        Ok((Self::Path(path), close(rest, bracketed)?))
    }

    /// The mailbox; `None` for the bare postmaster.
    pub fn mailbox(&self) -> Option<Mailbox<'a>> {
        match self {
            Self::Postmaster => None,
            Self::Path(path) => Some(path.mailbox),
        }
    }

    /// Whether it can be written without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.mailbox().is_none_or(|mailbox| mailbox.is_ascii())
    }
}

impl<'a> Mailbox<'a> {
    /// Reads a mailbox without brackets that is the whole of `text`.
    ///
    /// # Errors
    /// When `text` is anything else.
    pub fn parse(text: &'a str) -> Result<Self, AddressError> {
        match mailbox(text)? {
            (mailbox, "") => Ok(mailbox),
            (_, _) => Err(AddressError::Domain),
        }
    }

    /// Whether it can be written without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        let (LocalPart::Plain(local) | LocalPart::Quoted(local)) = self.local;
        local.is_ascii()
            && match self.domain {
                Domain::Name(name) => name.is_ascii(),
                Domain::V4(_) | Domain::V6(_) => true,
            }
    }
}

impl<'a> LocalPart<'a> {
    /// The name meant, without quotes and backslashes (RFC 5321 §4.1.2: both forms are the same mailbox).
    pub fn unquoted(&self) -> Cow<'a, str> {
        match *self {
            Self::Plain(text) => Cow::Borrowed(text),
            Self::Quoted(text) if !text.contains('\\') => Cow::Borrowed(text),
            Self::Quoted(text) => {
                let mut name = String::with_capacity(text.len());
                let mut chars = text.chars();
                while let Some(c) = chars.next() {
                    name.extend(if c == '\\' { chars.next() } else { Some(c) });
                }
                Cow::Owned(name)
            }
        }
    }

    /// Whether some mailer could read a second address out of it: `user%other.org`, `other.org!user`,
    /// `"user@other.org"`. A server that relays for nobody refuses these even in its own domains.
    pub fn hides_route(&self) -> bool {
        self.unquoted().contains(['@', '%', '!', ':'])
    }
}

impl Domain<'_> {
    /// Reads a domain or an address in brackets that is the whole of `text`.
    ///
    /// # Errors
    /// [`AddressError::Domain`] or [`AddressError::TooLong`].
    pub fn parse(text: &str) -> Result<Domain<'_>, AddressError> {
        match domain(text)? {
            (domain, "") => Ok(domain),
            (_, _) => Err(AddressError::Domain),
        }
    }
}

impl AddressError {
    /// What to tell the person at the other end.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Missing => "There is no address; write it as <user@example.org>",
            Self::Brackets => {
                "The address does not end where its angle brackets do; write it as <user@example.org>"
            }
            Self::LocalPart => {
                "The part before the @ is not valid; put it in double quotes if it holds special characters"
            }
            Self::NoDomain => "The address has no domain; write it as <user@example.org>",
            Self::Domain => "The domain after the @ is not valid; write a name as example.org",
            Self::TooLong => "The address is too long; 320 octets are accepted, 255 on each side of the @",
            Self::Route => "The source route is not valid; leave it out and write <user@example.org>",
        }
    }
}

/// Skips blanks and the opening bracket.
fn open(text: &str) -> Result<(&str, bool), AddressError> {
    let text = skip_blanks(text);
    match text.strip_prefix('<') {
        Some(inside) => Ok((skip_blanks(inside), true)),
        None if text.is_empty() => Err(AddressError::Missing),
        None => Ok((text, false)),
    }
}

/// Skips the closing bracket that belongs to [`open`].
fn close(rest: &str, bracketed: bool) -> Result<&str, AddressError> {
    if !bracketed {
        return ended(rest);
    }
    ended(skip_blanks(rest).strip_prefix('>').ok_or(AddressError::Brackets)?)
}

/// A path is over where the line is or a blank stands: `<a@b>c` is a forgery or a mistake, never an address.
fn ended(rest: &str) -> Result<&str, AddressError> {
    if rest.is_empty() || starts_with_blank(rest) { Ok(rest) } else { Err(AddressError::Brackets) }
}

#[inline]
fn path(text: &str) -> Result<(Path<'_>, &str), AddressError> {
    let (text, source_route) = match text.strip_prefix('@') {
        Some(route) => (skip_route(route)?, true),
        None => (text, false),
    };
    let (mailbox, rest) = mailbox(text)?;
    Ok((Path { mailbox, source_route }, rest))
}

/// `@a,@b:` without its first `@`. RFC 5321 §4.1.2 A-d-l.
fn skip_route(mut text: &str) -> Result<&str, AddressError> {
    loop {
        let (_, rest) = domain(text).map_err(|_| AddressError::Route)?;
        if let Some(next) = rest.strip_prefix(",@") {
            text = next;
        } else {
            return rest.strip_prefix(':').ok_or(AddressError::Route);
        }
    }
}

#[inline]
fn mailbox(text: &str) -> Result<(Mailbox<'_>, &str), AddressError> {
    let (local, rest) = local_part(text)?;
    let Some(after) = rest.strip_prefix('@') else {
        // `<user>` and `<us er@x>` deserve different advice.
        let over = rest.is_empty() || starts_with_blank(rest) || rest.starts_with('>');
        return Err(if over && !rest.contains('@') {
            AddressError::NoDomain
        } else {
            AddressError::LocalPart
        });
    };
    let (domain, rest) = domain(after)?;
    if text.len() - rest.len() > MAILBOX_BYTES_MAX {
        return Err(AddressError::TooLong);
    }
    Ok((Mailbox { local, domain }, rest))
}

#[inline]
fn local_part(text: &str) -> Result<(LocalPart<'_>, &str), AddressError> {
    let (local, rest) = match text.strip_prefix('"') {
        Some(inside) => quoted(inside)?,
        None => {
            let (word, rest) = split_after(text, Class::LocalPart);
            (LocalPart::Plain(word), rest)
        }
    };
    match text.len() - rest.len() {
        0 => Err(AddressError::LocalPart),
        bytes if bytes > LOCAL_PART_BYTES_MAX => Err(AddressError::TooLong),
        _ => Ok((local, rest)),
    }
}

/// The rest of a quoted string after its first quote. RFC 5321 §4.1.2 QcontentSMTP.
fn quoted(inside: &str) -> Result<(LocalPart<'_>, &str), AddressError> {
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        if c.is_control() || (escaped && !c.is_ascii()) {
            return Err(AddressError::LocalPart);
        }
        match c {
            '"' if !escaped => {
                let (text, rest) = inside.split_at(at);
                return Ok((LocalPart::Quoted(text), rest.strip_prefix('"').unwrap_or(rest)));
            }
            '\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    Err(AddressError::LocalPart)
}

fn domain(text: &str) -> Result<(Domain<'_>, &str), AddressError> {
    if let Some(inside) = text.strip_prefix('[') {
        let (literal, rest) = inside.split_once(']').ok_or(AddressError::Domain)?;
        return Ok((address_literal(literal)?, rest));
    }
    let (name, rest) = split_after(text, Class::DomainName);
    // "example.org." is the same name said in DNS words.
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > DOMAIN_BYTES_MAX {
        return Err(AddressError::TooLong);
    }
    let label_ok = |label: &[u8]| match label {
        [] | [b'-', ..] | [.., b'-'] => false,
        _ => label.len() <= LABEL_BYTES_MAX,
    };
    if name.as_bytes().split(|&octet| octet == b'.').all(label_ok) {
        Ok((Domain::Name(name), rest))
    } else {
        Err(AddressError::Domain)
    }
}

/// What stands between the square brackets. RFC 5321 §4.1.3.
fn address_literal(text: &str) -> Result<Domain<'_>, AddressError> {
    let v6 = text.split_at_checked("IPv6:".len()).filter(|(tag, _)| tag.eq_ignore_ascii_case("IPv6:"));
    match v6 {
        Some((_, address)) => address.parse().map(Domain::V6).map_err(|_| AddressError::Domain),
        None => text.parse().map(Domain::V4).map_err(|_| AddressError::Domain),
    }
}

fn starts_with_blank(text: &str) -> bool {
    matches!(text.as_bytes(), [b' ' | b'\t', ..])
}

fn skip_blanks(mut text: &str) -> &str {
    while starts_with_blank(text) {
        text = text.get(1..).unwrap_or_default();
    }
    text
}

/// `text` in two: as much as consists of the ASCII characters of the class and of RFC 6531 §3.3
/// UTF8-non-ascii (without its control characters and blanks), and the rest.
fn split_after(text: &str, class: Class) -> (&str, &str) {
    let belongs = |c: char| match u8::try_from(c) {
        Ok(octet) if octet.is_ascii() => token::is(octet, class),
        Ok(_) | Err(_) => !c.is_control() && !c.is_whitespace(),
    };
    // Nearly always that is all.
    let (word, rest) = token::split(text.as_bytes(), class);
    let end = match rest {
        [0x80..=0xff, ..] => text.find(|c| !belongs(c)).unwrap_or(text.len()),
        _ => word.len(),
    };
    text.split_at_checked(end).unwrap_or((text, ""))
}

impl fmt::Display for ReversePath<'_> {
    /// With its angle brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Path(path) => write!(f, "<{}>", path.mailbox),
        }
    }
}

impl fmt::Display for ForwardPath<'_> {
    /// With its angle brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("<postmaster>"),
            Self::Path(path) => write!(f, "<{}>", path.mailbox),
        }
    }
}

impl fmt::Display for Mailbox<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl fmt::Display for LocalPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => f.write_str(text),
            Self::Quoted(text) => write!(f, "\"{text}\""),
        }
    }
}

impl fmt::Display for Domain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(address) => write!(f, "[{address}]"),
            Self::V6(address) => write!(f, "[IPv6:{address}]"),
        }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.advice())
    }
}

impl core::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::ToString};

    fn reverse(text: &str) -> Result<(ReversePath<'_>, &str), AddressError> {
        ReversePath::parse_prefix(text)
    }

    fn shown(text: &str) -> std::string::String {
        let (path, rest) = reverse(text).unwrap();
        assert_eq!(rest, "", "{text}");
        path.to_string()
    }

    #[test]
    fn reads_what_the_rfc_writes() {
        for text in [
            "<>",
            "<user@example.org>",
            "<user+tag@example.org>",
            "<\"a b\"@example.org>",
            "<\"a\\\"b\\\\\"@example.org>",
            "<\"\"@example.org>",
            "<user@[192.0.2.1]>",
            "<user@[IPv6:2001:db8::1]>",
            "<user@xn--bcher-kva.example>",
            "<用户@例え.jp>",
            "<user@localhost>",
            "<a%b!c@example.org>",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn reads_what_clients_write() {
        for text in [" <a@b>", "\t<a@b>", "< a@b >", "a@b", "  a@b", "<a@b.>"] {
            assert_eq!(shown(text), "<a@b>", "{text}");
        }
        assert_eq!(shown("< >"), "<>");
        assert_eq!(shown("<first..last.@docomo.example>"), "<first..last.@docomo.example>");
        assert_eq!(shown("<a@host_name.example>"), "<a@host_name.example>");
        assert_eq!(shown("<a@[ipv6:::1]>"), "<a@[IPv6:::1]>");
    }

    #[test]
    fn leaves_what_follows() {
        assert_eq!(reverse("<a@b> SIZE=3").unwrap().1, " SIZE=3");
        assert_eq!(reverse("a@b\tSIZE=3").unwrap().1, "\tSIZE=3");
        assert_eq!(reverse("<> BODY=7BIT").unwrap(), (ReversePath::Null, " BODY=7BIT"));
        assert_eq!(reverse("<a@b>SIZE=3"), Err(AddressError::Brackets));
        assert_eq!(reverse("<>SIZE=3"), Err(AddressError::Brackets));
    }

    #[test]
    fn says_what_is_wrong() {
        use AddressError::*;
        for (text, error) in [
            ("", Missing),
            ("  ", Missing),
            ("<a@b", Brackets),
            ("a@b>", Brackets),
            ("<a@b>>", Brackets),
            ("<a@b c>", Brackets),
            ("<a@b,c@d>", Brackets),
            ("<a@b@c>", Brackets),
            ("<user>", NoDomain),
            ("user", NoDomain),
            ("user SIZE=3", NoDomain),
            ("<postmaster>", NoDomain),
            ("<@example.org>", Route),
            ("<@a:@b>", LocalPart),
            ("<a b@c>", LocalPart),
            ("<a\u{7f}@c>", LocalPart),
            ("<a\u{85}@c>", LocalPart),
            ("<\"a@c>", LocalPart),
            ("<\"a\\\"@c>", LocalPart),
            ("<\"a\u{1}\"@c>", LocalPart),
            ("<\"a\"b@c>", LocalPart),
            ("<a@>", Domain),
            ("<a@.b>", Domain),
            ("<a@b..c>", Domain),
            ("<a@-b>", Domain),
            ("<a@b->", Domain),
            ("<a@[1.2.3]>", Domain),
            ("<a@[1.2.3.4>", Domain),
            ("<a@[IPv6:1.2.3.4]>", Domain),
            ("<a@[2001:db8::1]>", Domain),
            ("<@a,b:c@d>", Route),
            ("<@a;c@d>", Route),
        ] {
            assert_eq!(reverse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn reports_source_routes() {
        let (ForwardPath::Path(path), "") =
            ForwardPath::parse_prefix("<@one,@two.example:user@three>").unwrap()
        else {
            panic!("a path")
        };
        assert!(path.source_route);
        assert_eq!(path.mailbox.to_string(), "user@three");
    }

    #[test]
    fn postmaster_needs_no_domain() {
        for text in ["<postmaster>", "<POSTMASTER> NOTIFY=NEVER", "postmaster", "< Postmaster >"] {
            assert_eq!(ForwardPath::parse_prefix(text).unwrap().0, ForwardPath::Postmaster, "{text}");
        }
        let (path, _) = ForwardPath::parse_prefix("<postmaster@b>").unwrap();
        assert_eq!(path.to_string(), "<postmaster@b>");
        assert_eq!(ForwardPath::parse_prefix("<postmasters>"), Err(AddressError::NoDomain));
        assert_eq!(ForwardPath::parse_prefix("<>"), Err(AddressError::LocalPart));
    }

    #[test]
    fn lengths_are_bounded() {
        let long = |n: usize| "x".repeat(n);
        assert!(Mailbox::parse(&format!("{}@b", long(255))).is_ok());
        assert_eq!(Mailbox::parse(&format!("{}@b", long(256))), Err(AddressError::TooLong));
        let domain = format!("{}.{}.{}.{}", long(63), long(63), long(63), long(63));
        assert!(Mailbox::parse(&format!("{}@{domain}", long(64))).is_ok());
        assert_eq!(Mailbox::parse(&format!("{}@{domain}", long(65))), Err(AddressError::TooLong));
        assert_eq!(Mailbox::parse(&format!("a@{domain}.x")), Err(AddressError::TooLong));
        assert_eq!(Mailbox::parse(&format!("a@{}", long(64))), Err(AddressError::Domain));
    }

    #[test]
    fn both_forms_of_a_name_are_one() {
        let name = |text| Mailbox::parse(text).unwrap().local.unquoted().into_owned();
        assert_eq!(name("user@x"), "user");
        assert_eq!(name("\"user\"@x"), "user");
        assert_eq!(name("\"us\\er\"@x"), "user");
        assert_eq!(name("\"a\\\\\\\"b\"@x"), "a\\\"b");
        for text in ["a%b@x", "a!b@x", "\"a@b\"@x", "\"a\\@b\"@x", "\"@a:b\"@x"] {
            assert!(Mailbox::parse(text).unwrap().local.hides_route(), "{text}");
        }
        assert!(!Mailbox::parse("\"a b+c\"@x").unwrap().local.hides_route());
    }

    #[test]
    fn knows_what_needs_smtputf8() {
        for (text, ascii) in
            [("a@b", true), ("é@b", false), ("a@é", false), ("\"é\"@b", false), ("a@[::1]", true)]
        {
            if let Ok(mailbox) = Mailbox::parse(text) {
                assert_eq!(mailbox.is_ascii(), ascii, "{text}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_read_can_be_written_and_read_again(
            local in r#"[a-z.!%+é]{1,9}|"([a-z @é]|\\["\\a]){0,9}""#,
            domain in r"[a-z_é]{1,9}(\.[a-z0-9]{1,5}){0,3}\.?|\[[1-9]{1,2}\.0\.2\.1\]|\[IPv6:[0-9a-f]{1,4}::[0-9a-f]{1,4}\]",
            route in "(@[a-z]{1,3}(,@[a-z]{1,3}){0,2}:)?",
        ) {
            let text = format!("<{route}{local}@{domain}>");
            let (path, rest) = ForwardPath::parse_prefix(&text).unwrap();
            prop_assert_eq!(rest, "");
            let again = path.to_string();
            let (second, _) = ForwardPath::parse_prefix(&again).unwrap();
            prop_assert_eq!(path.mailbox(), second.mailbox());
            prop_assert_eq!(again.clone(), second.to_string());
        }

        #[test]
        fn any_text_is_survived(text in r#"[<>@:,.\[\]"\\ \ta-b0-9é\PC]{0,40}"#) {
            if let Ok((path, rest)) = ReversePath::parse_prefix(&text) {
                prop_assert!(text.ends_with(rest));
                let again = path.to_string();
                prop_assert_eq!(ReversePath::parse_prefix(&again).unwrap().0.mailbox(), path.mailbox());
            }
            let _ = ForwardPath::parse_prefix(&text);
        }
    }
}
