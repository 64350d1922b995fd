//! Text taken out of a message: filtered headers for `BODY[HEADER.FIELDS (…)]`, and the readable text of a part for
//! SEARCH.

use alloc::string::String;
use alloc::vec::Vec;

use encoding_rs::Decoder;

use super::charset;
use super::content::{Content, Transfer};
use super::header::fields;
use super::structure::Part;
use crate::wire::{base64, quoted_printable};

/// Bytes of a body decoded in one go; bounds the memory of a [`TextDecoder`].
const CHUNK_BYTES: usize = 8 * 1024;

/// Appends the fields of `block` whose name `wanted` likes, as they stand but with CRLF line ends, and the empty line if the
/// header has one (RFC 9051 §6.4.5.1). Lines that are no field are asked for with an empty name. A NUL becomes `\x80`: it may
/// not be sent (RFC 9051 §4.3).
///
/// ```
/// use postier_core::mime::text::write_header;
/// let mut out = Vec::new();
/// write_header(&mut out, b"A: 1\nB: 2\n\t3\n\nbody", |name| name.eq_ignore_ascii_case(b"b"));
/// assert_eq!(out, b"B: 2\r\n\t3\r\n\r\n");
/// ```
pub fn write_header(out: &mut Vec<u8>, block: &[u8], mut wanted: impl FnMut(&[u8]) -> bool) {
    let mut fields = fields(block);
    for field in fields.by_ref() {
        if !wanted(field.name) {
            continue;
        }
        let raw = block.get(field.range).unwrap_or_default();
        let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
        for line in raw.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            out.extend(line.iter().map(|&byte| if byte == 0 { 0x80 } else { byte }));
            out.extend_from_slice(b"\r\n");
        }
    }
    if fields.at_end_line() {
        out.extend_from_slice(b"\r\n");
    }
}

/// Gives the text of `part` in UTF-8, piece by piece, from `file`, the whole message as stored.
///
/// ```
/// use postier_core::mime::{structure_parser::StructureParser, text::decode_part};
/// let file = b"MIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\n\
///     Content-Transfer-Encoding: quoted-printable\n\ncaf=E9\n";
/// let mut parser = StructureParser::new();
/// parser.feed(file);
/// let (structure, mut text) = (parser.finish(), String::new());
/// for part in structure.text_parts() {
///     decode_part(part, file, |piece| text.push_str(piece));
/// }
/// assert_eq!(text, "café\n");
/// ```
pub fn decode_part(part: &Part, file: &[u8], mut sink: impl FnMut(&str)) {
    let mut decoder = TextDecoder::new(&part.content);
    decoder.feed(part.body.of(file), &mut sink);
    decoder.finish(&mut sink);
}

/// Decodes the body of a part as it passes by: transfer encoding, then charset. What is broken becomes U+FFFD.
pub struct TextDecoder {
    transfer: TransferDecoder,
    charset: Decoder,
    octets: Vec<u8>,
    text: String,
}

impl TextDecoder {
    /// A decoder for a body with these fields.
    pub fn new(content: &Content) -> TextDecoder {
        let label = content.charset().unwrap_or_default();
        let transfer = match content.transfer() {
            Transfer::Identity | Transfer::Unknown => TransferDecoder::Identity,
            Transfer::Base64 => TransferDecoder::Base64(base64::Decoder::new()),
            Transfer::QuotedPrintable => TransferDecoder::QuotedPrintable(quoted_printable::Decoder::new()),
        };
        TextDecoder {
            transfer,
            charset: charset::encoding(label.as_bytes()).new_decoder(),
            octets: Vec::new(),
            text: String::new(),
        }
    }

    /// Takes the next bytes of the body, in slices of any size.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut impl FnMut(&str)) {
        for chunk in bytes.chunks(CHUNK_BYTES) {
            self.transfer.feed(chunk, &mut self.octets);
            self.drain(false, sink);
        }
    }

    /// The body is over.
    pub fn finish(mut self, sink: &mut impl FnMut(&str)) {
        match core::mem::replace(&mut self.transfer, TransferDecoder::Identity) {
            TransferDecoder::Identity => {}
            TransferDecoder::Base64(decoder) => decoder.finish(&mut self.octets),
            TransferDecoder::QuotedPrintable(decoder) => decoder.finish(&mut self.octets),
        }
        self.drain(true, sink);
    }

    fn drain(&mut self, last: bool, sink: &mut impl FnMut(&str)) {
        self.text.clear();
        let room = self.charset.max_utf8_buffer_length(self.octets.len()).unwrap_or(usize::MAX);
        self.text.reserve(room.min(64 * CHUNK_BYTES));
        _ = self.charset.decode_to_string(&self.octets, &mut self.text, last);
        self.octets.clear();
        if !self.text.is_empty() {
            sink(&self.text);
        }
    }
}

