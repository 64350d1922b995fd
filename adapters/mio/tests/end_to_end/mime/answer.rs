//! An answer to FETCH as what it says, not how: a quoted string and a literal of the same octets are one.

use std::collections::BTreeMap;

use crate::harness::{Imap, Wire};

/// A value in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Nil,
    /// A number or another atom.
    Atom(String),
    String(Vec<u8>),
    List(Vec<Answer>),
}

impl Answer {
    fn list(&self) -> &[Answer] {
        match self {
            Answer::List(list) => list,
            _ => &[],
        }
    }

    fn is(&self, wanted: &str) -> bool {
        matches!(self, Answer::String(octets) if octets.eq_ignore_ascii_case(wanted.as_bytes()))
    }

    /// Whether a BODYSTRUCTURE has the part with these numbers (RFC 9051 §6.4.5.1).
    pub(crate) fn has_part(&self, numbers: &[usize]) -> bool {
        let (mut body, mut is_message) = (self, true);
        for number in numbers {
            let fields = body.list();
            let kind = |at: usize, wanted: &str| fields.get(at).is_some_and(|field| field.is(wanted));
            if !is_message && kind(0, "message") && kind(1, "rfc822") {
                // Its envelope is before its body.
                body = &fields[8];
                is_message = true;
            }
            let parts = body.list().iter().take_while(|field| matches!(field, Answer::List(_)));
            match parts.clone().count() {
                0 if is_message && *number == 1 => {}
                count if (1..=count).contains(number) => {
                    body = parts.clone().nth(number - 1).expect("counted")
                }
                _ => return false,
            }
            is_message = false;
        }
        true
    }

    /// On one line, for people.
    pub(crate) fn show(&self) -> String {
        match self {
            Answer::Nil => "NIL".to_owned(),
            Answer::Atom(text) => text.clone(),
            Answer::String(octets) => format!("\"{}\"", octets.escape_ascii()),
            Answer::List(list) => {
                format!("({})", list.iter().map(Answer::show).collect::<Vec<_>>().join(" "))
            }
        }
    }
}

/// The answers to one item for all messages, by UID.
pub(crate) fn fetch(imap: &mut Imap, item: &str) -> BTreeMap<u32, Answer> {
    let tag = imap.begin(&format!("UID FETCH 1:* (UID {item})"));
    let mut answers = BTreeMap::new();
    loop {
        let line = imap.wire().line().expect("a response");
        if let Some(end) = line.strip_prefix(&format!("{tag} ")) {
            assert!(end.starts_with("OK"), "{item}: {end}");
            return answers;
        }
        let Some((_, rest)) = line.split_once("FETCH (UID ") else { continue };
        let (uid, rest) = rest.split_once(' ').expect("an item after the UID");
        // A section's name may have spaces and parentheses.
        let name_end = if item.contains('[') { rest.find(']').expect("a section") } else { 0 };
        let (_, rest) = rest[name_end..].split_once(' ').expect("a value after its name");
        let mut reader = Reader { wire: imap.wire(), line: rest.to_owned() };
        let value = reader.value().unwrap_or_else(|| panic!("{item}: no value in {line}"));
        assert_eq!(reader.line, ")", "{item}");
        answers.insert(uid.parse().unwrap(), value);
    }
}

struct Reader<'w> {
    wire: &'w mut Wire,
    /// What is left of the line.
    line: String,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> String {
        let rest = self.line.split_off(count);
        std::mem::replace(&mut self.line, rest)
    }

    /// The next value; `None` at the end of a list.
    fn value(&mut self) -> Option<Answer> {
        let spaces = self.line.len() - self.line.trim_start_matches(' ').len();
        self.take(spaces);
        match self.line.chars().next()? {
            ')' => None,
            '(' => {
                self.take(1);
                let list = std::iter::from_fn(|| self.value()).collect();
                assert_eq!(self.take(1), ")");
                Some(Answer::List(list))
            }
            '"' => Some(Answer::String(self.quoted())),
            '{' => {
                let count: usize =
                    self.line[1..self.line.len() - 1].parse().expect("a literal at the end of a line");
                let octets = self.wire.octets(count).expect("the literal");
                self.line = self.wire.line().expect("the rest of the response");
                Some(Answer::String(octets))
            }
            _ => {
                let end = self.line.find([' ', '(', ')']).unwrap_or(self.line.len());
                let atom = self.take(end);
                Some(if atom == "NIL" { Answer::Nil } else { Answer::Atom(atom) })
            }
        }
    }

    fn quoted(&mut self) -> Vec<u8> {
        let (mut octets, mut escaped) = (Vec::new(), false);
        for (at, octet) in self.line.bytes().enumerate().skip(1) {
            match octet {
                b'"' if !escaped => {
                    self.take(at + 1);
                    return octets;
                }
                b'\\' if !escaped => escaped = true,
                _ => {
                    octets.push(octet);
                    escaped = false;
                }
            }
        }
        panic!("a quoted string does not end: {}", self.line)
    }
}
