//! Commands of a client: RFC 5321 §4.1.1 and the extensions of this server, from one line to one value.
//!
//! [`parse`] takes a line without its line end and borrows from it. It decides what was said, never whether
//! it is allowed now: order, limits, offers and policy belong to the session. Every mistake is a
//! [`CommandError`], and every `CommandError` is exactly one [`Reply`].
//!
//! Lenient: verbs and keywords in any case, blanks at the end of the line and around the path (`MAIL FROM:
//! <a@b>`), paths without brackets, anything as the name in EHLO. Strict: control characters anywhere,
//! arguments where none belong, parameters given twice, not understood or not well-formed. A command of
//! another protocol (a browser or a TLS client led to this port) is [`CommandError::WrongProtocol`], whose
//! reply closes the connection before the rest of the foreign request can be taken for commands.
//!
//! ```
//! use postier_core::smtp::command::{Command, parse};
//!
//! let Ok(Command::Mail(mail)) = parse(b"mail from: <me@example.org> SIZE=1000") else { panic!("MAIL") };
//! assert_eq!(mail.reverse_path.to_string(), "<me@example.org>");
//! assert_eq!(mail.parameters.size, Some(1000));
//! ```
use core::fmt;

use super::address::{AddressError, ForwardPath, ReversePath};
use super::parameter::{self, MailParameters, Parameter, RcptParameters};
use super::reply::Reply;
use crate::wire::keyword::Keyword;

/// Octets of the name kept from EHLO and HELO: the longest domain name.
pub const CLIENT_NAME_BYTES_MAX: usize = 255;

/// One command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// The name the client gives itself: at least one character, at most [`CLIENT_NAME_BYTES_MAX`] octets, no
    /// blanks. Nothing else is checked (RFC 5321 §4.1.4: a wrong name is no reason to refuse).
    Ehlo(&'a str),
    /// As `Ehlo`, from before the extensions.
    Helo(&'a str),
    /// Begins a mail.
    Mail(Mail<'a>),
    /// One more recipient.
    Rcpt(Rcpt<'a>),
    /// The message follows, with dots.
    Data,
    /// A chunk follows (RFC 3030 §2).
    Bdat {
        /// Octets that follow this line.
        size: u64,
        /// It is the last chunk.
        last: bool,
    },
    /// Forget the mail.
    Rset,
    /// Nothing. An argument is ignored.
    Noop,
    /// Does this user exist?
    Vrfy(&'a str),
    /// Who is on this list?
    Expn(&'a str),
    /// An argument is ignored.
    Help,
    /// The end.
    Quit,
    /// RFC 3207.
    StartTls,
    /// RFC 4954.
    Auth(Auth<'a>),
}

/// MAIL FROM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mail<'a> {
    /// Who gets the bounce.
    pub reverse_path: ReversePath<'a>,
    /// What else was said.
    pub parameters: MailParameters<'a>,
}

/// RCPT TO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rcpt<'a> {
    /// Whom the mail is for.
    pub forward_path: ForwardPath<'a>,
    /// What else was said.
    pub parameters: RcptParameters<'a>,
}

/// AUTH. Its `Debug` does not show the initial response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    /// The mechanism's name as written (compare without case), 1 to 20 octets.
    pub mechanism: &'a str,
    /// The initial response, still in base64; `=` stands for an empty one (RFC 4954 §4).
    pub initial_response: Option<&'a str>,
}

impl fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.initial_response.map(|_| "…");
        f.debug_struct("Auth").field("mechanism", &self.mechanism).field("initial_response", &hidden).finish()
    }
}

/// The verbs this server knows. [`VERBS`] is the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the verb of its name")]
pub enum Verb {
    Ehlo,
    Helo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    Quit,
    StartTls,
    Auth,
}

/// Every verb and how it is written.
pub const VERBS: [(&str, Verb); 14] = [
    ("EHLO", Verb::Ehlo),
    ("HELO", Verb::Helo),
    ("MAIL", Verb::Mail),
    ("RCPT", Verb::Rcpt),
    ("DATA", Verb::Data),
    ("BDAT", Verb::Bdat),
    ("RSET", Verb::Rset),
    ("NOOP", Verb::Noop),
    ("VRFY", Verb::Vrfy),
    ("EXPN", Verb::Expn),
    ("HELP", Verb::Help),
    ("QUIT", Verb::Quit),
    ("STARTTLS", Verb::StartTls),
    ("AUTH", Verb::Auth),
];

/// Why a line was not understood. Always the peer's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// Nothing on the line.
    Empty,
    /// A control character or DEL.
    ControlCharacter,
    /// Octets over 127 that are not UTF-8.
    NotUtf8,
    /// None of [`VERBS`].
    UnknownVerb,
    /// HTTP, TLS or the like.
    WrongProtocol,
    /// The verb is known, its arguments are not of its shape.
    Usage(Verb),
    /// MAIL with a bad address.
    ReversePath(AddressError),
    /// RCPT with a bad address.
    ForwardPath(AddressError),
    /// A parameter this server does not know (RFC 5321 §4.1.1.11).
    UnknownParameter,
    /// A parameter said twice.
    DuplicateParameter,
    /// A known parameter whose value is missing, superfluous or malformed.
    Parameter(Parameter),
}

