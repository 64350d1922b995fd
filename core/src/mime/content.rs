//! The `Content-` fields of one part (RFC 2045, RFC 2183, RFC 1864, RFC 3282, RFC 2557), as BODYSTRUCTURE wants them.
//! The first field of a name counts, but the last `Content-Disposition`, as Dovecot has it. Values are unfolded and
//! undecoded.

use alloc::string::String;
use alloc::vec::Vec;

use super::header::unfold;
use super::param::{self, Parameterized};

/// Most languages kept of a `Content-Language`.
pub const LANGUAGES_MAX: usize = 64;

/// What a kept piece costs beside its bytes, for the structure's budget.
const PIECE_BYTES: usize = 64;

/// The `Content-` fields of a part; absent ones are `None` or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// `Content-Type`: `value` is `type/subtype` as written.
    pub content_type: Option<Parameterized>,
    /// `Content-ID`.
    pub id: Option<Vec<u8>>,
    /// `Content-Description`.
    pub description: Option<Vec<u8>>,
    /// `Content-Transfer-Encoding`, without comments.
    pub encoding: Option<Vec<u8>>,
    /// `Content-MD5`.
    pub md5: Option<Vec<u8>>,
    /// `Content-Disposition`.
    pub disposition: Option<Parameterized>,
    /// `Content-Language`, one entry for each tag.
    pub language: Vec<Vec<u8>>,
    /// `Content-Location`.
    pub location: Option<Vec<u8>>,
}

impl Content {
    /// Takes one field, its value as written, if it is one of ours; returns about how many bytes of memory it costs.
    pub(super) fn take_field(&mut self, name: &[u8], value: &[u8]) -> usize {
        let Some((prefix, name)) = name.split_at_checked(8) else { return 0 };
        if !prefix.eq_ignore_ascii_case(b"content-") {
            return 0;
        }
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        let keep = |slot: &mut Option<Vec<u8>>| slot.get_or_insert_with(|| unfold(value).into_owned()).len();
        let cost = |slot: &Option<Parameterized>| {
            let pieces = slot.as_ref().map_or(0, |field| 2 * field.params.len());
            value.len() + pieces * PIECE_BYTES
        };
        match name.first().map(u8::to_ascii_lowercase) {
            Some(b'i') if is(b"id") => keep(&mut self.id),
            Some(b'm') if is(b"md5") => keep(&mut self.md5),
            Some(b't') if is(b"type") => {
                if self.content_type.is_none() {
                    let named = |field: &Parameterized| token_bytes(&field.value) > 0;
                    self.content_type = param::parse(value).filter(named);
                }
                cost(&self.content_type)
            }
            Some(b't') if is(b"transfer-encoding") => {
                self.encoding = self.encoding.take().or_else(|| param::one_word(value));
                value.len()
            }
            Some(b'l') if is(b"language") && self.language.is_empty() => {
                let tags = value
                    .split(|&byte| byte == b',')
                    .filter_map(param::parse)
                    .map(|tag| tag.value)
                    .filter(|tag| !tag.is_empty());
                self.language = tags.take(LANGUAGES_MAX).collect();
                value.len() + self.language.len() * PIECE_BYTES
            }
            Some(b'l') if is(b"location") => keep(&mut self.location),
            Some(b'd') if is(b"description") => keep(&mut self.description),
            Some(b'd') if is(b"disposition") => {
                self.disposition = param::parse(value).or_else(|| self.disposition.take());
                cost(&self.disposition)
            }
            _ => 0,
        }
    }

    /// Type and subtype as written, each up to what cannot be in a token; the subtype is empty when there is none. `None`
    /// without a `Content-Type`.
    pub fn media_type(&self) -> Option<(&[u8], &[u8])> {
        let value = &self.content_type.as_ref()?.value[..];
        let (main, rest) = value.split_at_checked(token_bytes(value))?;
        let subtype = rest.strip_prefix(b"/").unwrap_or_default();
        Some((main, subtype.get(..token_bytes(subtype))?))
    }

    /// Whether the type is `wanted` (lower case).
    pub fn is_type(&self, wanted: &[u8]) -> bool {
        self.media_type().is_some_and(|(main, _)| main.eq_ignore_ascii_case(wanted))
    }

    /// Whether the subtype is `wanted` (lower case).
    pub fn is_subtype(&self, wanted: &[u8]) -> bool {
        self.media_type().is_some_and(|(_, subtype)| subtype.eq_ignore_ascii_case(wanted))
    }

    /// Whether this is text: said so, or nothing said.
    pub fn is_text(&self) -> bool {
        self.content_type.is_none() || self.is_type(b"text")
    }

    /// The charset named, in UTF-8.
    pub fn charset(&self) -> Option<String> {
        param::decoded(&self.content_type.as_ref()?.params, b"charset")
    }

    /// The transfer encoding that has to be undone.
    pub fn transfer(&self) -> Transfer {
        let Some(name) = &self.encoding else { return Transfer::Identity };
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        if is(b"base64") {
            Transfer::Base64
        } else if is(b"quoted-printable") {
            Transfer::QuotedPrintable
        } else if is(b"7bit") || is(b"8bit") || is(b"binary") {
            Transfer::Identity
        } else {
            Transfer::Unknown
        }
    }
}

/// Length of the token (RFC 2045 §5.1) at the start of `value`; other programs' 8-bit octets count as its own.
fn token_bytes(value: &[u8]) -> usize {
    let special = |byte: &u8| *byte <= b' ' || *byte == 0x7f || b"()<>@,;:\\\"/[]?=".contains(byte);
    value.iter().position(special).unwrap_or(value.len())
}

/// How a body is encoded for transport (RFC 2045 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// 7bit, 8bit, binary, or nothing said.
    Identity,
    /// RFC 2045 §6.8.
    Base64,
    /// RFC 2045 §6.7.
    QuotedPrintable,
    /// Something else: cannot be undone (BINARY answers UNKNOWN-CTE, RFC 3516 §4.3), and is shown as it is.
    Unknown,
}
