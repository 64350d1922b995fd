//! Address lists (RFC 5322 §3.4 with the obsolete forms of §4.4), for ENVELOPE and for whoever needs the mailboxes of
//! a field. Reading never fails: what cannot be understood becomes the nearest thing that can be shown. One pass over
//! the value (two where a quote or a comment never closes), no nesting.
//!
//! Lenient where people are sloppy: unquoted specials in display names (`joe@x <joe@x>`), a missing `>` or `"` or `)`,
//! empty list elements, a group that never ends. Encoded words are left as they are.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::header::unfold;

/// Most entries read from one list; the rest is left out.
pub const ADDRESSES_MAX: usize = 10_000;

/// One mailbox. Empty fields are absent ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    /// The display name, unquoted; without one, the last comment (`joe@example.org (Joe)`).
    pub name: Vec<u8>,
    /// The obsolete source route, `@a,@b`.
    pub route: Vec<u8>,
    /// The local part, unquoted.
    pub mailbox: Vec<u8>,
    /// The domain, or a domain literal with its brackets.
    pub host: Vec<u8>,
}

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A mailbox, inside or outside of a group.
    Mailbox(Address),
    /// `name:`, a group begins.
    GroupStart(Vec<u8>),
    /// `;`, the group ends. Always follows a `GroupStart`; groups do not nest.
    GroupEnd,
}

/// Reads the value of an address field, folded or not.
///
/// ```
/// use postier_core::mime::address::{Entry, parse};
/// let list = parse(b"\"Joe Q. Public\" <john.q.public@example.com>, jdoe@example.org (John)");
/// let Entry::Mailbox(joe) = &list[0] else { unreachable!() };
/// assert_eq!((&joe.name[..], &joe.mailbox[..]), (&b"Joe Q. Public"[..], &b"john.q.public"[..]));
/// let Entry::Mailbox(john) = &list[1] else { unreachable!() };
/// assert_eq!((&john.name[..], &john.host[..]), (&b"John"[..], &b"example.org"[..]));
/// ```
pub fn parse(value: &[u8]) -> Vec<Entry> {
    let mut value: Cow<'_, [u8]> = unfold(value);
    // A quote or comment that never closes would swallow the list: it is read as white space instead. Twice, since
    // the one may hide the other; after an unclosed quote there is no further quote, and an unclosed comment goes
    // with every parenthesis that opens after it.
    for _ in 0..2 {
        if let Some(at) = find_unclosed(&value) {
            blank_from(value.to_mut(), at);
        }
    }
    let mut list = List::default();
    let mut rest = &value[..];
    while let Some((token, after)) = next_token(rest)
        && list.entries.len() < ADDRESSES_MAX
    {
        list.take(token);
        rest = after;
    }
    list.finish()
}

/// The value of an address field with `@domain` behind every local part that stands alone; `None` where there is none. What is
/// no address, or cannot be told, stays: several words without brackets, a quote that never closes.
///
/// ```
/// use postier_core::mime::address::qualify;
/// let value = qualify(b"root (Cron Daemon), Bob <bob>, eve@example.net", b"example.org").unwrap();
/// assert_eq!(value, b"root@example.org (Cron Daemon), Bob <bob@example.org>, eve@example.net");
/// assert_eq!(qualify(b"a@b", b"example.org"), None);
/// ```
pub fn qualify(value: &[u8], domain: &[u8]) -> Option<Vec<u8>> {
    if find_unclosed(value).is_some() {
        return None;
    }
    let mut places = Vec::new();
    let (mut words, mut complete) = (0_usize, false);
    // Where the last word ends.
    let mut last = 0;
    let mut rest = value;
    let mut decide = |words: usize, complete: bool, at: usize| {
        if words == 1 && !complete {
            places.push(at);
        }
    };
    while let Some((token, after)) = next_token(rest) {
        let here = value.len() - after.len();
        rest = after;
        match token {
            Token::Space(_) => {}
            Token::Quoted(_) | Token::Text(_) => (words, last) = (words + 1, here),
            Token::Special(b'<' | b':') => (words, complete) = (0, false),
            Token::Special(b'@') => complete = true,
            Token::Special(b'>') => {
                decide(words, complete, last);
                complete = true;
            }
            Token::Special(_) => {
                decide(words, complete, last);
                (words, complete) = (0, false);
            }
        }
    }
    decide(words, complete, last);
    if places.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(value.len() + places.len() * (domain.len() + 1));
    let mut from = 0;
    for at in places {
        out.extend_from_slice(value.get(from..at).unwrap_or_default());
        out.push(b'@');
        out.extend_from_slice(domain);
        from = at;
    }
    out.extend_from_slice(value.get(from..).unwrap_or_default());
    Some(out)
}

