//! The grammar of `/etc/aliases` (aliases(5)): lines `name: target, target`.
//!
//! A line that begins with white space continues the entry before it; lines that are blank or begin
//! with `#` are skipped wherever they are; a `#` where a target could begin ends its line. A name is `user`,
//! `user@domain` or `@domain` (everything else at that domain). A target is a name, an address, or
//! `\user`, the account itself whatever the aliases say. Double quotes keep special characters in a local part.
//!
//! Not done, and said so at its place: `|command`, `/file`, `:include:file`, `error:`. What the names *mean*
//! is decided by [`Site`](super::Site), which knows domains and accounts; this file only reads.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// Errors reported for one file; past these the reader stops.
const ERRORS_MAX: usize = 50;

/// A file of aliases as it was written, not yet resolved.
///
/// ```
/// use postier_core::site::Aliases;
/// let text = b"postmaster: you\nteam: you,\n  \"first last\"@example.org # both\n";
/// let (aliases, errors) = Aliases::parse(text);
/// assert_eq!((aliases.len(), errors.len()), (2, 0));
/// ```
#[derive(Clone, Default, Debug)]
pub struct Aliases {
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) targets: Vec<Target>,
}

/// A name or address with its place in the file. An empty local part with a domain is a catch-all.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) local: Vec<u8>,
    pub(super) domain: Option<Vec<u8>>,
    pub(super) span: Range<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) name: Name,
    /// Written with a backslash: the account, never an alias.
    pub(super) account_only: bool,
}

/// A mistake in the file: what, and where in octets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AliasesError {
    /// What is wrong.
    pub kind: AliasesErrorKind,
    /// The octets of the file that are wrong.
    pub span: Range<usize>,
}

/// The mistakes the grammar knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AliasesErrorKind {
    /// A line begins with white space and there is no entry before it.
    NothingToContinue,
    /// A line without the `:` after its name.
    NoColon,
    /// Nothing before the `:`.
    NoName,
    /// Nothing after the `:`, nor on continuation lines.
    NoTarget,
    /// A double quote that is not closed on its line.
    OpenQuote,
    /// Two targets with only white space between them.
    NoComma,
    /// `@` with nothing after it, or as a target with nothing before it.
    BadAddress,
    /// `|command`.
    Command,
    /// `/file`.
    File,
    /// `:include:file`.
    Include,
    /// Another word with a colon, such as OpenSMTPD's `error:`.
    Directive,
}

impl AliasesErrorKind {
    /// What to do about it, in one sentence.
    pub fn advice(self) -> &'static str {
        match self {
            Self::NothingToContinue => "begin the line with a name and a colon, at the first column",
            Self::NoColon => "write `name: target`",
            Self::NoName => "write a user, an address or `@domain` before the colon",
            Self::NoTarget => "write at least one user or address after the colon, or remove the line",
            Self::OpenQuote => "close the quote on the same line",
            Self::NoComma => "put a comma between targets, or quotes around a name with spaces",
            Self::BadAddress => "write `user` or `user@domain`",
            Self::Command => {
                "delivery to a command is not supported; name a user, and filter in the mail client"
            }
            Self::File => "delivery to a file is not supported; name a user",
            Self::Include => "including a list from another file is not supported; write its addresses here",
            Self::Directive => "only users and addresses can be targets",
        }
    }
}

impl fmt::Display for AliasesErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingToContinue => "a continuation line with nothing to continue",
            Self::NoColon => "no colon after the name",
            Self::NoName => "no name before the colon",
            Self::NoTarget => "the alias leads nowhere",
            Self::OpenQuote => "the quote is not closed",
            Self::NoComma => "a comma is missing",
            Self::BadAddress => "this is not an address",
            Self::Command => "delivery to a command",
            Self::File => "delivery to a file",
            Self::Include => "an included list",
            Self::Directive => "an unknown kind of target",
        })
    }
}

impl Aliases {
    /// Reads a whole file. What could be read is returned beside the errors, of which there are at most 50.
    pub fn parse(text: &[u8]) -> (Self, Vec<AliasesError>) {
        let mut reader = Reader { text, entries: Vec::new(), errors: Vec::new() };
        let mut start = 0;
        for line in text.split_inclusive(|&b| b == b'\n') {
            if reader.errors.len() >= ERRORS_MAX {
                break;
            }
            let length = line.trim_ascii_end().len();
            reader.line(start..start + length);
            start += line.len();
        }
        reader.finish_entry();
        (Self { entries: reader.entries }, reader.errors)
    }

    /// How many names are defined.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is defined.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

struct Reader<'t> {
    text: &'t [u8],
    entries: Vec<Entry>,
    errors: Vec<AliasesError>,
}

