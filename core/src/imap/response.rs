//! Writing responses, RFC 9051 §7: strings in the form that fits them, status lines, response codes.
//!
//! Everything appends to a `Vec<u8>`. A line is written whole, with its CRLF; nothing the caller passes as
//! text can break out of its line, because control characters become spaces. Strings from messages or clients
//! go through [`write_nstring`] and its sisters, which choose between quoted string and literal.
//!
//! ```
//! use postier_core::imap::response::{Code, Status, write_tagged};
//!
//! let mut out = Vec::new();
//! write_tagged(&mut out, b"a7", Status::No, Some(&Code::TryCreate), "no such mailbox");
//! assert_eq!(out, b"a7 NO [TRYCREATE] no such mailbox\r\n");
//! ```

use super::flag::SystemFlag;
use super::objectid::write_mailbox_id;
use super::sequence::UidSet;
use alloc::vec::Vec;

/// The longest string written between quotes; longer ones are literals.
const QUOTED_BYTES_MAX: usize = 1024;

/// How a command went, or how the connection stands, RFC 9051 §7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is done.
    Ok,
    /// It failed.
    No,
    /// It was not understood or not allowed now.
    Bad,
    /// The connection closes; untagged only.
    Bye,
    /// The connection begins already authenticated; untagged only.
    PreAuth,
}

impl Status {
    /// The word on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::No => "NO",
            Status::Bad => "BAD",
            Status::Bye => "BYE",
            Status::PreAuth => "PREAUTH",
        }
    }
}