impl CommandError {
    /// The one reply to it.
    pub const fn reply(self) -> Reply {
        match self {
            Self::Empty => Reply::EmptyCommand,
            Self::ControlCharacter => Reply::ControlCharacter,
            Self::NotUtf8 => Reply::NotUtf8,
            Self::UnknownVerb => Reply::UnknownCommand,
            Self::WrongProtocol => Reply::WrongProtocol,
            // The chunk that follows cannot be skipped when its size is unknown, and must not become
            // commands.
            Self::Usage(Verb::Bdat) => Reply::BadChunkSize,
            Self::Usage(verb) => Reply::Usage(verb),
            Self::ReversePath(why) => Reply::BadReversePath(why),
            Self::ForwardPath(why) => Reply::BadForwardPath(why),
            Self::UnknownParameter => Reply::UnknownParameter,
            Self::DuplicateParameter => Reply::DuplicateParameter,
            Self::Parameter(which) => Reply::BadParameter(which),
        }
    }
}

impl fmt::Display for CommandError {
    /// The text of its reply.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reply().text())
    }
}

impl core::error::Error for CommandError {}

impl Verb {
    fn of(word: &str) -> Option<Self> {
        const KEYWORDS: [Keyword; VERBS.len()] = Keyword::of_table(&VERBS);
        let word = Keyword::of(word.as_bytes());
        let at = KEYWORDS.iter().position(|keyword| *keyword == word)?;
        VERBS.get(at).map(|&(_, verb)| verb)
    }
}

/// Reads one line, without its line end.
///
/// # Errors
/// A [`CommandError`], to be answered with its [`CommandError::reply`].
pub fn parse(line: &[u8]) -> Result<Command<'_>, CommandError> {
    // No command of ours begins like one of another protocol.
    parse_ours(line)
        .map_err(|mistake| if speaks_other_protocol(line) { CommandError::WrongProtocol } else { mistake })
}

