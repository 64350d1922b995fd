//! `Content-Type`, `Content-Disposition` and their parameters (RFC 2045 §5.1, RFC 2183, RFC 2231).
//!
//! Reading is lenient and linear. Continuations (`name*0`, `name*1*`) are joined as RFC 2231 §6 asks of IMAP servers,
//! in the form Dovecot gives them: `name`, or `name*` with charset and percent escapes kept; pieces that miss one of
//! their number stay as they are. [`decoded`] gives the text that is meant.

use alloc::string::String;
use alloc::vec::Vec;

use super::encoded_word::{self, hex_pair};
use super::{charset, header::unfold_exactly};

/// Most parameters read from one field.
pub const PARAMS_MAX: usize = 256;

/// One parameter, its value unquoted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Param {
    /// The name as written.
    pub name: Vec<u8>,
    /// The value without quotes and escapes.
    pub value: Vec<u8>,
}

/// A value with parameters: `attachment; filename="a.pdf"`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameterized {
    /// What stands before the first `;`, `text/plain` or `attachment`, without white space and comments.
    pub value: Vec<u8>,
    /// The parameters in order, joined continuations last.
    pub params: Vec<Param>,
}

impl Parameterized {
    /// The raw value of the parameter `name` (any case).
    pub fn param(&self, name: &[u8]) -> Option<&[u8]> {
        find(&self.params, name)
    }
}

/// Reads a field's value. `None` when there is nothing in it; `value` is empty when there are parameters only.
pub fn parse(value: &[u8]) -> Option<Parameterized> {
    let value = unfold_exactly(value);
    let mut cursor = Cursor { rest: &value };
    let (head, _) = cursor.word(b";=");
    let mut params = Vec::new();
    let mut starred = false;
    while cursor.skip_past(b';') && params.len() < PARAMS_MAX {
        let (name, _) = cursor.word(b";=");
        if name.is_empty() || cursor.rest.first() != Some(&b'=') {
            continue;
        }
        cursor.skip_past(b'=');
        starred |= name.contains(&b'*');
        params.push(Param { name, value: cursor.value() });
    }
    let params = if starred { join_continuations(params) } else { params };
    (!head.is_empty() || !params.is_empty()).then_some(Parameterized { value: head, params })
}

/// The one word that the value of a field is; `None` when there is none, or more.
pub(super) fn one_word(value: &[u8]) -> Option<Vec<u8>> {
    let value = unfold_exactly(value);
    let (word, alone) = Cursor { rest: &value }.word(b";");
    (alone && !word.is_empty()).then_some(word)
}

/// The text of parameter `name` in UTF-8: RFC 2231's extended form when there is one, else the plain value, with
/// encoded words decoded though they do not belong there.
///
/// ```
/// use postier_core::mime::param::{decoded, parse};
/// let field = parse(b"attachment; filename*0*=UTF-8''caf%C3%A9; filename*1=.pdf").unwrap();
/// assert_eq!(decoded(&field.params, b"filename").as_deref(), Some("café.pdf"));
/// ```
pub fn decoded(params: &[Param], name: &[u8]) -> Option<String> {
    let extended = params
        .iter()
        .find(|param| param.name.strip_suffix(b"*").is_some_and(|plain| plain.eq_ignore_ascii_case(name)));
    let Some(extended) = extended else { return find(params, name).map(encoded_word::decode) };
    let mut pieces = extended.value.splitn(3, |&byte| byte == b'\'');
    let (label, text) = match (pieces.next(), pieces.next(), pieces.next()) {
        (Some(label), Some(_language), Some(text)) => (label, text),
        (_, _, _) => (&b""[..], &extended.value[..]),
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        (bytes, rest) = match (byte, after) {
            (b'%', [high, low, tail @ ..]) if hex_pair(*high, *low).is_some() => {
                bytes.extend(hex_pair(*high, *low));
                (bytes, tail)
            }
            (_, _) => {
                bytes.push(byte);
                (bytes, after)
            }
        };
    }
    Some(charset::decode(label, &bytes))
}