/// A response code: what a program should know of a status response. RFC 9051 §7.1, RFC 5530.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code<'a> {
    /// Show the text to the person.
    Alert,
    /// The name is taken.
    AlreadyExists,
    /// UIDVALIDITY of the mailbox and UID of the new messages.
    AppendUid(u32, &'a UidSet),
    /// Wrong account or password.
    AuthenticationFailed,
    /// The account may not act for the other one.
    AuthorizationFailed,
    /// An event of NOTIFY is not one of these (RFC 5465 §5).
    BadEvent(&'a [&'a str]),
    /// The charset of SEARCH is not one of these.
    BadCharset(&'a [&'a str]),
    /// Nothing can be read by this URL (RFC 4469 §4).
    BadUrl(&'a str),
    /// It can never be done.
    Cannot,
    /// The capabilities, separated by spaces.
    Capability(&'a str),
    /// The client did something foolish.
    ClientBug,
    /// Everything is compressed already (RFC 4978 §3).
    CompressionActive,
    /// The mailbox selected before is not any more (RFC 7162 §3.2.11).
    Closed,
    /// Only the administrator can help.
    ContactAdmin,
    /// UIDVALIDITY of the target, UIDs here, UIDs there in the same order.
    CopyUid(u32, &'a UidSet, &'a UidSet),
    /// The mailbox on disk is damaged.
    Corruption,
    /// The password is too old.
    Expired,
    /// Some messages are gone though the client has not been told yet.
    ExpungeIssued,
    /// The mailbox has children and cannot be deleted.
    HasChildren,
    /// The highest mod-sequence of the mailbox (RFC 7162 §3.1.2.1).
    HighestModSeq(u64),
    /// Somebody else has it locked.
    InUse,
    /// The command with this tag goes on (RFC 9585).
    InProgress(&'a [u8]),
    /// A limit of the server.
    Limit,
    /// The mailbox's name that stays, made of its GUID (RFC 8474).
    MailboxId(&'a [u8; 16]),
    /// These messages have changed since (RFC 7162 §3.1.3): sequence numbers or UIDs, as the command has them.
    Modified(&'a UidSet),
    /// Some values are longer than the client wants; this is the longest (RFC 5464 §4.2.1).
    MetadataLongEntries(u64),
    /// The value is longer than this, which is the most that is taken (RFC 5464 §4.3).
    MetadataMaxSize(u64),
    /// There would be too many annotations (RFC 5464 §4.3).
    MetadataTooMany,
    /// The mailbox has no mod-sequences (RFC 7162 §3.1.2.2).
    NoModSeq,
    /// There is no such thing.
    NonExistent,
    /// Not allowed.
    NoPerm,
    /// The result of `SEARCH RETURN (SAVE)` was not saved.
    NotSaved,
    /// The client is not told any more what it wanted to be told (RFC 5465 §5.8).
    NotificationOverflow,
    /// The result of the search with this tag is not kept up (RFC 5267 §4.3.1).
    NoUpdate(&'a [u8]),
    /// Over quota.
    OverQuota,
    /// The system flags and keywords that can be stored, and whether new keywords can be made (`\*`).
    PermanentFlags {
        /// The system flags.
        system: &'a [SystemFlag],
        /// The keywords.
        keywords: &'a [alloc::string::String],
        /// Whether a client may make more.
        more: bool,
    },
    /// Not without TLS.
    PrivacyRequired,
    /// The mailbox is open for reading.
    ReadOnly,
    /// The mailbox is open for reading and writing.
    ReadWrite,
    /// The server did something foolish.
    ServerBug,
    /// The message is larger than the server takes (RFC 7889, RFC 9051 §7.1).
    TooBig,
    /// A batch so small is not made (RFC 10022 §3.1).
    TooFew,
    /// So many batches are not told at once (RFC 10022 §3.1).
    TooMany,
    /// CREATE would help.
    TryCreate,
    /// The next UID.
    UidNext(u32),
    /// The mailbox does not keep UIDs.
    UidNotSticky,
    /// The UIDVALIDITY.
    UidValidity(u32),
    /// The sequence number of the first message without `\Seen` (RFC 3501).
    Unseen(u32),
    /// Something the server depends on is not there now.
    Unavailable,
    /// A transfer encoding cannot be undone, or not be stored (RFC 3516 §4.3).
    UnknownCte,
    /// The client has given up sequence numbers (RFC 9586 §3).
    UidRequired,
    /// The special use cannot be given (RFC 6154 §3).
    UseAttr,
}

impl Code<'_> {
    /// The word the code begins with.
    pub const fn name(&self) -> &'static str {
        match self {
            Code::Alert => "ALERT",
            Code::AlreadyExists => "ALREADYEXISTS",
            Code::AppendUid(..) => "APPENDUID",
            Code::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Code::AuthorizationFailed => "AUTHORIZATIONFAILED",
            Code::BadEvent(_) => "BADEVENT",
            Code::BadCharset(_) => "BADCHARSET",
            Code::BadUrl(_) => "BADURL",
            Code::Cannot => "CANNOT",
            Code::Capability(_) => "CAPABILITY",
            Code::ClientBug => "CLIENTBUG",
            Code::Closed => "CLOSED",
            Code::CompressionActive => "COMPRESSIONACTIVE",
            Code::ContactAdmin => "CONTACTADMIN",
            Code::CopyUid(..) => "COPYUID",
            Code::Corruption => "CORRUPTION",
            Code::Expired => "EXPIRED",
            Code::ExpungeIssued => "EXPUNGEISSUED",
            Code::HasChildren => "HASCHILDREN",
            Code::HighestModSeq(_) => "HIGHESTMODSEQ",
            Code::InUse => "INUSE",
            Code::InProgress(_) => "INPROGRESS",
            Code::Limit => "LIMIT",
            Code::MailboxId(_) => "MAILBOXID",
            Code::MetadataLongEntries(_) => "METADATA LONGENTRIES",
            Code::MetadataMaxSize(_) => "METADATA MAXSIZE",
            Code::MetadataTooMany => "METADATA TOOMANY",
            Code::Modified(_) => "MODIFIED",
            Code::NoModSeq => "NOMODSEQ",
            Code::NonExistent => "NONEXISTENT",
            Code::NoPerm => "NOPERM",
            Code::NotSaved => "NOTSAVED",
            Code::NotificationOverflow => "NOTIFICATIONOVERFLOW",
            Code::NoUpdate(_) => "NOUPDATE",
            Code::OverQuota => "OVERQUOTA",
            Code::PermanentFlags { .. } => "PERMANENTFLAGS",
            Code::PrivacyRequired => "PRIVACYREQUIRED",
            Code::ReadOnly => "READ-ONLY",
            Code::ReadWrite => "READ-WRITE",
            Code::ServerBug => "SERVERBUG",
            Code::TooBig => "TOOBIG",
            Code::TooFew => "TOOFEW",
            Code::TooMany => "TOOMANY",
            Code::TryCreate => "TRYCREATE",
            Code::UidNext(_) => "UIDNEXT",
            Code::UidNotSticky => "UIDNOTSTICKY",
            Code::UidValidity(_) => "UIDVALIDITY",
            Code::Unseen(_) => "UNSEEN",
            Code::Unavailable => "UNAVAILABLE",
            Code::UnknownCte => "UNKNOWN-CTE",
            Code::UidRequired => "UIDREQUIRED",
            Code::UseAttr => "USEATTR",
        }
    }

    /// Writes the code without its brackets.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name().as_bytes());
        match *self {
            Code::UidNext(number) | Code::UidValidity(number) | Code::Unseen(number) => {
                write_argument(out, number);
            }
            Code::HighestModSeq(number)
            | Code::MetadataLongEntries(number)
            | Code::MetadataMaxSize(number) => {
                out.push(b' ');
                write_number(out, number);
            }
            Code::Modified(set) => write_set(out, set),
            Code::AppendUid(validity, uids) => {
                write_argument(out, validity);
                write_set(out, uids);
            }
            Code::CopyUid(validity, from, to) => {
                write_argument(out, validity);
                write_set(out, from);
                write_set(out, to);
            }
            Code::BadCharset(known) | Code::BadEvent(known) => {
                for (index, charset) in known.iter().enumerate() {
                    out.extend_from_slice(if index > 0 { b" " } else { b" (" });
                    write_astring(out, charset.as_bytes());
                }
                out.extend_from_slice(if known.is_empty() { b"" } else { b")" });
            }
            Code::Capability(text) | Code::BadUrl(text) => {
                out.push(b' ');
                write_text(out, text);
            }
            Code::PermanentFlags { system, keywords, more } => {
                out.extend_from_slice(b" (");
                let system = system.iter().map(|flag| -> &str { flag.name() });
                let names = system.chain(keywords.iter().map(|word| word.as_str()));
                for (index, name) in names.chain(more.then_some("\\*")).enumerate() {
                    out.extend_from_slice(if index > 0 { b" " } else { b"" });
                    write_text(out, name);
                }
                out.push(b')');
            }
            Code::NoUpdate(tag) => {
                out.push(b' ');
                write_quoted(out, tag);
            }
            // What a client gets to know is not how far it is, only that it goes on.
            Code::InProgress(tag) => {
                out.extend_from_slice(b" (\"");
                out.extend_from_slice(tag);
                out.extend_from_slice(b"\" NIL NIL)");
            }
            Code::MailboxId(guid) => {
                out.extend_from_slice(b" (");
                write_mailbox_id(out, guid);
                out.push(b')');
            }
            Code::Alert
            | Code::AlreadyExists
            | Code::AuthenticationFailed
            | Code::AuthorizationFailed
            | Code::Cannot
            | Code::ClientBug
            | Code::Closed
            | Code::CompressionActive
            | Code::ContactAdmin
            | Code::Corruption
            | Code::Expired
            | Code::ExpungeIssued
            | Code::HasChildren
            | Code::InUse
            | Code::Limit
            | Code::MetadataTooMany
            | Code::NoModSeq
            | Code::NonExistent
            | Code::NoPerm
            | Code::NotSaved
            | Code::NotificationOverflow
            | Code::OverQuota
            | Code::PrivacyRequired
            | Code::ReadOnly
            | Code::ReadWrite
            | Code::ServerBug
            | Code::TooBig
            | Code::TooFew
            | Code::TooMany
            | Code::TryCreate
            | Code::UidNotSticky
            | Code::Unavailable
            | Code::UidRequired
            | Code::UnknownCte
            | Code::UseAttr => {}
        }
    }
}

/// Writes the line that ends a command: `tag OK [CODE] text`.
pub fn write_tagged(out: &mut Vec<u8>, tag: &[u8], status: Status, code: Option<&Code<'_>>, text: &str) {
    out.extend_from_slice(tag);
    write_status(out, status, code, text);
}

/// Writes a status line that belongs to no command: `* OK [CODE] text`.
pub fn write_untagged(out: &mut Vec<u8>, status: Status, code: Option<&Code<'_>>, text: &str) {
    out.push(b'*');
    write_status(out, status, code, text);
}

/// Writes `+ text`: the client may send its literal, its next SASL response, or idle. An empty text leaves
/// `+ ` and nothing, as a SASL challenge without data is (RFC 9051 §6.2.2).
pub fn write_continuation(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"+ ");
    write_text(out, text);
    out.extend_from_slice(b"\r\n");
}

/// Writes `* 23 EXISTS` and its like: EXISTS, RECENT, EXPUNGE.
pub fn write_message_data(out: &mut Vec<u8>, number: u32, word: &str) {
    out.extend_from_slice(b"* ");
    write_number(out, u64::from(number));
    out.push(b' ');
    write_text(out, word);
    out.extend_from_slice(b"\r\n");
}

/// Writes an astring: the bare word if it is one, else as [`write_string`].
pub fn write_astring(out: &mut Vec<u8>, text: &[u8]) {
    // NIL bare would be nobody's name but the absence of one.
    let bare = !text.is_empty() && text.iter().all(|octet| is_astring_char(*octet));
    if bare && !text.eq_ignore_ascii_case(b"NIL") {
        out.extend_from_slice(text);
    } else {
        write_string(out, text);
    }
}

/// The same where UTF-8 may be in quotes (RFC 9051 §4.3): after a client has enabled IMAP4rev2 or UTF8=ACCEPT.
pub fn write_utf8_astring(out: &mut Vec<u8>, text: &[u8]) {
    let quotable = text.len() <= QUOTED_BYTES_MAX && !text.iter().any(u8::is_ascii_control);
    match core::str::from_utf8(text) {
        Ok(_) if quotable && !text.is_ascii() => write_quoted(out, text),
        Ok(_) | Err(_) => write_astring(out, text),
    }
}

/// Writes a string, or `NIL` for none.
pub fn write_nstring(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => write_string(out, text),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Writes a string: quoted if it is short and of printable US-ASCII, else a literal. A NUL cannot be in
/// either (RFC 9051 §4.3) and is written as `\x80`, which is no valid text in any encoding IMAP uses.
pub fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    let printable = text.iter().all(|octet| (b' '..=b'~').contains(octet) || *octet == b'\t');
    if !printable || text.len() > QUOTED_BYTES_MAX {
        write_literal_head(out, text.len() as u64);
        out.extend(text.iter().map(|octet| if *octet == 0 { 0x80 } else { *octet }));
        return;
    }
    write_quoted(out, text);
}

fn write_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for octet in text {
        if matches!(octet, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*octet);
    }
    out.push(b'"');
}