/// One piece of an address.
enum Token<'a> {
    /// White space or a comment's content.
    Space(Option<&'a [u8]>),
    /// The inside of a quoted string, escapes kept.
    Quoted(&'a [u8]),
    /// A run of text with no meaning of its own, or a domain literal with its brackets.
    Text(&'a [u8]),
    /// One of `<>@,;:`.
    Special(u8),
}

/// Where the first quote or comment begins that never closes.
fn find_unclosed(value: &[u8]) -> Option<usize> {
    let (mut at, mut opened) = (0, None);
    let (mut quoted, mut depth) = (false, 0_usize);
    while let Some(&byte) = value.get(at) {
        match byte {
            b'\\' => at += 1,
            b'"' if depth == 0 => {
                opened = (!quoted).then_some(at);
                quoted = !quoted;
            }
            b'(' if !quoted => {
                opened = opened.or(Some(at));
                depth += 1;
            }
            b')' if depth > 0 => {
                depth -= 1;
                opened = opened.filter(|_| depth > 0);
            }
            _ => {}
        }
        at += 1;
    }
    opened
}

/// Makes the unclosed quote at `at` a space, or the unclosed comment and all that open after it.
fn blank_from(value: &mut [u8], at: usize) {
    let tail = value.get_mut(at..).unwrap_or_default();
    if tail.first() == Some(&b'(') {
        tail.iter_mut().filter(|byte| **byte == b'(').for_each(|byte| *byte = b' ');
    } else if let Some(quote) = tail.first_mut() {
        *quote = b' ';
    }
}

fn next_token(bytes: &[u8]) -> Option<(Token<'_>, &[u8])> {
    let (&first, after) = bytes.split_first()?;
    Some(match first {
        b' ' | b'\t' | b'\r' | b'\n' => (Token::Space(None), after),
        b'"' => {
            let (inside, rest) = split_closed(after, None, b'"');
            (Token::Quoted(inside), rest)
        }
        b'(' => {
            let (inside, rest) = split_closed(after, Some(b'('), b')');
            (Token::Space(Some(inside)), rest)
        }
        b'<' | b'>' | b'@' | b',' | b';' | b':' => (Token::Special(first), after),
        b'[' => {
            let end = after.iter().position(|byte| matches!(byte, b']' | b',' | b'<' | b'>' | b'"' | b'('));
            let end = end.unwrap_or(after.len());
            let (text, rest) =
                bytes.split_at_checked(end + 1 + usize::from(after.get(end) == Some(&b']')))?;
            (Token::Text(text), rest)
        }
        _ => {
            let (text, rest) = bytes.split_at_checked(text_bytes(bytes))?;
            (Token::Text(text), rest)
        }
    })
}

/// Length of a run of text, at least one byte.
fn text_bytes(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'(' | b'<' | b'>' | b'@' | b',' | b';' | b':' => break,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at.clamp(1, bytes.len().max(1))
}

/// Splits at the `close` that belongs to the opening byte before `bytes`, which is left out.
fn split_closed(bytes: &[u8], open: Option<u8>, close: u8) -> (&[u8], &[u8]) {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            _ if byte == close && depth == 0 => {
                return (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..).unwrap_or_default());
            }
            _ if byte == close => depth -= 1,
            _ if Some(byte) == open => depth += 1,
            _ => {}
        }
        at += 1;
    }
    (bytes, &[])
}

/// Appends `text` without the backslashes of its quoted pairs.
fn push_unescaped(out: &mut Vec<u8>, text: &[u8]) {
    let mut escaped = false;
    for &byte in text {
        escaped = byte == b'\\' && !escaped;
        if !escaped {
            out.push(byte);
        }
    }
}