fn parse_ours(line: &[u8]) -> Result<Command<'_>, CommandError> {
    // Without an early exit: that is faster for a line that is as it should be.
    if line.iter().fold(false, |found, &b| found | ((b < b' ') & (b != b'\t')) | (b == 0x7f)) {
        return Err(CommandError::ControlCharacter);
    }
    // Of what counts as ASCII whitespace only blanks are left: spaces and tabs.
    let line = core::str::from_utf8(line).map_err(|_| CommandError::NotUtf8)?.trim_ascii_end();
    if line.is_empty() {
        return Err(CommandError::Empty);
    }
    let (word, arguments) = split_word(line);
    let verb = Verb::of(word).ok_or(CommandError::UnknownVerb)?;
    let arguments = arguments.trim_ascii_start();
    let usage = CommandError::Usage(verb);
    let nothing = |command| if arguments.is_empty() { Ok(command) } else { Err(usage) };
    let something = || if arguments.is_empty() { Err(usage) } else { Ok(arguments) };
    match verb {
        Verb::Ehlo => Ok(Command::Ehlo(client_name(arguments).ok_or(usage)?)),
        Verb::Helo => Ok(Command::Helo(client_name(arguments).ok_or(usage)?)),
        Verb::Mail => mail(after_keyword(arguments, "FROM").ok_or(usage)?).map(Command::Mail),
        Verb::Rcpt => rcpt(after_keyword(arguments, "TO").ok_or(usage)?).map(Command::Rcpt),
        Verb::Data => nothing(Command::Data),
        Verb::Bdat => bdat(arguments).ok_or(usage),
        Verb::Rset => nothing(Command::Rset),
        Verb::Noop => Ok(Command::Noop),
        Verb::Vrfy => Ok(Command::Vrfy(something()?)),
        Verb::Expn => Ok(Command::Expn(something()?)),
        Verb::Help => Ok(Command::Help),
        Verb::Quit => nothing(Command::Quit),
        Verb::StartTls => nothing(Command::StartTls),
        Verb::Auth => Ok(Command::Auth(auth(arguments).ok_or(usage)?)),
    }
}

/// Whether the first octets of a line are those of a TLS or HTTP client. The start of a line is enough: a TLS
/// record may never contain a line end, so a session asks this of its very first octets too.
pub fn speaks_other_protocol(start: &[u8]) -> bool {
    // A TLS handshake record; RFC 8446 §5.1.
    const TLS_HANDSHAKE: u8 = 0x16;
    // RFC 9110 §9.1, PATCH, and the first line of HTTP/2.
    const HTTP_METHODS: [&[u8]; 10] = [
        b"GET ",
        b"POST ",
        b"HEAD ",
        b"PUT ",
        b"DELETE ",
        b"CONNECT ",
        b"OPTIONS ",
        b"TRACE ",
        b"PATCH ",
        b"PRI * HTTP",
    ];
    start.first() == Some(&TLS_HANDSHAKE) || HTTP_METHODS.iter().any(|method| start.starts_with(method))
}

/// The text before the first blank, and the rest.
fn split_word(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|b| b == b' ' || b == b'\t').unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// What follows `FROM:` or `TO:`; a blank before the colon is harmless.
fn after_keyword<'a>(arguments: &'a str, keyword: &str) -> Option<&'a str> {
    let (word, rest) = arguments.split_at_checked(keyword.len())?;
    let rest = rest.trim_ascii_start().strip_prefix(':')?;
    word.eq_ignore_ascii_case(keyword).then_some(rest)
}

/// The first word; what some clients put behind it says nothing.
fn client_name(arguments: &str) -> Option<&str> {
    let (name, _) = split_word(arguments);
    (!name.is_empty() && name.len() <= CLIENT_NAME_BYTES_MAX).then_some(name)
}

#[inline]
fn mail(text: &str) -> Result<Mail<'_>, CommandError> {
    let (reverse_path, rest) = ReversePath::parse_prefix(text).map_err(CommandError::ReversePath)?;
    Ok(Mail { reverse_path, parameters: parameter::parse_mail(rest)? })
}

#[inline]
fn rcpt(text: &str) -> Result<Rcpt<'_>, CommandError> {
    let (forward_path, rest) = ForwardPath::parse_prefix(text).map_err(CommandError::ForwardPath)?;
    Ok(Rcpt { forward_path, parameters: parameter::parse_rcpt(rest)? })
}

/// RFC 3030 §2: `BDAT chunk-size [LAST]`.
fn bdat<'a>(arguments: &str) -> Option<Command<'a>> {
    let mut words = arguments.split_ascii_whitespace();
    let size = words.next().filter(|word| word.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return None,
    };
    words.next().is_none().then_some(Command::Bdat { size, last })
}

/// RFC 4954 §4: `AUTH mechanism [initial-response]`; mechanism names are of RFC 4422 §3.1.
fn auth(arguments: &str) -> Option<Auth<'_>> {
    let mut words = arguments.split_ascii_whitespace();
    let mechanism = words.next().filter(|name| {
        name.len() <= 20 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    })?;
    let initial_response = words.next();
    words.next().is_none().then_some(Auth { mechanism, initial_response })
}

