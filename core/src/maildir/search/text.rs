//! Looking for texts, in any case, in headers and in what passes by.

use super::program::Facts;
use crate::mime::address::{self, Entry};
use crate::mime::casemap::fold;
use crate::mime::date::parse_rfc5322;
use crate::mime::encoded_word;
use crate::mime::header::{fields, unfold};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use memchr::memmem::Finder;

/// Where a text may be, or where one is looked for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// In the fields of that name of the message's header.
    Field(Box<[u8]>),
    /// In any header, or in the body.
    Header,
    /// In the body.
    Body,
}

/// A text to look for.
#[derive(Debug)]
pub(super) struct Text {
    place: Where,
    folded: Vec<u8>,
}

impl Text {
    pub(super) fn new(place: Where, text: &str) -> Text {
        let mut folded = Vec::new();
        fold(text, &mut folded);
        Text { place, folded }
    }

    /// The name of the field it is looked for in, if it is one.
    pub(super) fn field(&self) -> Option<&[u8]> {
        match &self.place {
            Where::Field(name) => Some(name),
            Where::Header | Where::Body => None,
        }
    }

    /// Whether finding the text at `place` counts.
    fn counts_in(&self, place: &Where) -> bool {
        match &self.place {
            Where::Field(_) => false,
            Where::Header => true,
            Where::Body => *place == Where::Body,
        }
    }
}

/// All texts of a query, made ready.
#[derive(Debug)]
pub(super) struct Needles<'t> {
    texts: &'t [Text],
    finders: Vec<Finder<'t>>,
    /// Octets of the longest text that can be anywhere.
    longest: usize,
}

impl<'t> Needles<'t> {
    pub(super) fn new(texts: &'t [Text]) -> Needles<'t> {
        let anywhere = texts.iter().filter(|text| text.counts_in(&Where::Body));
        Needles {
            texts,
            finders: texts.iter().map(|text| Finder::new(&text.folded)).collect(),
            longest: anywhere.map(|text| text.folded.len()).max().unwrap_or(0),
        }
    }

    /// Looks into the header of the message. What is looked for in fields is known afterwards.
    pub(super) fn look_into_header(&self, header: &[u8], facts: &mut Facts) {
        let (mut folded, mut shown, mut plain) = (Vec::new(), Vec::new(), Vec::new());
        for field in fields(header) {
            folded.clear();
            let named = |text: &Text| matches!(&text.place, Where::Field(name) if field.is(name));
            for (number, (text, finder)) in self.texts.iter().zip(&self.finders).enumerate() {
                let Some(found) = facts.found.get_mut(number) else { continue };
                if *found == Some(true) || !named(text) {
                    continue;
                }
                if folded.is_empty() {
                    fold(&encoded_word::decode(field.value), &mut folded);
                    one_space_for_many(&folded, &mut shown);
                    let addresses = ADDRESS_FIELDS.iter().any(|name| field.is(name));
                    plain_addresses(if addresses { field.value } else { b"" }, &mut plain);
                }
                if text.folded.is_empty()
                    || [&folded, &shown, &plain].iter().any(|in_this| finder.find(in_this).is_some())
                {
                    *found = Some(true);
                }
            }
        }
        for (text, found) in self.texts.iter().zip(&mut facts.found) {
            if matches!(text.place, Where::Field(_)) && found.is_none() {
                *found = Some(false);
            }
        }
        self.look_into_fields(header, Where::Header, facts);
    }

    /// Looks into all fields of a header for what can be anywhere.
    pub(super) fn look_into_fields(&self, header: &[u8], place: Where, facts: &mut Facts) {
        if self.longest == 0 {
            return;
        }
        let mut folded = Vec::new();
        for field in fields(header) {
            folded.clear();
            if !field.name.is_empty() {
                folded.extend(field.name.iter().map(u8::to_ascii_uppercase));
                folded.extend_from_slice(b": ");
            }
            fold(&encoded_word::decode(field.value), &mut folded);
            self.look_into(&folded, &place, facts);
        }
    }

    fn look_into(&self, folded: &[u8], place: &Where, facts: &mut Facts) {
        for ((text, finder), found) in self.texts.iter().zip(&self.finders).zip(&mut facts.found) {
            if *found != Some(true) && text.counts_in(place) && finder.find(folded).is_some() {
                *found = Some(true);
            }
        }
    }

    /// Whether there is nothing left to look for.
    pub(super) fn all_found(&self, facts: &Facts) -> bool {
        facts.found.iter().all(|found| found.is_some())
    }

    /// What has not been found by now is not there.
    pub(super) fn give_up(&self, facts: &mut Facts) {
        for found in &mut facts.found {
            found.get_or_insert(false);
        }
    }

    /// To look at a text that passes by.
    pub(super) fn window(&self) -> Window<'_> {
        Window { needles: self, folded: Vec::new() }
    }
}

