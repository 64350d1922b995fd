//! The octets themselves: what SMTP, IMAP, MIME and Maildir all need before any of them can parse.
//!
//! Every streaming type here takes its input in any segmentation and gives the same result, keeps a few
//! octets of state at most, and leaves the buffers to its caller.
//!
//! | module | what | section |
//! |---|---|---|
//! | [`lines`] | lines out of a growing buffer; the lines of a slice | RFC 5321 §2.3.8 |
//! | [`dot`] | transparency: the end of a message, dots taken away and put back | RFC 5321 §4.5.2 |
//! | [`eol`] | CRLF to LF and back, and the size a file has as CRLF | RFC 5322 §2.1 |
//! | [`base64`] | strict for SASL, lenient for bodies | RFC 4648 §4, RFC 2045 §6.8 |
//! | [`quoted_printable`] | lenient, for bodies | RFC 2045 §6.7 |
//! | [`mutf7`] | mailbox names | RFC 3501 §5.1.3 |
//! | [`utf7`] | what some clients search for | RFC 2152 |
//! | [`deflate`] | packed both ways, for COMPRESS | RFC 1951, RFC 4978 |
//! | [`outgoing`] | what a stored file becomes on its way out | RFC 9051 §4.3, RFC 3516 |
//! | [`xtext`] | ENVID and ORCPT | RFC 3461 §4 |
//! | [`token`] | which octet may stand in an atom, a token … | |
//! | [`keyword`] | the words of a grammar, in any case | |

pub mod base64;
pub mod deflate;
pub mod dot;
pub mod eol;
pub mod keyword;
pub mod lines;
pub mod mutf7;
pub mod outgoing;
pub mod quoted_printable;
pub mod token;
pub mod utf7;
pub mod xtext;

#[cfg(test)]
pub(crate) mod segments;