/// Which field of the address text goes to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Local,
    Domain,
    Route,
    /// After the end of an addr-spec: text that is only part of a display name, if a `<` follows.
    Nowhere,
}

/// Where the reader stands with respect to `<...>`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Angle {
    #[default]
    Before,
    Inside,
    After,
}

/// The list so far, and the address being read.
#[derive(Default)]
struct List {
    entries: Vec<Entry>,
    in_group: bool,
    /// The words seen so far as a display name; `address.mailbox` and `host` hold the same words as an addr-spec.
    phrase: Vec<u8>,
    address: Address,
    comment: Vec<u8>,
    place: Place,
    /// The local part has several words.
    words: bool,
    angle: Angle,
    /// White space or a quote's edge since the last text.
    apart: bool,
}

impl List {
    fn take(&mut self, token: Token<'_>) {
        match token {
            Token::Space(comment) => {
                self.apart = true;
                // Only a comment after the address is a name (RFC 5322 §3.4).
                if let Some(comment) = comment.filter(|_| !self.phrase.is_empty()) {
                    self.comment.clear();
                    push_unescaped(&mut self.comment, comment);
                }
            }
            Token::Text(text) => self.push_text(text, false),
            Token::Quoted(text) => self.push_text(text, true),
            Token::Special(byte) => self.take_special(byte),
        }
    }

    fn take_special(&mut self, byte: u8) {
        match (byte, self.angle, self.place) {
            (b'@', Angle::After, _) => {}
            (b'@', Angle::Inside, Place::Local) if self.address.mailbox.is_empty() => {
                self.place = Place::Route;
                self.address.route.push(b'@');
            }
            (b'@', _, Place::Route) => {
                if !self.address.route.ends_with(b",") {
                    self.address.route.push(b',');
                }
                self.address.route.push(b'@');
            }
            (b'@', _, Place::Local | Place::Domain | Place::Nowhere) => self.start_domain(),
            (b'<', Angle::Before, _) => {
                self.angle = Angle::Inside;
                self.place = Place::Local;
                self.address.mailbox.clear();
                self.address.host.clear();
            }
            (b'<', Angle::After, _) => {
                self.end_address();
                self.angle = Angle::Inside;
            }
            (b'>', Angle::Inside, _) => self.angle = Angle::After,
            (b',', Angle::Inside, Place::Route) => {
                // RFC 5322 §4.4: nothing may stand between two commas.
                if !self.address.route.ends_with(b",") {
                    self.address.route.push(b',');
                }
            }
            (b':', Angle::Inside, Place::Route) => {
                self.place = Place::Local;
                while self.address.route.ends_with(b",") {
                    self.address.route.pop();
                }
            }
            (b':', Angle::Before, Place::Local) if !self.in_group && !self.phrase.is_empty() => {
                self.entries.push(Entry::GroupStart(core::mem::take(&mut self.phrase)));
                self.in_group = true;
                self.reset();
            }
            (b',', _, _) => self.end_address(),
            (b';', _, _) => {
                self.end_address();
                self.end_group();
            }
            (b':', _, _) => self.push_text(b":", false),
            (_, _, _) => self.apart = true,
        }
    }

    /// An `@` of an addr-spec; a second one is none.
    fn start_domain(&mut self) {
        self.place = if self.place == Place::Local { Place::Domain } else { Place::Nowhere };
        self.apart = false;
        if self.angle == Angle::Before {
            self.phrase.push(b'@');
        }
    }

    fn push_text(&mut self, text: &[u8], quoted: bool) {
        if self.angle == Angle::After {
            return;
        }
        let apart = self.apart;
        if self.angle == Angle::Before {
            if !self.phrase.is_empty() && (apart || (quoted && !self.phrase.ends_with(b"@"))) {
                self.phrase.push(b' ');
            }
            push_text(&mut self.phrase, text, quoted);
        }
        let field = match self.place {
            Place::Local => &mut self.address.mailbox,
            Place::Domain => &mut self.address.host,
            Place::Route => &mut self.address.route,
            Place::Nowhere => return self.apart = quoted,
        };
        // White space may stand around the dots of an addr-spec (RFC 5322 §4.4).
        let gap = apart && !field.is_empty() && !field.ends_with(b".") && !text.starts_with(b".");
        if gap && self.place == Place::Domain {
            self.place = Place::Nowhere;
            return self.apart = quoted;
        }
        if gap && self.place == Place::Local {
            field.push(b' ');
            self.words = true;
        }
        push_text(field, text, quoted);
        self.apart = quoted && self.place == Place::Local && self.angle == Angle::Before;
    }

