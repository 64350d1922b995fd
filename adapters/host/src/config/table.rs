//! Reading a TOML table key by key, each value with its place, so that every mistake is reported and not only
//! the first one, and a key nobody asked for is pointed at with the key that was probably meant.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::report::{Problem, did_you_mean};

/// A value and the octets of the file it stands at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Located<T> {
    /// What is written there.
    pub value: T,
    /// Where.
    pub span: Range<usize>,
}

/// The file being read, and what is wrong with it so far.
pub(super) struct Source<'s> {
    pub(super) path: &'s Path,
    pub(super) text: &'s str,
    pub(super) problems: RefCell<Vec<Problem>>,
}

impl Source<'_> {
    pub(super) fn report(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// An error that points at a span.
    pub(super) fn error(
        &self,
        title: impl Into<String>,
        span: Range<usize>,
        label: impl Into<String>,
    ) -> Problem {
        Problem::error(title).at(self.path, self.text.as_bytes(), span, label)
    }
}

/// A table whose keys are taken one after the other. What is left at the end is not known.
pub(super) struct Table<'t, 's> {
    source: &'t Source<'s>,
    /// `tls`; empty for the top of the file.
    name: &'static str,
    table: Option<&'t DeTable<'t>>,
    span: Range<usize>,
    known: RefCell<Vec<&'static str>>,
    /// There is something in its place that has been, or will be, reported.
    excused: bool,
}

/// A value of [`Table::pairs`].
pub(super) enum Pair<'t, 's> {
    Text(Located<String>),
    Table(Table<'t, 's>),
}

impl<'t, 's> Table<'t, 's> {
    pub(super) fn root(source: &'t Source<'s>, table: &'t DeTable<'t>) -> Self {
        Self { source, name: "", table: Some(table), span: 0..0, known: RefCell::default(), excused: false }
    }