/// The end of what has passed by, for texts that lie across two pieces.
pub(super) struct Window<'n> {
    needles: &'n Needles<'n>,
    folded: Vec<u8>,
}

impl Window<'_> {
    /// Looks at the next piece.
    pub(super) fn feed(&mut self, piece: &str, place: Where, facts: &mut Facts) {
        fold(piece, &mut self.folded);
        self.needles.look_into(&self.folded, &place, facts);
        let kept = self.needles.longest.saturating_sub(1);
        self.folded.drain(..self.folded.len().saturating_sub(kept));
    }
}

/// White space as ENVELOPE shows it, which is what SUBJECT and FROM ask about (RFC 9051 §6.4.4). Empty if that is no other.
fn one_space_for_many(text: &[u8], shown: &mut Vec<u8>) {
    shown.clear();
    let blank = |octet: &u8| *octet <= b' ';
    if text.windows(2).any(|pair| pair.iter().all(blank)) || text.iter().any(|octet| *octet < b' ') {
        shown.extend(text.iter().map(|octet| if blank(octet) { b' ' } else { *octet }));
        shown.dedup_by(|next, before| *next == b' ' && *before == b' ');
    }
}

/// The fields that the keys FROM, TO, CC and BCC ask about.
const ADDRESS_FIELDS: [&[u8]; 4] = [b"from", b"to", b"cc", b"bcc"];

/// Addresses without comments, escapes and blanks inside, folded: FROM and its like ask about the parts that ENVELOPE
/// shows (RFC 9051 §6.4.4), so `kim@x.test` is in `kim (home) @ x.test`. Empty if the value has nothing of that kind.
fn plain_addresses(value: &[u8], plain: &mut Vec<u8>) {
    plain.clear();
    let beside = |octet: u8| octet <= b' ' || octet == b'"';
    let split = |three: &[u8]| matches!(*three, [before, b'@', after] if beside(before) || beside(after));
    if !value.iter().any(|octet| matches!(octet, b'(' | b'\\')) && !value.windows(3).any(split) {
        return;
    }
    let mut text = Vec::new();
    for entry in address::parse(value) {
        match entry {
            Entry::Mailbox(address) => {
                text.extend_from_slice(encoded_word::decode(&address.name).as_bytes());
                text.extend_from_slice(b" <");
                text.extend_from_slice(&address.mailbox);
                text.push(b'@');
                text.extend_from_slice(&address.host);
                text.extend_from_slice(b">, ");
            }
            Entry::GroupStart(name) => {
                text.extend_from_slice(encoded_word::decode(&name).as_bytes());
                text.extend_from_slice(b": ");
            }
            Entry::GroupEnd => text.extend_from_slice(b"; "),
        }
    }
    fold(&String::from_utf8_lossy(&text), plain);
}

/// The day in the last `Date` field of a header, in days since 1970, in the field's own zone (RFC 9051 §6.4.4:
/// "disregarding time and timezone").
pub(super) fn sent_day(header: &[u8]) -> Option<i64> {
    let last = fields(header).filter(|field| field.is(b"date")).last()?;
    Some(parse_rfc5322(&unfold(last.value))?.day())
}