fn find<'a>(params: &'a [Param], name: &[u8]) -> Option<&'a [u8]> {
    params.iter().find(|param| param.name.eq_ignore_ascii_case(name)).map(|param| &param.value[..])
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn bump(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    /// Goes past the next `stop` that is outside of quotes and comments; false at the end.
    fn skip_past(&mut self, stop: u8) -> bool {
        while let Some(byte) = self.bump() {
            match byte {
                b'"' => self.quoted(&mut Vec::new()),
                b'(' => self.skip_comment(),
                _ if byte == stop => return true,
                _ => {}
            }
        }
        false
    }

    /// After `(`, to the `)` that belongs to it.
    fn skip_comment(&mut self) {
        let mut depth = 1_usize;
        while depth > 0
            && let Some(byte) = self.bump()
        {
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                b'\\' => _ = self.bump(),
                _ => {}
            }
        }
    }

    /// After `"`, to the next one; the inside goes to `out` without its escapes.
    fn quoted(&mut self, out: &mut Vec<u8>) {
        while let Some(byte) = self.bump() {
            match byte {
                b'"' => return,
                b'\\' => out.extend(self.bump()),
                _ => out.push(byte),
            }
        }
    }

    /// The first word before one of `stops`, without comments and quotes, and whether it is the only one; white space
    /// may stand around its slash.
    fn word(&mut self, stops: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        let (mut apart, mut alone) = (false, true);
        while let Some(&byte) = self.rest.first()
            && !stops.contains(&byte)
        {
            self.bump();
            match byte {
                b'(' => self.skip_comment(),
                b'"' if out.is_empty() => {
                    self.quoted(&mut out);
                    apart = true;
                }
                b' ' | b'\t' => apart |= !out.is_empty() && !out.ends_with(b"/"),
                b'/' => {
                    out.push(byte);
                    apart = false;
                }
                _ if apart => alone = false,
                _ => out.push(byte),
            }
        }
        (out, alone)
    }

    /// Whether white space and what looks like another parameter follow (`x=1 y=2`, its `;` forgotten).
    fn at_param(&self) -> bool {
        let rest = self.rest.trim_ascii_start();
        let name = rest.iter().position(|&byte| !(byte.is_ascii_alphanumeric() || b"-_*".contains(&byte)));
        rest.len() < self.rest.len() && name.is_some_and(|end| end > 0 && rest.get(end) == Some(&b'='))
    }

    /// A parameter's value: quoted, or everything up to `;`, a comment or what looks like another parameter, inner
    /// spaces too (`filename=my file.txt`).
    fn value(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(&byte) = self.rest.first() {
            match byte {
                b' ' | b'\t' if out.is_empty() => _ = self.bump(),
                b'"' if out.is_empty() => {
                    self.bump();
                    self.quoted(&mut out);
                    return out;
                }
                b'(' if out.is_empty() => {
                    self.bump();
                    self.skip_comment();
                }
                b';' | b'(' => break,
                b' ' | b'\t' if !out.ends_with(b" ") && !out.ends_with(b"\t") && self.at_param() => break,
                _ => {
                    out.push(byte);
                    self.bump();
                }
            }
        }
        out.truncate(out.trim_ascii_end().len());
        out
    }
}

/// A piece of a continued parameter, or one that is whole in its extended form (`name*`).
struct Piece {
    base: Vec<u8>,
    /// `None` for a whole one.
    number: Option<u32>,
    extended: bool,
    param: Param,
}

/// RFC 2231 §3 and §4.1: `name*0`, `name*1*`, … become one parameter. In Dovecot's order: the plain ones first.
fn join_continuations(params: Vec<Param>) -> Vec<Param> {
    let (mut out, mut pieces) = (Vec::new(), Vec::new());
    for param in params {
        match split_continuation(&param.name) {
            Some((base, number, extended)) => {
                pieces.push(Piece { base: base.to_ascii_lowercase(), number, extended, param });
            }
            None => out.push(param),
        }
    }
    pieces.sort_by(|a, b| (&a.base, a.number).cmp(&(&b.base, b.number)));
    for group in pieces.chunk_by(|a, b| a.base == b.base && a.number.is_some() == b.number.is_some()) {
        let complete = group.iter().zip(0..).all(|(piece, number)| piece.number == Some(number));
        match group.first() {
            Some(first) if complete => out.push(join(first, group)),
            _ => out.extend(group.iter().map(|piece| piece.param.clone())),
        }
    }
    out
}

fn join(first: &Piece, group: &[Piece]) -> Param {
    let name_bytes = first.base.len();
    let mut name = first.param.name.get(..name_bytes).unwrap_or(&first.base).to_vec();
    let mut value = Vec::new();
    if !group.iter().any(|piece| piece.extended) {
        group.iter().for_each(|piece| value.extend_from_slice(&piece.param.value));
        return Param { name, value };
    }
    name.push(b'*');
    if !first.extended {
        // No charset and no language.
        value.extend_from_slice(b"''");
    }
    for piece in group {
        if piece.extended {
            value.extend_from_slice(&piece.param.value);
        } else {
            piece.param.value.iter().for_each(|&byte| push_percent(&mut value, byte));
        }
    }
    Param { name, value }
}

fn push_percent(out: &mut Vec<u8>, byte: u8) {
    if byte.is_ascii_graphic() && !b"*'%".contains(&byte) {
        out.push(byte);
    } else {
        let digit = |half: u8| *b"0123456789abcdef".get(usize::from(half)).unwrap_or(&b'0');
        out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
    }
}