    /// The section of this name; one that is not there has no keys.
    pub(super) fn section(&self, key: &'static str) -> Self {
        let found = self.take(key);
        let span = found.map_or(0..0, Spanned::span);
        let table = found.and_then(|value| match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                let title = format!("`{key}` must be a section, not {}", kind(other));
                self.source.report(
                    self.source
                        .error(title, span.clone(), "")
                        .advise(format!("write `[{key}]` on a line of its own")),
                );
                None
            }
        });
        let excused = table.is_none() && (found.is_some() || self.misspelt(key));
        Self { source: self.source, name: key, table, span, known: RefCell::default(), excused }
    }

    fn take(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.known.borrow_mut().push(key);
        self.table?.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// Whether the file has this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.into_iter().flatten().any(|(name, _)| name.get_ref() == key)
    }

    /// Where the value of a key is.
    pub(super) fn span_of(&self, key: &str) -> Range<usize> {
        let found = self.table.into_iter().flatten().find(|(name, _)| name.get_ref() == key);
        found.map_or(self.span.clone(), |(_, value)| value.span())
    }

    pub(super) fn string(&self, key: &'static str) -> Option<Located<String>> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Located { value: text.clone().into_owned(), span: value.span() }),
            other => {
                self.wrong_type(key, "a string", other, value.span());
                None
            }
        }
    }

    /// A string that must be there. `example` is a whole line.
    pub(super) fn required(&self, key: &'static str, example: &str) -> Option<Located<String>> {
        let found = self.string(key);
        if self.table.is_none_or(|table| !table.iter().any(|(name, _)| name.get_ref() == key)) {
            self.missing(key, example);
        }
        found.filter(|found| {
            let empty = found.value.is_empty();
            if empty {
                let problem = self.source.error(format!("`{key}` is empty"), found.span.clone(), "");
                self.source.report(problem.advise(format!("write `{example}`")));
            }
            !empty
        })
    }

    /// Whether a key that will be reported as unknown was probably meant to be this one.
    fn misspelt(&self, key: &str) -> bool {
        let keys = self.table.into_iter().flatten().map(|(name, _)| name.get_ref());
        keys.filter(|name| *name != key).any(|name| did_you_mean(name, [key]).is_some())
    }

    pub(super) fn missing(&self, key: &str, example: &str) {
        if self.excused || self.misspelt(key) {
            return;
        }
        let problem = match (self.name, self.table) {
            ("", _) => Problem::error(format!("`{key}` is missing")).in_file(self.source.path),
            (name, None) => {
                Problem::error(format!("`{key}` of section [{name}] is missing")).in_file(self.source.path)
            }
            (name, Some(_)) => self.source.error(
                format!("`{key}` is missing from [{name}]"),
                self.span.clone(),
                "in this section",
            ),
        };
        let section = if self.name.is_empty() { String::new() } else { format!(" under `[{}]`", self.name) };
        let place = if self.name.is_empty() { " above the first section" } else { &section };
        self.source.report(problem.advise(format!("write `{example}`{place}")));
    }

    /// A path, relative ones to the file's directory; absolute from here on.
    pub(super) fn path(&self, found: Option<Located<String>>) -> Option<Located<PathBuf>> {
        let Located { value, span } = found?;
        let path = self.source.path.parent().unwrap_or(Path::new("")).join(value);
        // Only a process whose directory is gone has no absolute paths.
        Some(Located { value: std::path::absolute(&path).unwrap_or(path), span })
    }

    pub(super) fn integer(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.take(key)?;
        let DeValue::Integer(digits) = value.get_ref() else {
            self.wrong_type(key, "a whole number", value.get_ref(), value.span());
            return None;
        };
        let number = u64::from_str_radix(digits.as_str(), digits.radix()).ok();
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let title = format!("`{key}` must be between {} and {}", range.start(), range.end());
            self.source.report(self.source.error(title, value.span(), ""));
        }
        number
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        let value = self.take(key)?;
        let text = match value.get_ref() {
            DeValue::String(text) => text.as_ref(),
            _ => "",
        };
        let found = words.iter().find(|(word, _)| *word == text).map(|&(_, choice)| choice);
        if found.is_none() {
            let list: Vec<_> = words.iter().map(|(word, _)| format!("`{key} = \"{word}\"`")).collect();
            let written = self.source.text.get(value.span()).unwrap_or_default();
            let problem = self.source.error(format!("`{key}` cannot be {written}"), value.span(), "");
            self.source.report(problem.advise(format!("write {}", list.join(" or "))));
        }
        found
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::Boolean(yes) => Some(*yes),
            other => {
                self.wrong_type(key, "true or false", other, value.span());
                None
            }
        }
    }

    /// The section is in the file.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Every key of a section whose keys are not known before, with its value: a string, or an inline table.
    pub(super) fn pairs(&self) -> Vec<(String, Pair<'t, 's>)> {
        let mut pairs = Vec::new();
        for (key, value) in self.table.into_iter().flatten() {
            let key = key.get_ref().to_string();
            match value.get_ref() {
                DeValue::String(text) => {
                    let text = text.clone().into_owned();
                    pairs.push((key, Pair::Text(Located { value: text, span: value.span() })));
                }
                DeValue::Table(table) => {
                    let (source, name) = (self.source, self.name);
                    let (span, known) = (value.span(), RefCell::default());
                    let table = Table { source, name, table: Some(table), span, known, excused: false };
                    pairs.push((key, Pair::Table(table)));
                }
                other => self.wrong_type(&key, "a string", other, value.span()),
            }
        }
        pairs
    }

    pub(super) fn strings(&self, key: &'static str) -> Option<Vec<Located<String>>> {
        let value = self.take(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(key, "a list of strings", value.get_ref(), value.span());
            return None;
        };
        let mut strings = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => {
                    strings.push(Located { value: text.clone().into_owned(), span: item.span() });
                }
                other => self.wrong_type(key, "a list of strings", other, item.span()),
            }
        }
        Some(strings)
    }

    /// Addresses to listen on: `address:port`, or an address alone for the service's own port.
    pub(super) fn listeners(&self, key: &'static str, port: u16) -> Option<Vec<Located<SocketAddr>>> {
        let strings = self.strings(key)?;
        let mut addresses = Vec::new();
        for Located { value, span } in strings {
            let bare = value.strip_prefix('[').and_then(|value| value.strip_suffix(']')).unwrap_or(&value);
            let parsed =
                value.parse().or_else(|_| bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port)));
            match parsed {
                Ok(address) => addresses.push(Located { value: address, span }),
                Err(_) => {
                    let problem = self.source.error(format!("\"{value}\" is not an address"), span, "");
                    let examples =
                        format!("write \"192.0.2.1:{port}\", \"[2001:db8::1]:{port}\", or an address alone");
                    self.source.report(problem.advise(examples));
                }
            }
        }
        Some(addresses)
    }

    fn wrong_type(&self, key: &str, expected: &str, found: &DeValue<'_>, span: Range<usize>) {
        let problem =
            self.source.error(format!("`{key}` must be {expected}, not {}", kind(found)), span.clone(), "");
        let advice = match (expected, found) {
            ("a string", DeValue::Integer(_) | DeValue::Boolean(_) | DeValue::Float(_)) => {
                format!("write `{key} = \"{}\"`", self.source.text.get(span).unwrap_or_default())
            }
            ("a list of strings", DeValue::String(_)) => {
                format!("write `{key} = [{}]`", self.source.text.get(span).unwrap_or_default())
            }
            ("a whole number", DeValue::String(text)) if text.parse::<u64>().is_ok() => {
                format!("write `{key} = {text}`")
            }
            _ => String::new(),
        };
        self.source.report(problem.advise(advice));
    }

    /// Reports the keys nobody asked for. `all` are the keys of all sections, to tell where a lost one belongs.
    pub(super) fn finish(self, all: &[(&'static str, &'static str)]) {
        let known = self.known.into_inner();
        for (name, _) in self.table.into_iter().flatten() {
            let (key, span) = (name.get_ref().as_ref(), name.span());
            if known.contains(&key) {
                continue;
            }
            let within = if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
            let problem = self.source.error(format!("unknown key `{key}`{within}"), span, "");
            let elsewhere = all.iter().find(|(section, word)| *word == key && *section != self.name);
            let advice = if let Some(word) = did_you_mean(key, known.iter().copied()) {
                format!("did you mean `{word}`?")
            } else if let Some((section, _)) = elsewhere {
                match *section {
                    "" => format!("`{key}` belongs above the first section"),
                    section => format!("`{key}` belongs under `[{section}]`"),
                }
            } else {
                let words: Vec<_> = known.iter().map(|word| format!("`{word}`")).collect();
                format!("known here: {}", words.join(", "))
            };
            self.source.report(problem.advise(advice));
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}