enum TransferDecoder {
    Identity,
    Base64(base64::Decoder),
    QuotedPrintable(quoted_printable::Decoder),
}

impl TransferDecoder {
    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            TransferDecoder::Identity => out.extend_from_slice(bytes),
            TransferDecoder::Base64(decoder) => decoder.feed(bytes, out),
            TransferDecoder::QuotedPrintable(decoder) => decoder.feed(bytes, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mime::param;

    fn content(content_type: &[u8], encoding: &[u8]) -> Content {
        Content {
            content_type: param::parse(content_type),
            encoding: Some(encoding.to_vec()),
            ..Content::default()
        }
    }

    fn decode(content: &Content, slices: &[&[u8]]) -> String {
        let (mut decoder, mut text) = (TextDecoder::new(content), String::new());
        for slice in slices {
            decoder.feed(slice, &mut |piece: &str| text.push_str(piece));
        }
        decoder.finish(&mut |piece: &str| text.push_str(piece));
        text
    }

    #[test]
    fn header_filter() {
        let block = b"From x\nTo: a\r\n b\r\nSubject: c\rd\x00\nCC: e\n\r\n";
        let filter = |not: bool, names: &[&[u8]]| {
            let mut out = Vec::new();
            write_header(&mut out, block, |name| names.iter().any(|n| n.eq_ignore_ascii_case(name)) != not);
            out
        };
        assert_eq!(filter(false, &[b"to", b"cc"]), b"To: a\r\n b\r\nCC: e\r\n\r\n");
        assert_eq!(filter(false, &[b"nope"]), b"\r\n");
        assert_eq!(filter(true, &[b"TO", b"cc"]), b"From x\r\nSubject: c\rd\x80\r\n\r\n");
        let mut out = Vec::new();
        write_header(&mut out, b"To: a\nCc: b", |name| name == b"Cc");
        assert_eq!(out, b"Cc: b\r\n", "no empty line where the message has none");
    }

    #[test]
    fn charsets_and_encodings() {
        assert_eq!(decode(&content(b"text/plain; charset=us-ascii", b"8bit"), &["é".as_bytes()]), "é");
        assert_eq!(decode(&content(b"text/plain; charset=koi8-r", b"BASE64"), &[b"8NLJ18XU"]), "Привет");
        let extended = content(b"text/plain; charset*=us-ascii'en'iso-8859-1", b"x-other");
        assert_eq!(decode(&extended, &[b"\xe9"]), "é");
        assert_eq!(decode(&content(b"text/html", b"quoted-printable"), &[b"=C3", b"=A9=", b"\n!"]), "é!");
        assert_eq!(decode(&content(b"text/plain", b"7bit"), &[b"a\xff", b"b\xc3"]), "a\u{fffd}b\u{fffd}");
        let long = "é".repeat(3 * CHUNK_BYTES);
        assert_eq!(decode(&content(b"text/plain; charset=utf-8", b"8bit"), &[long.as_bytes()]), long);
    }

    proptest! {
        #[test]
        fn any_segmentation(text in "\\PC{0,60}", cut in 1_usize..20, pick in 0_usize..3) {
            let (encoding, body): (&[u8], _) = match pick {
                0 => (b"base64", base64::encode(text.as_bytes()).into_bytes()),
                1 => (b"8bit", text.clone().into_bytes()),
                _ => (b"quoted-printable",
                    text.bytes().flat_map(|b| alloc::format!("={b:02X}").into_bytes()).collect()),
            };
            let content = content(b"text/plain; charset=utf-8", encoding);
            let slices: Vec<_> = body.chunks(cut).collect();
            prop_assert_eq!(decode(&content, &slices), text);
        }
    }
}
