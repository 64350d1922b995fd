//! Mail as a format: header fields, addresses, dates, encoded words, parts, and what IMAP shows of them.
//!
//! All input is read leniently and none is refused: mail is what other people wrote. Everything is linear in the
//! input, nothing recurses on its depth, and memory has named limits whatever comes. Messages may have LF or CRLF
//! line ends, or both; places in a message are kept for the file as stored and for the CRLF octets IMAP sees.
//!
//! | who | what | where |
//! |---|---|---|
//! | SMTP | count `Received`, find where to put missing fields, while the header passes by | [`header_scanner`] |
//! | SMTP, bounces | `Date` fields | [`date::format_rfc5322`] |
//! | FETCH, APPEND | INTERNALDATE | [`date::format_internaldate`], [`date::parse_internaldate`] |
//! | FETCH | the parts of a message as its bytes pass by | [`structure_parser::StructureParser`] |
//! | FETCH | `BODY[1.2.MIME]`: file range, octets, CRLF offset | [`structure::Structure::section`] |
//! | FETCH | `BODY[HEADER.FIELDS (…)]` | [`text::write_header`] |
//! | FETCH | ENVELOPE, BODY, BODYSTRUCTURE | [`envelope::Envelope`], [`bodystructure::write`] |
//! | FETCH | PREVIEW | [`preview::preview`] |
//! | SEARCH | header values in UTF-8 | [`header::find`], [`encoded_word::decode`] |
//! | SEARCH | text in UTF-8 | [`structure::Structure::text_parts`], [`text::decode_part`] |
//! | SEARCH | SENTSINCE and its like | [`date::parse_rfc5322`], [`date::Date::day`] |
//! | SORT, THREAD | what a subject is about, who answers whom | [`base_subject::BaseSubject`], [`message_id::message_ids`] |
//! | SEARCH, SORT, THREAD | which texts are one, which comes first | [`casemap::fold`] |
//! | APPEND | binary parts made base64 | [`unbinary::Unbinary`] |
//! | anybody | address lists, parameters | [`address::parse`], [`param::parse`], [`param::decoded`] |
//!
//! ```
//! use postier_core::mime::{bodystructure, structure::Piece, structure_parser::StructureParser, text};
//!
//! let file = b"From: Joe <joe@example.org>\nSubject: =?utf-8?q?caf=C3=A9?=\nMIME-Version: 1.0\n\
//!     Content-Type: multipart/mixed; boundary=b\n\n--b\n\nHello\nyou\n--b\nContent-Type: image/gif\n\
//!     Content-Disposition: attachment; filename=x.gif\n\nGIF89a\n--b--\n";
//! let mut parser = StructureParser::new();
//! file.chunks(7).for_each(|slice| parser.feed(slice));
//! let structure = parser.finish();
//!
//! let mut out = Vec::new();
//! bodystructure::write(&mut out, &structure, false);
//! assert_eq!(String::from_utf8(out).unwrap(), concat!(
//!     r#"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 1)"#,
//!     r#"("image" "gif" NIL NIL NIL "7bit" 6) "mixed")"#));
//!
//! // BODY[1]: "Hello", CRLF, "you".
//! let first = structure.section(&[1], Piece::Full).unwrap();
//! assert_eq!((first.of(file), first.crlf_bytes()), (&b"Hello\nyou"[..], 10));
//! assert_eq!(first.start.crlf_offset(), first.start.offset + 7);
//!
//! // The envelope comes with the structure.
//! let envelope = structure.root().envelope.as_ref().unwrap();
//! assert_eq!(envelope.from.as_deref(), Some(&b"Joe <joe@example.org>"[..]));
//!
//! // The text of the message, for SEARCH.
//! let mut words = String::new();
//! structure.text_parts().for_each(|part| text::decode_part(part, file, |piece| words.push_str(piece)));
//! assert_eq!(words, "Hello\nyou");
//! ```

pub mod address;
pub mod base_subject;
pub mod bodystructure;
pub mod casemap;
mod charset;
pub mod content;
pub mod date;
pub mod encoded_word;
pub mod envelope;
pub mod header;
pub mod header_scanner;
pub mod message_id;
pub mod param;
pub mod preview;
pub mod structure;
pub mod structure_parser;
pub mod text;
pub mod unbinary;
