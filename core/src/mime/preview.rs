//! The first words of a message, as a list of messages shows them (RFC 8970).
//!
//! Taken from the first text part that says something, `text/plain` before `text/html`: quotations, signatures and
//! markup are left out, white space is made one space. What is given is Unicode text of at most [`PREVIEW_CHARS_MAX`]
//! characters.
//!
//! ```
//! use postier_core::mime::preview::preview;
//! assert_eq!(preview(b"Subject: x\n\n> Are you there?\n\nYes,\n  I am.\n-- \nJoe\n"), "Yes, I am.");
//! ```

use super::structure::Part;
use super::structure_parser::StructureParser;
use super::text::decode_part;
use alloc::string::String;

/// RFC 8970 §3: a preview has no more.
pub const PREVIEW_CHARS_MAX: usize = 200;
/// So many text parts are looked into.
const PARTS_MAX: usize = 8;
/// So much decoded text of a part is looked at, in octets.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The preview of a message, of which the first octets are enough. Empty if it has no text.
pub fn preview(message: &[u8]) -> String {
    let mut parser = StructureParser::new();
    parser.feed(message);
    let structure = parser.finish();
    let mut html = None;
    for part in structure.text_parts().filter(|part| !is_attachment(part)).take(PARTS_MAX) {
        if part.content.is_subtype(b"html") {
            html.get_or_insert(part);
            continue;
        }
        let words = plain_words(&text_of(part, message));
        if !words.is_empty() {
            return words;
        }
    }
    html.map(|part| markup_words(&text_of(part, message))).unwrap_or_default()
}

fn is_attachment(part: &Part) -> bool {
    part.content.disposition.as_ref().is_some_and(|field| field.value.eq_ignore_ascii_case(b"attachment"))
}

fn text_of(part: &Part, message: &[u8]) -> String {
    let mut text = String::new();
    decode_part(part, message, |piece| {
        if text.len() < TEXT_BYTES_MAX {
            text.push_str(piece);
        }
    });
    text
}

/// Collects words with one space between them, until there are enough characters.
#[derive(Default)]
struct Words {
    text: String,
    chars: usize,
    space: bool,
}

impl Words {
    fn is_full(&self) -> bool {
        self.chars >= PREVIEW_CHARS_MAX
    }

    fn push(&mut self, c: char) {
        // Soft hyphens, zero-width characters and marks of direction are there for the eye of a larger view.
        let invisible = matches!(c, '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fffd}');
        if c.is_whitespace() {
            self.space = !self.text.is_empty();
        } else if !c.is_control() && !invisible && !self.is_full() {
            if core::mem::take(&mut self.space) {
                self.text.push(' ');
                self.chars += 1;
            }
            if !self.is_full() {
                self.text.push(c);
                self.chars += 1;
            }
        }
    }

    fn finish(mut self) -> String {
        self.text.truncate(self.text.trim_end().len());
        self.text
    }
}

/// The words of plain text; if all of it is quoted, those of the quotation.
fn plain_words(text: &str) -> String {
    let quoted = |line: &str| line.starts_with('>');
    let mut own = Words::default();
    for line in text.lines().take_while(|line| line.trim_end_matches('\r') != "-- ") {
        if own.is_full() {
            break;
        }
        if !quoted(line) {
            line.chars().chain(['\n']).for_each(|c| own.push(c));
        }
    }
    let own = own.finish();
    if !own.is_empty() {
        return own;
    }
    let mut all = Words::default();
    for line in text.lines() {
        let line = line.trim_start_matches(['>', ' ']);
        line.chars().chain(['\n']).for_each(|c| all.push(c));
        if all.is_full() {
            break;
        }
    }
    all.finish()
}

/// The words of HTML, without what is not shown.
fn markup_words(text: &str) -> String {
    let mut words = Words::default();
    let mut rest = text;
    while let Some(c) = rest.chars().next().filter(|_| !words.is_full()) {
        rest = match c {
            '<' => after_tag(rest, &mut words),
            '&' => after_entity(rest, &mut words),
            _ => {
                words.push(c);
                rest.get(c.len_utf8()..).unwrap_or_default()
            }
        };
    }
    words.finish()
}

/// Elements whose text nobody sees.
const HIDDEN: [&str; 4] = ["style", "script", "title", "template"];
/// Elements that stand within a word.
const INLINE: [&str; 12] =
    ["a", "abbr", "b", "big", "em", "font", "i", "small", "span", "strong", "sub", "u"];

/// What follows a tag, a comment, or an element that is not shown.
fn after_tag<'t>(rest: &'t str, words: &mut Words) -> &'t str {
    if let Some(comment) = rest.strip_prefix("<!--") {
        return comment.split_once("-->").map_or("", |(_, after)| after);
    }
    let inner = rest.get(1..).unwrap_or_default();
    let closing = inner.starts_with('/');
    let name_at = inner.trim_start_matches('/');
    let end = name_at.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name_at.len());
    let name = name_at.get(..end).unwrap_or_default();
    let is_tag = name.starts_with(|c: char| c.is_ascii_alphabetic()) || inner.starts_with(['!', '?', '/']);
    if !is_tag {
        words.push('<');
        return inner;
    }

    let after = inner.split_once('>').map_or("", |(_, after)| after);
    if !closing && let Some(hidden) = HIDDEN.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        return after_element(after, hidden);
    }
    if !INLINE.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        words.push(' ');
    }
    after
}