/// Writes the announcement of a literal: `{310}` and a line end. Exactly that many octets must follow.
pub fn write_literal_head(out: &mut Vec<u8>, size: u64) {
    out.push(b'{');
    write_number(out, size);
    out.extend_from_slice(b"}\r\n");
}

/// Writes a number in decimal.
pub fn write_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; 20];
    let mut rest = number;
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(digits.len() - used));
}

/// Writes human text so that it stays on its line: every control character becomes a space.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().map(|octet| if octet.is_ascii_control() { b' ' } else { octet }));
}

/// RFC 9051 §9, ASTRING-CHAR: an atom's octets and `]`.
pub(crate) const fn is_astring_char(octet: u8) -> bool {
    is_atom_char(octet) || octet == b']'
}

/// RFC 9051 §9, ATOM-CHAR: printable US-ASCII but atom-specials.
pub(crate) const fn is_atom_char(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

fn write_status(out: &mut Vec<u8>, status: Status, code: Option<&Code<'_>>, text: &str) {
    out.push(b' ');
    out.extend_from_slice(status.name().as_bytes());
    out.push(b' ');
    if let Some(code) = code {
        out.push(b'[');
        code.write(out);
        out.extend_from_slice(b"] ");
    }
    write_text(out, text);
    out.extend_from_slice(b"\r\n");
}

fn write_argument(out: &mut Vec<u8>, number: u32) {
    out.push(b' ');
    write_number(out, u64::from(number));
}

fn write_set(out: &mut Vec<u8>, set: &UidSet) {
    out.push(b' ');
    set.write(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec;

    fn string(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_string(&mut out, text);
        out
    }

    fn code(code: Code<'_>) -> String {
        let mut out = Vec::new();
        code.write(&mut out);
        String::from_utf8(out).expect("codes are text")
    }

    #[test]
    fn strings_take_the_form_that_fits() {
        assert_eq!(string(b""), br#""""#);
        assert_eq!(string(br#"a "b" \c"#), br#""a \"b\" \\c""#);
        assert_eq!(string(b"two\r\nlines"), b"{10}\r\ntwo\r\nlines");
        assert_eq!(string("é".as_bytes()), "{2}\r\né".as_bytes());
        assert_eq!(string(b"a\0b"), b"{3}\r\na\x80b");
        assert!(string(&[b'x'; 1025]).starts_with(b"{1025}\r\nxxx"));
        let mut out = Vec::new();
        for text in [&b"INBOX"[..], b"a]b", b"", b"a b", b"nil", b"a*b", b"\\Seen"] {
            write_astring(&mut out, text);
            out.push(b' ');
        }
        write_nstring(&mut out, None);
        assert_eq!(out, br#"INBOX a]b "" "a b" "nil" "a*b" "\\Seen" NIL"#);
    }

    #[test]
    fn utf8_in_quotes() {
        let mut out = Vec::new();
        for text in ["INBOX", "é \"\\", "a b", "é\n"] {
            write_utf8_astring(&mut out, text.as_bytes());
            out.push(b' ');
        }
        write_utf8_astring(&mut out, b"\xff");
        assert_eq!(out, b"INBOX \"\xc3\xa9 \\\"\\\\\" \"a b\" {3}\r\n\xc3\xa9\n {1}\r\n\xff");
    }

    #[test]
    fn numbers() {
        for number in [0, 1, 9, 10, 4_294_967_295, u64::MAX] {
            let mut out = Vec::new();
            write_number(&mut out, number);
            assert_eq!(String::from_utf8(out).ok(), Some(alloc::format!("{number}")));
        }
    }

    #[test]
    fn lines_cannot_be_broken_out_of() {
        let mut out = Vec::new();
        write_untagged(&mut out, Status::Bye, Some(&Code::Unavailable), "a\r\nb OK");
        write_continuation(&mut out, "");
        write_message_data(&mut out, 23, "EXISTS");
        assert_eq!(out, b"* BYE [UNAVAILABLE] a  b OK\r\n+ \r\n* 23 EXISTS\r\n");
    }

    #[test]
    fn codes_with_arguments() {
        let (from, to) = ([1, 2, 3, 7].into_iter().collect(), [11, 12, 13, 14].into_iter().collect());
        assert_eq!(code(Code::CopyUid(38505, &from, &to)), "COPYUID 38505 1:3,7 11:14");
        assert_eq!(code(Code::AppendUid(9, &to)), "APPENDUID 9 11:14");
        assert_eq!(code(Code::BadCharset(&["UTF-8", "US-ASCII"])), "BADCHARSET (UTF-8 US-ASCII)");
        assert_eq!(code(Code::Capability("IMAP4rev1 IDLE")), "CAPABILITY IMAP4rev1 IDLE");
        let words = vec![String::from("$Junk")];
        let flags = Code::PermanentFlags { system: &SystemFlag::ALL, keywords: &words, more: true };
        assert_eq!(code(flags), r"PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Junk \*)");
        assert_eq!(code(Code::UidNext(5)), "UIDNEXT 5");
    }
}