#[cfg(test)]
mod tests {
    use super::super::parameter::{Body, Notify, Return};
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::ToString, vec::Vec};

    #[test]
    fn every_verb_is_read_and_has_its_syntax() {
        for (at, (name, verb)) in VERBS.into_iter().enumerate() {
            assert_eq!(verb as usize, at, "the table has every verb, in the order of the enum");
            let usage = Reply::Usage(verb).text();
            assert!(usage.starts_with(&format!("Syntax: {name}")));
            assert!(!matches!(parse(name.as_bytes()), Err(CommandError::UnknownVerb)), "{name}");
        }
    }

    #[test]
    fn reads_the_simple_ones() {
        for (line, command) in [
            ("EHLO mail.example.org", Command::Ehlo("mail.example.org")),
            ("ehlo [192.168.1.2]", Command::Ehlo("[192.168.1.2]")),
            ("EHLO moi", Command::Ehlo("moi")),
            ("EHLO my_pc and more", Command::Ehlo("my_pc")),
            ("HELO x", Command::Helo("x")),
            ("DATA", Command::Data),
            ("data  \t", Command::Data),
            ("RSET", Command::Rset),
            ("NOOP", Command::Noop),
            ("NOOP whatever", Command::Noop),
            ("VRFY  some one", Command::Vrfy("some one")),
            ("EXPN list", Command::Expn("list")),
            ("HELP me", Command::Help),
            ("QUIT", Command::Quit),
            ("StartTLS", Command::StartTls),
            ("BDAT 0", Command::Bdat { size: 0, last: false }),
            ("bdat 86 last", Command::Bdat { size: 86, last: true }),
            ("AUTH PLAIN", Command::Auth(Auth { mechanism: "PLAIN", initial_response: None })),
            ("AUTH login =", Command::Auth(Auth { mechanism: "login", initial_response: Some("=") })),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(command), "{line}");
        }
    }

    #[test]
    fn reads_mail_as_it_is_written_and_as_it_is_typed() {
        for line in [
            "MAIL FROM:<a@b>",
            "mail from: <a@b>",
            "Mail  From :<a@b>  ",
            "MAIL FROM:a@b",
            "MAIL FROM:< a@b >",
            "MAIL FROM:<@relay:a@b>",
        ] {
            let Ok(Command::Mail(mail)) = parse(line.as_bytes()) else { panic!("{line}") };
            assert_eq!(mail.reverse_path.to_string(), "<a@b>");
            assert_eq!(mail.parameters, MailParameters::default());
        }
    }

    #[test]
    fn reads_every_parameter() {
        let line = "MAIL FROM:<é@b> size=12 BODY=8bitmime SMTPUTF8 AUTH=<> RET=hdrs ENVID=QQ+2B314";
        let Ok(Command::Mail(mail)) = parse(line.as_bytes()) else { panic!("MAIL") };
        assert_eq!(
            mail.parameters,
            MailParameters {
                size: Some(12),
                body: Some(Body::EightBit),
                smtputf8: true,
                auth: Some("<>"),
                ret: Some(Return::Headers),
                envid: Some("QQ+2B314"),
            }
        );
        let line = "RCPT TO:<postmaster> NOTIFY=success,DELAY ORCPT=rfc822;Bob+40x@example.org";
        let Ok(Command::Rcpt(rcpt)) = parse(line.as_bytes()) else { panic!("RCPT") };
        assert_eq!(rcpt.forward_path, ForwardPath::Postmaster);
        assert_eq!(rcpt.parameters.notify, Some(Notify { success: true, failure: false, delay: true }));
        let orcpt = rcpt.parameters.orcpt.unwrap();
        assert_eq!((orcpt.address_type, orcpt.address), ("rfc822", "Bob+40x@example.org"));
    }

    #[test]
    fn each_mistake_has_its_error() {
        use CommandError as E;
        for (line, error) in [
            ("", E::Empty),
            ("  ", E::Empty),
            ("XYZZY", E::UnknownVerb),
            ("EHLOx y", E::UnknownVerb),
            (" EHLO y", E::UnknownVerb),
            ("NOOP\0", E::ControlCharacter),
            ("NOOP\r", E::ControlCharacter),
            ("NOOP\x7f", E::ControlCharacter),
            ("GET / HTTP/1.1", E::WrongProtocol),
            ("POST /", E::WrongProtocol),
            ("\x16\x03\x01", E::WrongProtocol),
            ("EHLO", E::Usage(Verb::Ehlo)),
            ("HELO ", E::Usage(Verb::Helo)),
            ("MAIL", E::Usage(Verb::Mail)),
            ("MAIL <a@b>", E::Usage(Verb::Mail)),
            ("MAIL TO:<a@b>", E::Usage(Verb::Mail)),
            ("RCPT FROM:<a@b>", E::Usage(Verb::Rcpt)),
            ("DATA x", E::Usage(Verb::Data)),
            ("RSET x", E::Usage(Verb::Rset)),
            ("QUIT x", E::Usage(Verb::Quit)),
            ("STARTTLS x", E::Usage(Verb::StartTls)),
            ("VRFY", E::Usage(Verb::Vrfy)),
            ("EXPN", E::Usage(Verb::Expn)),
            ("BDAT", E::Usage(Verb::Bdat)),
            ("BDAT x", E::Usage(Verb::Bdat)),
            ("BDAT +1", E::Usage(Verb::Bdat)),
            ("BDAT 1 FIRST", E::Usage(Verb::Bdat)),
            ("BDAT 1 LAST x", E::Usage(Verb::Bdat)),
            ("BDAT 18446744073709551616", E::Usage(Verb::Bdat)),
            ("AUTH", E::Usage(Verb::Auth)),
            ("AUTH PLAIN a b", E::Usage(Verb::Auth)),
            ("AUTH PL@IN", E::Usage(Verb::Auth)),
            ("MAIL FROM:", E::ReversePath(AddressError::Missing)),
            ("MAIL FROM:<a>", E::ReversePath(AddressError::NoDomain)),
            ("RCPT TO:<a@b", E::ForwardPath(AddressError::Brackets)),
            ("MAIL FROM:<a@b> FOO=1", E::UnknownParameter),
            ("MAIL FROM:<a@b> NOTIFY=NEVER", E::UnknownParameter),
            ("RCPT TO:<a@b> SIZE=1", E::UnknownParameter),
            ("MAIL FROM:<a@b> SIZE=1 size=2", E::DuplicateParameter),
            ("RCPT TO:<a@b> NOTIFY=NEVER NOTIFY=NEVER", E::DuplicateParameter),
            ("MAIL FROM:<a@b> SIZE", E::Parameter(Parameter::Size)),
        ] {
            assert_eq!(parse(line.as_bytes()), Err(error), "{line}");
        }
        assert_eq!(parse(b"MAIL FROM:<\xff@b>"), Err(E::NotUtf8));
        let long = format!("EHLO {}", "x".repeat(256));
        assert_eq!(parse(long.as_bytes()), Err(E::Usage(Verb::Ehlo)));
    }

    #[test]
    fn an_unknown_chunk_size_closes() {
        assert!(parse(b"BDAT x").unwrap_err().reply().closes());
        assert!(parse(b"GET / HTTP/1.0").unwrap_err().reply().closes());
        assert!(!parse(b"DATA x").unwrap_err().reply().closes());
    }

    #[test]
    fn debug_hides_the_initial_response() {
        let command = parse(b"AUTH PLAIN AHNlY3JldA==").unwrap();
        assert!(!format!("{command:?}").contains("AHNl"));
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&line);
        }

        #[test]
        fn any_likely_line_is_survived(
            verb in prop::sample::select(VERBS.iter().map(|v| v.0).collect::<Vec<_>>()),
            rest in r#"( |FROM:|TO:|<|>|@|=|,|;|\+|SIZE|BODY|NOTIFY|ORCPT|RET|AUTH|ENVID|NEVER|LAST|"|\\|[0-9]|a|é){0,30}"#,
        ) {
            if let Err(error) = parse(format!("{verb} {rest}").as_bytes()) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