/// What follows the end of an element.
fn after_element<'t>(mut rest: &'t str, name: &str) -> &'t str {
    while let Some((_, after)) = rest.split_once("</") {
        if after.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
            return after.split_once('>').map_or("", |(_, after)| after);
        }
        rest = after;
    }
    ""
}

/// The longest entity that is known.
const ENTITY_BYTES_MAX: usize = 10;

fn after_entity<'t>(rest: &'t str, words: &mut Words) -> &'t str {
    let inner = rest.get(1..).unwrap_or_default();
    let end = inner.bytes().take(ENTITY_BYTES_MAX).position(|octet| octet == b';');
    let name = end.and_then(|end| inner.get(..end)).unwrap_or_default();
    let found = match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" | "ensp" | "emsp" | "thinsp" => Some(' '),
        "zwnj" | "zwj" | "shy" => Some('\u{ad}'),
        "ndash" => Some('–'),
        "mdash" => Some('—'),
        "hellip" => Some('…'),
        "lsquo" => Some('‘'),
        "rsquo" => Some('’'),
        "ldquo" => Some('“'),
        "rdquo" => Some('”'),
        "copy" => Some('©'),
        "euro" => Some('€'),
        _ => numbered(name),
    };
    match (found, end) {
        (Some(c), Some(end)) => {
            words.push(c);
            inner.get(end + 1..).unwrap_or_default()
        }
        (Some(_) | None, _) => {
            words.push('&');
            inner
        }
    }
}

fn numbered(name: &str) -> Option<char> {
    let digits = name.strip_prefix('#')?;
    let number = match digits.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    char::from_u32(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    fn html(text: &str) -> String {
        preview(format!("MIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n\n{text}").as_bytes())
    }

    #[test]
    fn plain_text() {
        for (message, words) in [
            ("A: b\n\nHello,\n\n  world.\n", "Hello, world."),
            ("A: b\n\n", ""),
            ("A: b\n", ""),
            ("A: b\n\n> one\n>> two\n", "one two"),
            ("A: b\n\n> one\nyes\n-- \nme\n", "yes"),
            ("Content-Type: image/png\nMIME-Version: 1.0\n\nabc", ""),
            (
                "MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\
                 Content-Type: text/plain; charset=iso-8859-1\n\ncaf=E9 =\nau lait\n",
                "café au lait",
            ),
        ] {
            assert_eq!(preview(message.as_bytes()), words, "{message}");
        }
        let long = preview(format!("A: b\n\n{}", "word é ".repeat(100)).as_bytes());
        assert!(long.starts_with("word é word é") && long.chars().count() <= PREVIEW_CHARS_MAX);
        assert!(long.chars().count() > PREVIEW_CHARS_MAX - 7);
    }

    #[test]
    fn the_first_part_that_says_something() {
        let parts = |first: &str, second: &str| {
            preview(
                format!(
                    "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\nnothing\n--x\n{first}\n--x\n{second}\n--x--\n"
                )
                .as_bytes(),
            )
        };
        let rich = "Content-Type: text/html\n\n<p>rich</p>";
        assert_eq!(parts(rich, "Content-Type: text/plain\n\nplain"), "plain");
        assert_eq!(parts(rich, "Content-Type: text/plain\n\n \n"), "rich");
        assert_eq!(parts("Content-Disposition: attachment\n\na file", "\nthe letter"), "the letter");
    }

    #[test]
    fn markup() {
        for (text, words) in [
            ("<html><head><title>no</title><style>p {}</style></head><p>one</p><p>two", "one two"),
            ("a<b>b</b>c &amp; d&#233;&#x21; &nbsp; e &bogus; <3", "abc & dé! e &bogus; <3"),
            ("<!-- no --> yes <!-- never", "yes"),
            ("<script>if (a </b>) {}</script>x", "x"),
            ("a<br/>b<!DOCTYPE x>c", "a b c"),
            ("<STYLE>", ""),
            ("<", "<"),
            ("&", "&"),
        ] {
            assert_eq!(html(text), words, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_message_has_a_short_one(message in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(preview(&message).chars().count() <= PREVIEW_CHARS_MAX);
        }

        #[test]
        fn any_markup(pieces in proptest::collection::vec(proptest::sample::select(
            &["<", ">", "/", "style", "!--", "--", "&", "#", "x41", ";", "é", " ", "a"][..]
        ), 0..60)) {
            let words = html(&pieces.concat());
            prop_assert!(words.trim() == words && words.chars().count() <= PREVIEW_CHARS_MAX);
        }
    }
}