    fn end_address(&mut self) {
        let seen = self.angle != Angle::Before || !self.phrase.is_empty();
        if seen {
            let mut address = core::mem::take(&mut self.address);
            let name = if self.angle == Angle::Before { &mut self.comment } else { &mut self.phrase };
            address.name = core::mem::take(name);
            if self.words && self.angle == Angle::Before && address.host.is_empty() {
                // Words without an address are somebody's name.
                address.name = core::mem::take(&mut address.mailbox);
            }
            self.entries.push(Entry::Mailbox(address));
        }
        self.reset();
    }

    fn end_group(&mut self) {
        if self.in_group {
            self.entries.push(Entry::GroupEnd);
        }
        self.in_group = false;
    }

    fn reset(&mut self) {
        self.phrase.clear();
        self.address = Address::default();
        self.comment.clear();
        self.place = Place::Local;
        self.words = false;
        self.angle = Angle::Before;
        self.apart = false;
    }

    fn finish(mut self) -> Vec<Entry> {
        if self.entries.len() < ADDRESSES_MAX {
            self.end_address();
        }
        self.end_group();
        self.entries
    }
}

fn push_text(out: &mut Vec<u8>, text: &[u8], quoted: bool) {
    if quoted {
        push_unescaped(out, text);
    } else {
        out.extend_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;

    /// `name|route|mailbox|host` for each mailbox, `name:` and `;` for groups.
    fn show(value: &str) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut out = String::new();
        for entry in parse(value.as_bytes()) {
            out += &match entry {
                Entry::Mailbox(a) => {
                    format!("{}|{}|{}|{}, ", text(&a.name), text(&a.route), text(&a.mailbox), text(&a.host))
                }
                Entry::GroupStart(name) => format!("{}: ", text(&name)),
                Entry::GroupEnd => String::from("; "),
            };
        }
        String::from(out.trim_end().trim_end_matches(','))
    }

    #[test]
    fn rfc5322_appendix_a() {
        let cases = [
            ("John Doe <jdoe@machine.example>", "John Doe||jdoe|machine.example"),
            (
                "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
                "Mary Smith||mary|x.test, ||jdoe|example.org, Who?||one|y.test",
            ),
            (
                "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
                "||boss|nil.test, Giant; \"Big\" Box||sysservices|example.net",
            ),
            (
                "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
                "A Group: Ed Jones||c|a.test, ||joe|where.test, John||jdoe|one.test, ;",
            ),
            ("Undisclosed recipients:;", "Undisclosed recipients: ;"),
            ("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", "Hidden recipients: ;"),
            ("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "Pete||pete|silly.test"),
            (
                "A Group(Some people)\r\n        :Chris Jones <c@(Chris's host.)public.example>,\r\n            \
                joe@example.org,\r\n     John <jdoe@one.test> (my dear friend); (the end of the group)",
                "A Group: Chris Jones||c|public.example, ||joe|example.org, John||jdoe|one.test, ;",
            ),
            ("Joe Q. Public <john.q.public@example.com>", "Joe Q. Public||john.q.public|example.com"),
            (
                "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
                "Mary Smith|@node.test|mary|example.net, ||jdoe|test.example",
            ),
            ("John Doe <jdoe@machine(comment).  example>", "John Doe||jdoe|machine.example"),
            ("<@a,,@b:c@d>", "|@a,@b|c|d"),
        ];
        for (value, expected) in cases {
            assert_eq!(show(value), expected, "{value}");
        }
    }

    #[test]
    fn what_people_write() {
        let cases = [
            ("joe@x.test (Joe (the) \\(Great)", "Joe (the) (Great||joe|x.test"),
            ("joe@x.test <joe@x.test>", "joe@x.test||joe|x.test"),
            ("Joe <joe@x.test, ann@y.test", "Joe||joe|x.test, ||ann|y.test"),
            ("\"Joe <joe@x.test>, ann@y.test", "Joe||joe|x.test, ||ann|y.test"),
            ("Joe (oh <joe@x.test>, ann@y.test", "Joe oh||joe|x.test, ||ann|y.test"),
            ("\"(Joe <joe@x.test>", "Joe||joe|x.test"),
            ("((((Joe \" <joe@x.test>", "Joe||joe|x.test"),
            ("jdoe@x.test foo. bar, a@b", "||jdoe|x.test, ||a|b"),
            ("Joe Public", "Joe Public|||"),
            ("(Joe) a@b, (x) Ann (y)", "||a|b, y||Ann|"),
            ("Joe Public (x), Joe (x)", "Joe Public|||, x||Joe|"),
            ("joe", "||joe|"),
            ("<>", "|||"),
            ("@", "|||"),
            ("", ""),
            (" , ;,(c)", ""),
            ("a@b@c", "||a|b"),
            ("a@b c@d e <f@g>", "a@b c@d e||f|g"),
            ("a@b c@d", "||a|b"),
            ("<<a@b>>", "||a|b"),
            ("A <a@b> B <c@d>", "A||a|b, ||c|d"),
            ("a@b; c@d", "||a|b, ||c|d"),
            ("\"john doe\"@x.test", "||john doe|x.test"),
            ("<\"john \\\"doe\"@x.test>", "||john \"doe|x.test"),
            ("joe@[IPv6:::1], <ann@[127.0.0.1]>", "||joe|[IPv6:::1], ||ann|[127.0.0.1]"),
            ("[[[[, joe@[x", "||[[[[|, ||joe|[x"),
            ("G: a@b, H: c@d", "G: ||a|b, ||H: c|d, ;"),
            ("J\u{f6}rg <j@x.test>", "J\u{f6}rg||j|x.test"),
            ("=?utf-8?q?J=C3=B6rg?= <j@x.test>", "=?utf-8?q?J=C3=B6rg?=||j|x.test"),
            ("\"a\"b\"c\" <d@e>", "a b c||d|e"),
        ];
        for (value, expected) in cases {
            assert_eq!(show(value), expected, "{value}");
        }
    }

    #[test]
    fn a_list_has_a_limit() {
        let long = b"a,".repeat(ADDRESSES_MAX + 10);
        assert_eq!(parse(&long).len(), ADDRESSES_MAX);
    }

    proptest! {
        #[test]
        fn groups_are_balanced_and_text_is_bounded(pieces in proptest::collection::vec(prop::sample::select(&[
            "a", " ", ",", ";", ":", "<", ">", "@", "\"", "\\", "(", ")", "[", "]", ".", "\r\n ", "\u{f6}",
        ][..]), 0..60)) {
            let value = pieces.concat();
            let (mut open, mut text) = (false, 0);
            for entry in parse(value.as_bytes()) {
                match entry {
                    Entry::Mailbox(a) => text += a.name.len() + a.route.len() + a.mailbox.len() + a.host.len(),
                    Entry::GroupStart(name) => {
                        prop_assert!(!open && !name.is_empty());
                        (open, text) = (true, text + name.len());
                    }
                    Entry::GroupEnd => {
                        prop_assert!(open);
                        open = false;
                    }
                }
            }
            prop_assert!(!open && text <= 2 * value.len());
        }

        #[test]
        fn round_trip(name in "[a-z]{1,5}( [a-z]{1,5}){0,2}", mailbox in "[a-z.]{1,9}", host in "[a-z]{1,5}\\.test") {
            let entry = Entry::Mailbox(Address { name: name.clone().into_bytes(), route: Vec::new(),
                mailbox: mailbox.clone().into_bytes(), host: host.clone().into_bytes() });
            let written = format!("{name} <{mailbox}@{host}>,\"{name}\"<\"{mailbox}\"@{host}>");
            prop_assert_eq!(parse(written.as_bytes()), [entry.clone(), entry]);
        }
    }
}