/// `filename*1*` is (`filename`, 1, true), `filename*` is (`filename`, none, true).
fn split_continuation(name: &[u8]) -> Option<(&[u8], Option<u32>, bool)> {
    let (name, extended) = name.strip_suffix(b"*").map_or((name, false), |name| (name, true));
    let Some(star) = name.iter().rposition(|&byte| byte == b'*') else {
        return (extended && !name.is_empty()).then_some((name, None, true));
    };
    let (base, digits) = (name.get(..star)?, name.get(star + 1..)?);
    let ok = !base.is_empty() && matches!(digits.len(), 1..=4) && digits.iter().all(u8::is_ascii_digit);
    let number = || digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    ok.then(|| (base, Some(number()), extended))
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use proptest::prelude::*;

    use super::*;

    fn show(value: &str) -> String {
        let Some(field) = parse(value.as_bytes()) else { return String::from("none") };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        field.params.iter().fold(text(&field.value), |out, param| {
            format!("{out}|{}={}", text(&param.name), text(&param.value))
        })
    }

    #[test]
    fn fields() {
        let cases = [
            ("text/plain; charset=us-ascii (Plain text)", "text/plain|charset=us-ascii"),
            ("text / plain ; charset = \"us;\\\"ascii\" x ; a=b", "text/plain|charset=us;\"ascii|a=b"),
            ("attachment; filename=my file (1).txt; size=3", "attachment|filename=my file|size=3"),
            ("attachment;; x; =y; a=; b", "attachment|a="),
            ("(c(d\\)) ;) text (e);a=\"b", "text|a=b"),
            ("; a=b", "|a=b"),
            ("text plain; a b=c", "text|a=c"),
            ("\"attachment\" x; a=b", "attachment|a=b"),
            ("filename=x; a=b", "filename|a=b"),
            ("a; b=c\n\td=\"e\"; f=my file; g=h i =j", "a|b=c|f=my file|g=h i =j"),
            ("a; b=\"c\n\td\"; e*=f; g=h; E*0=i", "a|b=c\td|g=h|e*=f|E=i"),
            ("", "none"),
            (
                "message/external-body; URL*0=\"ftp://\";\r\n URL*1=\"cs.utk.edu\"; access-type=URL",
                "message/external-body|access-type=URL|URL=ftp://cs.utk.edu",
            ),
            (
                "application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20;\
                title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"",
                "application/x-stuff|title*=us-ascii'en'This%20is%20even%20more%20%2A%2A%2Afun%2A%2A%2A%20isn%27t%20it!",
            ),
            ("a/b; t*1=x; T*0=y; u*1=z; v*=utf-8''w; s*1*=q; s*0=p", "a/b|s*=''pq|T=yx|u*1=z|v*=utf-8''w"),
        ];
        for (value, expected) in cases {
            assert_eq!(show(value), expected, "{value}");
        }
    }

    #[test]
    fn one_word_or_none() {
        let word = |value: &str| one_word(value.as_bytes()).map(|word| String::from_utf8(word).unwrap());
        for (value, expected) in [
            (" (c) base64 (x)", Some("base64")),
            ("\"base64\"; x=y", Some("base64")),
            ("8 bit", None),
            ("\"8bit\" x", None),
            ("", None),
        ] {
            assert_eq!(word(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn decodes() {
        let text =
            |value: &str, name: &str| decoded(&parse(value.as_bytes()).unwrap().params, name.as_bytes());
        let title = "a; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A";
        assert_eq!(text(title, "TITLE").unwrap(), "This is ***fun***");
        assert_eq!(text("a; f*=iso-8859-1''%e9%zz", "f").unwrap(), "é%zz");
        assert_eq!(text("a; f*=plain", "f").unwrap(), "plain");
        assert_eq!(text("a; f=\"=?utf-8?q?=C3=A9?=\"", "f").unwrap(), "é");
        assert_eq!(text("a; f=b", "g"), None);
    }

    proptest! {
        #[test]
        fn never_panics_nor_grows(pieces in proptest::collection::vec(prop::sample::select(&[
            "a", "=", ";", "*", "*0", "*1*", "\"", "\\", "(", ")", " ", "'", "%", "%41", "\r\n ", "\u{e9}",
        ][..]), 0..60)) {
            let value = pieces.concat();
            if let Some(field) = parse(value.as_bytes()) {
                let bytes: usize = field.params.iter().map(|p| p.name.len() + p.value.len()).sum();
                prop_assert!(bytes <= 3 * value.len() + 2);
                decoded(&field.params, b"a");
            }
        }
    }
}