impl Reader<'_> {
    fn error(&mut self, kind: AliasesErrorKind, span: Range<usize>) {
        self.errors.push(AliasesError { kind, span });
    }

    fn octet(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    /// One line without its line end.
    fn line(&mut self, line: Range<usize>) {
        let first = self.skip_blanks(line.clone());
        match self.octet(first).filter(|_| first < line.end) {
            None | Some(b'#') => {}
            Some(_) if first > line.start && self.entries.is_empty() => {
                self.error(AliasesErrorKind::NothingToContinue, first..line.end);
            }
            Some(_) if first > line.start => self.targets(first..line.end),
            Some(_) => self.entry(line),
        }
    }

    fn entry(&mut self, line: Range<usize>) {
        self.finish_entry();
        let Some(colon) = self.find(line.clone(), b':') else {
            return self.error(AliasesErrorKind::OpenQuote, line);
        };
        let span = self.trim(line.start..colon);
        if colon == line.end {
            return self.error(AliasesErrorKind::NoColon, span);
        }
        if span.is_empty() {
            return self.error(AliasesErrorKind::NoName, line.start..colon + 1);
        }
        match self.address(span.clone()) {
            Some(name) => self.entries.push(Entry { name, targets: Vec::new() }),
            None => return self.error(AliasesErrorKind::BadAddress, span),
        }
        self.targets(colon + 1..line.end);
    }

    /// An entry is over: it must lead somewhere. One that does not is dropped.
    fn finish_entry(&mut self) {
        // An entry whose only targets were refused has been reported there.
        let Some(entry) = self.entries.last().filter(|entry| entry.targets.is_empty()) else { return };
        let span = entry.name.span.clone();
        if self.errors.last().is_none_or(|error| error.span.start < span.start) {
            self.error(AliasesErrorKind::NoTarget, span);
        }
        self.entries.pop();
    }

    /// The targets on (the rest of) a line, separated by commas.
    fn targets(&mut self, line: Range<usize>) {
        let mut at = line.start;
        while at < line.end {
            at = self.skip_blanks(at..line.end);
            if at >= line.end || self.octet(at) == Some(b'#') {
                return;
            }
            let Some(comma) = self.find(at..line.end, b',') else {
                return self.error(AliasesErrorKind::OpenQuote, at..line.end);
            };
            let item = self.without_comment(at..comma);
            // A comma inside a comment separates nothing.
            at = if item.end < comma && self.octet(item.end) == Some(b'#') { line.end } else { comma + 1 };
            let item = self.trim(item);
            if !item.is_empty() {
                self.target(item);
            }
        }
    }

    fn target(&mut self, span: Range<usize>) {
        let item = self.text.get(span.clone()).unwrap_or_default();
        let bare = item.strip_prefix(b"\"").unwrap_or(item);
        let refused = if bare.starts_with(b"|") {
            Some(AliasesErrorKind::Command)
        } else if bare.starts_with(b"/") {
            Some(AliasesErrorKind::File)
        } else if bare.get(..9).is_some_and(|head| head.eq_ignore_ascii_case(b":include:")) {
            Some(AliasesErrorKind::Include)
        } else if self.find(span.clone(), b':') != Some(span.end) {
            Some(AliasesErrorKind::Directive)
        } else if [b' ', b'\t'].iter().any(|&blank| self.find(span.clone(), blank) != Some(span.end)) {
            Some(AliasesErrorKind::NoComma)
        } else {
            None
        };
        if let Some(kind) = refused {
            return self.error(kind, span);
        }
        let account_only = item.starts_with(b"\\");
        let inner = if account_only {
            span.start + 1..span.end
        } else if item.starts_with(b"<") && item.ends_with(b">") {
            span.start + 1..span.end - 1
        } else {
            span.clone()
        };
        match self.address(inner).filter(|name| !name.local.is_empty()) {
            None => self.error(AliasesErrorKind::BadAddress, span),
            Some(name) => {
                let target = Target { name: Name { span, ..name }, account_only };
                // `line` and `entry` come here only with an entry begun; after a refused name there is none of ours.
                if let Some(entry) = self.entries.last_mut() {
                    entry.targets.push(target);
                }
            }
        }
    }

    /// `local`, `local@domain` or `@domain`, quotes and backslashes taken away.
    fn address(&self, span: Range<usize>) -> Option<Name> {
        let (mut text, mut at_sign) = (Vec::new(), None);
        let (mut quoted, mut escaped) = (false, false);
        for &octet in self.text.get(span.clone())? {
            match octet {
                _ if escaped => escaped = false,
                b'\\' if quoted => {
                    escaped = true;
                    continue;
                }
                b'"' => {
                    quoted = !quoted;
                    continue;
                }
                b'@' if !quoted => at_sign = Some(text.len()),
                _ => {}
            }
            text.push(octet);
        }
        let Some(at_sign) = at_sign else {
            return (!text.is_empty()).then_some(Name { local: text, domain: None, span });
        };
        let domain = text.get(at_sign + 1..).filter(|domain| !domain.is_empty())?.to_vec();
        text.truncate(at_sign);
        Some(Name { local: text, domain: Some(domain), span })
    }

    /// Where `wanted` is first outside quotes, or the end; `None` when a quote stays open.
    fn find(&self, range: Range<usize>, wanted: u8) -> Option<usize> {
        let (mut quoted, mut escaped) = (false, false);
        for (at, &octet) in range.clone().zip(self.text.get(range.clone())?) {
            match octet {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ if octet == wanted && !quoted => return Some(at),
                _ => {}
            }
        }
        (!quoted).then_some(range.end)
    }

    /// The part of a target before a `#` that follows white space.
    fn without_comment(&self, range: Range<usize>) -> Range<usize> {
        let mut from = range.start;
        while let Some(hash) = self.find(from..range.end, b'#').filter(|&hash| hash < range.end) {
            if hash > range.start && self.octet(hash - 1).is_some_and(|b| b.is_ascii_whitespace()) {
                return range.start..hash;
            }
            from = hash + 1;
        }
        range
    }

    fn skip_blanks(&self, range: Range<usize>) -> usize {
        let line = self.text.get(range.clone()).unwrap_or_default();
        range.start + (line.len() - line.trim_ascii_start().len())
    }

    fn trim(&self, range: Range<usize>) -> Range<usize> {
        let start = self.skip_blanks(range.clone());
        let text = self.text.get(start..range.end).unwrap_or_default();
        start..start + text.trim_ascii_end().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn show(text: &str) -> Vec<(String, Vec<String>)> {
        let (aliases, errors) = Aliases::parse(text.as_bytes());
        assert_eq!(errors, [], "{text}");
        let name = |name: &Name| {
            let mut out = String::from_utf8_lossy(&name.local).to_string();
            if let Some(domain) = &name.domain {
                out += "@";
                out += &String::from_utf8_lossy(domain);
            }
            out
        };
        let target =
            |t: &Target| if t.account_only { "\\".to_string() + &name(&t.name) } else { name(&t.name) };
        aliases.entries.iter().map(|e| (name(&e.name), e.targets.iter().map(target).collect())).collect()
    }

    fn errors(text: &str) -> Vec<(AliasesErrorKind, &str)> {
        let (_, errors) = Aliases::parse(text.as_bytes());
        errors.into_iter().map(|e| (e.kind, &text[e.span])).collect()
    }

    #[test]
    fn lists_go_over_lines_and_comments() {
        let text = "# head\nroot: you\n\nteam : a, b ,\n\tc@example.org,\n# between\n\n  <d@example.org> # a, comment\n@old.example:\r\n you\r\n";
        assert_eq!(
            show(text),
            [
                ("root".into(), std::vec!["you".to_string()]),
                ("team".into(), ["a", "b", "c@example.org", "d@example.org"].map(String::from).to_vec()),
                ("@old.example".into(), std::vec!["you".to_string()]),
            ]
        );
    }

    #[test]
    fn quotes_keep_what_would_separate() {
        let text = "\"a:b\": \"first, last\"@example.org, \"with \\\" quote\", \\you, c#d\n";
        assert_eq!(
            show(text),
            [(
                "a:b".to_string(),
                ["first, last@example.org", "with \" quote", "\\you", "c#d"].map(String::from).to_vec()
            )]
        );
    }

    #[test]
    fn refused_targets_say_which() {
        use AliasesErrorKind::*;
        assert_eq!(errors("a: |/bin/x\n"), [(Command, "|/bin/x")]);
        assert_eq!(errors("a: \"|/bin/x y, z\", b\n"), [(Command, "\"|/bin/x y, z\"")]);
        assert_eq!(errors("a: /dev/null\n"), [(File, "/dev/null")]);
        assert_eq!(errors("a: :include:/etc/list\n"), [(Include, ":include:/etc/list")]);
        assert_eq!(errors("a: error:550 gone\n"), [(Directive, "error:550 gone")]);
        assert_eq!(errors("a: b c\n"), [(NoComma, "b c")]);
    }

    #[test]
    fn broken_lines_say_why() {
        use AliasesErrorKind::*;
        assert_eq!(errors(" a: b\n"), [(NothingToContinue, "a: b")]);
        assert_eq!(errors("a b\n"), [(NoColon, "a b")]);
        assert_eq!(errors(": b\nc: d"), [(NoName, ":")]);
        assert_eq!(errors("a:\nb: c\nd: ,\n"), [(NoTarget, "a"), (NoTarget, "d")]);
        assert_eq!(errors("a: \"b\nc: d\n"), [(OpenQuote, "\"b")]);
        assert_eq!(errors("a: b@, @c\n"), [(BadAddress, "b@"), (BadAddress, "@c")]);
    }

    proptest! {
        #[test]
        fn any_octets_are_read_without_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            Aliases::parse(&text);
        }

        #[test]
        fn spans_stay_inside(text in "[a-c@:,|/#\"\\\\ \n\t<>]{0,60}") {
            let (_, errors) = Aliases::parse(text.as_bytes());
            for error in errors {
                prop_assert!(error.span.start <= error.span.end && error.span.end <= text.len());
            }
        }

        #[test]
        fn what_is_written_is_read(names in proptest::collection::btree_map("[a-z]{1,8}", proptest::collection::vec("[a-z]{1,8}", 1..5), 0..20)) {
            let mut text = String::new();
            for (name, targets) in &names {
                text += &std::format!("{name}: {}\n", targets.join(",\n  "));
            }
            let expected: Vec<_> = names.into_iter().collect();
            prop_assert_eq!(show(&text), expected);
        }
    }
}
