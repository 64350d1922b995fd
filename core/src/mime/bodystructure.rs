//! BODY and BODYSTRUCTURE (RFC 9051 §7.5.2, RFC 3501 §7.4.2) of a [`Structure`].
//!
//! As Dovecot has it: types are written as the message has them (but for `message/rfc822`); what says no type is
//! `text/plain` in `us-ascii`; text without a charset is `us-ascii`; a multipart without parts shows one empty text
//! part. Where a part claims a type whose form it cannot have, another type is written: a multipart without boundary
//! is `text/plain` (so that people can read it), a message that is not looked into is `application/octet-stream`.

use alloc::vec::Vec;

use super::content::Content;
use super::param::{Param, Parameterized};
use super::structure::{Kind, Part, Structure};
use crate::imap::response::{write_nstring, write_number, write_string};

/// Writes the parenthesized list of `BODY`, or with `extended` that of `BODYSTRUCTURE` with all its extension data.
///
/// ```
/// use postier_core::mime::{bodystructure, structure_parser::StructureParser};
/// let mut parser = StructureParser::new();
/// parser.feed(b"Subject: x\n\nHello\n");
/// let mut out = Vec::new();
/// bodystructure::write(&mut out, &parser.finish(), false);
/// assert_eq!(out, br#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 7 1)"#);
/// ```
pub fn write(out: &mut Vec<u8>, structure: &Structure, extended: bool) {
    let parts = structure.parts();
    let mut next = Some(0);
    while let Some(part) = next.and_then(|index| parts.get(index)) {
        out.push(b'(');
        write_head(out, part, extended);
        next = part.first_child;
        if next.is_some() {
            if let Some(envelope) = next.and_then(|child| parts.get(child)?.envelope.as_deref()) {
                out.push(b' ');
                envelope.write(out);
                out.push(b' ');
            }
            continue;
        }
        // Up through all parts that end here, to the next one.
        let mut done = Some(part);
        while let Some(part) = done {
            write_tail(out, part, extended);
            out.push(b')');
            next = part.next_sibling;
            done = part.parent.filter(|_| next.is_none()).and_then(|parent| parts.get(parent));
        }
    }
}

/// What stands before the children: all of a body's fields, nothing of a multipart's.
fn write_head(out: &mut Vec<u8>, part: &Part, extended: bool) {
    let content = &part.content;
    if part.kind == Kind::Multipart {
        if part.first_child.is_none() {
            out.extend_from_slice(br#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0"#);
            out.extend_from_slice(if extended { b" NIL NIL NIL NIL)" } else { b")" });
        }
        return;
    }
    let (main, subtype, params) = shown_type(part);
    write_string(out, main);
    out.push(b' ');
    write_string(out, subtype);
    out.push(b' ');
    write_params(out, params, main.eq_ignore_ascii_case(b"text"));
    for value in [&content.id, &content.description] {
        out.push(b' ');
        write_nstring(out, value.as_deref());
    }
    out.push(b' ');
    write_string(out, content.encoding.as_deref().unwrap_or(b"7bit"));
    out.push(b' ');
    write_number(out, part.body.crlf_bytes());
    if main.eq_ignore_ascii_case(b"text") {
        out.push(b' ');
        write_number(out, part.body.lines());
    }
}

/// What stands after the children, and the extension data.
fn write_tail(out: &mut Vec<u8>, part: &Part, extended: bool) {
    let content = &part.content;
    match part.kind {
        Kind::Leaf => {}
        Kind::Message => {
            out.push(b' ');
            write_number(out, part.body.lines());
        }
        Kind::Multipart => {
            let subtype = content.media_type().map_or(&b""[..], |(_, subtype)| subtype);
            out.push(b' ');
            write_string(out, if subtype.is_empty() { b"x-unknown" } else { subtype });
        }
    }
    if !extended {
        return;
    }
    out.push(b' ');
    if part.kind == Kind::Multipart {
        write_params(out, params_of(content), false);
    } else {
        write_nstring(out, content.md5.as_deref());
    }
    out.push(b' ');
    write_disposition(out, content.disposition.as_ref());
    out.push(b' ');
    write_language(out, &content.language);
    out.push(b' ');
    write_nstring(out, content.location.as_deref());
}

/// Type, subtype and parameters to write for a part that is no multipart.
fn shown_type(part: &Part) -> (&[u8], &[u8], &[Param]) {
    let Some((main, subtype)) = part.content.media_type() else { return (b"text", b"plain", &[]) };
    let params = params_of(&part.content);
    let is = |wanted: &[u8]| part.content.is_subtype(wanted);
    if part.kind == Kind::Message {
        (b"message", if is(b"global") { b"global" } else { b"rfc822" }, params)
    } else if part.content.is_type(b"multipart") {
        (b"text", b"plain", &[])
    } else if part.content.is_type(b"message") && (is(b"rfc822") || is(b"global")) {
        (b"application", b"octet-stream", &[])
    } else if subtype.is_empty() {
        (main, if part.content.is_text() { b"plain" } else { b"unknown" }, params)
    } else {
        (main, subtype, params)
    }
}

fn params_of(content: &Content) -> &[Param] {
    content.content_type.as_ref().map_or(&[], |field| &field.params)
}

fn write_params(out: &mut Vec<u8>, params: &[Param], is_text: bool) {
    let says_charset =
        |param: &Param| param.name.strip_suffix(b"*").unwrap_or(&param.name).eq_ignore_ascii_case(b"charset");
    let default = is_text && !params.iter().any(says_charset);
    if params.is_empty() && !default {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for (index, param) in params.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        write_string(out, &param.name);
        out.push(b' ');
        write_string(out, &param.value);
    }
    if default {
        out.extend_from_slice(if params.is_empty() { b"" } else { b" " });
        out.extend_from_slice(br#""charset" "us-ascii""#);
    }
    out.push(b')');
}

fn write_disposition(out: &mut Vec<u8>, disposition: Option<&Parameterized>) {
    let Some(disposition) = disposition else { return write_nstring(out, None) };
    out.push(b'(');
    write_string(out, &disposition.value);
    out.push(b' ');
    write_params(out, &disposition.params, false);
    out.push(b')');
}

fn write_language(out: &mut Vec<u8>, tags: &[Vec<u8>]) {
    if tags.is_empty() {
        return write_nstring(out, None);
    }
    for (index, tag) in tags.iter().enumerate() {
        out.push(if index == 0 { b'(' } else { b' ' });
        write_string(out, tag);
    }
    out.push(b')');
}

#[cfg(test)]
#[path = "bodystructure_tests.rs"]
mod tests;
