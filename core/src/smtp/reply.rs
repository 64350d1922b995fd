//! The one table of replies: code, enhanced code (RFC 3463), text, and whether the connection closes after
//! it.
//!
//! Whoever wants to say something to a client names a [`Reply`]; no other file of the server knows a code.
//! The texts are for the person who reads them in a log or in a bounce: what happened and what to do. The few
//! replies that carry a name (greeting, EHLO, acceptance, AUTH challenge) are written by the functions below.
//!
//! ```
//! use postier_core::smtp::reply::Reply;
//!
//! let mut out = Vec::new();
//! Reply::Bye.write(&mut out);
//! assert_eq!(out, b"221 2.0.0 Bye\r\n");
//! assert!(Reply::Bye.closes());
//! ```
use alloc::vec::Vec;
use core::net::IpAddr;

use super::address::AddressError;
use super::command::Verb;
use super::parameter::Parameter;
use crate::auth::sasl::{Mechanism, Offered};
use crate::machine::CloseReason;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    code: u16,
    /// Empty where RFC 2034 §4 knows none: 3xx.
    enhanced: &'static str,
    /// Lines separated by `\n`.
    text: &'static str,
    closes: Option<CloseReason>,
}

/// `Name(payload) => code, "enhanced", text [, closes Reason];` makes the enum and its table at once.
macro_rules! replies {
    ($($(#[$doc:meta])+ $name:ident $(($arg:ident: $ty:ty))? => $code:literal, $enhanced:literal, $text:expr
       $(, closes $reason:ident)?;)+) => {
        /// Everything the server says, but for the replies with a name in them (see the module).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reply { $($(#[$doc])+ $name $(($ty))?,)+ }

        impl Reply {
            const fn row(self) -> Row {
                match self {
                    $(Self::$name $(($arg))? =>
                        Row { code: $code, enhanced: $enhanced, text: $text, closes: replies!(@closes $($reason)?) },)+
                }
            }

            /// Every reply there is.
            #[cfg(test)]
            fn every() -> Vec<Self> {
                [$(replies!(@all $name $($ty)?)),+].concat()
            }
        }
    };
    (@all $name:ident) => { Vec::from([Self::$name]) };
    (@all $name:ident $ty:ty) => { <$ty as tests::All>::all().into_iter().map(Self::$name).collect::<Vec<_>>() };
    (@closes) => { None };
    (@closes $reason:ident) => { Some(CloseReason::$reason) };
}

replies! {
    // Yes.

    /// To NOOP.
    Ok => 250, "2.0.0", "Ok";
    /// To MAIL.
    SenderOk => 250, "2.1.0", "Sender ok";
    /// To RCPT.
    RecipientOk => 250, "2.1.5", "Recipient ok";
    /// To RSET.
    Reset => 250, "2.0.0", "Reset state";
    /// To a chunk that is not the last (RFC 3030 §2).
    ChunkOk => 250, "2.0.0", "Chunk received";
    /// To DATA.
    StartData => 354, "", "Enter mail, end with \".\" on a line by itself";
    /// To STARTTLS. The next octet is TLS.
    ReadyForTls => 220, "2.0.0", "Ready to start TLS";
    /// To the last step of AUTH.
    Authenticated => 235, "2.7.0", "Authentication succeeded";
    /// To QUIT.
    Bye => 221, "2.0.0", "Bye", closes Goodbye;
    /// To HELP.
    Help => 214, "2.0.0", "This server speaks SMTP: RFC 5321\n\
        EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS AUTH\n\
        For help with a mail that does not arrive, write to the postmaster of this domain";
    /// To VRFY: neither yes nor no (RFC 5321 §3.5.3, §7.3).
    VrfyLater => 252, "2.5.0", "Addresses are not verified here; send the mail and see";

    // A line that was not understood.

    /// An empty line.
    EmptyCommand => 500, "5.5.2", "Empty command; start with EHLO your.host.name";
    /// NUL, a bare CR and the like.
    ControlCharacter => 500, "5.5.2", "The command contains a control character";
    /// Octets over 127 that are not UTF-8.
    NotUtf8 => 500, "5.5.2", "The command is not valid UTF-8";
    /// Over the limit of a line.
    LineTooLong => 500, "5.5.2", "Line too long";
    /// Not a verb of SMTP.
    UnknownCommand => 500, "5.5.1", "Command not recognized; HELP lists what this server understands";
    /// HTTP or TLS. What follows is not SMTP either, so none of it is read.
    WrongProtocol => 500, "5.5.1", "This port speaks SMTP and nothing else", closes Abuse;
    /// EXPN shows who reads a list.
    ExpnNotOffered => 502, "5.5.1", "Lists are not shown here";
    /// The verb is known, its arguments are not of its shape.
    Usage(verb: Verb) => 501, "5.5.4", usage_text(verb);
    /// The size of the chunk cannot be read, so the chunk cannot be skipped.
    BadChunkSize => 501, "5.5.4", "Syntax: BDAT size [LAST]; the chunk cannot be told from commands", closes ProtocolViolation;
    /// MAIL.
    BadReversePath(why: AddressError) => 501, "5.1.7", why.advice();
    /// RCPT.
    BadForwardPath(why: AddressError) => 501, "5.1.3", why.advice();
    /// RFC 5321 §4.1.1.11.
    UnknownParameter => 555, "5.5.4", "Parameter not recognized; leave it out";
    /// `SIZE=1 SIZE=2`
    DuplicateParameter => 501, "5.5.4", "Parameter given twice";
    /// A known one with a bad value.
    BadParameter(which: Parameter) => 501, "5.5.4", parameter_text(which);
    /// RFC 3030 §3.
    BinaryMimeNotOffered => 555, "5.5.4", "BINARYMIME is not offered here; send the message as 8BITMIME";
    /// RFC 6531 §3.5.
    AddressNeedsSmtpUtf8 => 553, "5.6.7", "The address is not ASCII; say SMTPUTF8 in MAIL FROM";

    // Not now.

    /// Before EHLO or HELO.
    GreetFirst => 503, "5.5.1", "Say EHLO first";
    /// MAIL within a mail.
    MailAlready => 503, "5.5.1", "A mail is already begun; finish it or say RSET";
    /// RCPT or DATA without MAIL.
    MailFirst => 503, "5.5.1", "Say MAIL FROM first";
    /// DATA or BDAT without RCPT.
    RcptFirst => 503, "5.5.1", "Say RCPT TO first";
    /// DATA or BDAT when every RCPT was refused.
    NoRecipients => 554, "5.5.1", "No valid recipients";
    /// RFC 3030 §2: after BDAT only BDAT, RSET, NOOP, QUIT and the like.
    ChunksBegun => 503, "5.5.1", "The message is being sent in chunks; go on with BDAT or say RSET";
    /// STARTTLS inside TLS.
    TlsAlready => 503, "5.5.1", "TLS is already on";
    /// A second AUTH (RFC 4954 §4).
    AuthAlready => 503, "5.5.1", "Already authenticated";
    /// AUTH within a mail (RFC 4954 §4).
    AuthInMail => 503, "5.5.1", "Not within a mail; finish it or say RSET";

    // TLS and passwords.

    /// RFC 3207 §4.
    StartTlsFirst => 530, "5.7.0", "Must issue a STARTTLS command first";
    /// No certificate.
    TlsNotOffered => 502, "5.5.1", "STARTTLS is not offered here";
    /// Octets behind STARTTLS in the clear: an attack (RFC 3207 §4.2) or a client that must not go on.
    TlsInjected => 501, "5.5.4", "STARTTLS must be the last command before TLS; wait for the reply", closes ProtocolViolation;
    /// MAIL before AUTH on a submission port (RFC 4954 §6).
    AuthFirst => 530, "5.7.0", "Must issue an AUTH command first";
    /// AUTH on a port for mail from outside.
    AuthNotOffered => 502, "5.5.1", "AUTH is not offered on this port; submit mail on port 465 or 587";
    /// AUTH in the clear (RFC 4954 §4).
    AuthNeedsTls => 538, "5.7.11", "A password is accepted inside TLS only; say STARTTLS first";
    /// Not one of those in the EHLO reply.
    AuthUnknownMechanism => 504, "5.5.4", "Mechanism not supported; use one of those listed after AUTH in the EHLO reply";
    /// The response is not base64.
    AuthNotBase64 => 501, "5.5.2", "The response is not valid base64";
    /// Decoded, it is not what the mechanism says.
    AuthMalformed => 501, "5.5.2", "The response is not of the form the mechanism defines";
    /// A line over the limit (RFC 4954 §4).
    AuthTooLong => 500, "5.5.6", "Authentication exchange line is too long";
    /// `*` (RFC 4954 §4).
    AuthCancelled => 501, "5.7.0", "Authentication cancelled";
    /// Wrong name or password.
    AuthFailed => 535, "5.7.8", "Authentication failed; check the user name and the password";
    /// The accounts cannot be asked now.
    AuthUnavailable => 454, "4.7.0", "Temporary authentication failure; try again later";
    /// Guessing.
    AuthTooOften => 421, "4.7.0", "Too many failed logins; wait and try again", closes Abuse;

    // Whom and for whom.

    /// No account and no alias of that name.
    UnknownUser => 550, "5.1.1", "There is no such user here; check the spelling of the address";
    /// The quota: the sender tries again, and somebody may make room (RFC 5321 §4.2.3, RFC 3463 §3.3).
    MailboxFull => 452, "4.2.2", "The mailbox is full; try again later";
    /// The quota: trying again is of no use.
    MailboxTooSmall => 552, "5.2.2", "The mail is larger than the mailbox may be";
    /// The domain is not ours.
    RelayDenied => 550, "5.7.1", "This server delivers mail only to its own domains and does not pass it on";
    /// A submission for somebody elsewhere.
    NoWayOut => 550, "5.7.1", "This server has no way to send mail to other domains; it delivers to its own only";
    /// `user%other.org@ours`, `<@a:b@c>` and other ways to say "pass it on".
    RouteDenied => 550, "5.7.1", "Addresses with a route in them are not accepted; write user@example.org";
    /// The sender is not an address of the account.
    SenderNotYours => 553, "5.7.1", "The sender is not one of your addresses; check the From address of your account";
    /// RFC 5321 §4.5.3.1.10: the client sends the rest in a next mail.
    TooManyRecipients => 452, "4.5.3", "Too many recipients; send the rest in another mail";

    // The message.

    /// Over SIZE, announced or sent (RFC 1870 §6).
    MessageTooBig => 552, "5.3.4", "Message too big; the SIZE line of the EHLO reply is the limit in octets";
    /// Too many Received fields (RFC 5321 §6.3).
    MailLoop => 554, "5.4.6", "This mail has gone in a loop; check forwarding between the servers in its header";
    /// A site that wants CRLF and nothing else.
    BareNewline => 550, "5.6.0", "The message has line ends other than CRLF; the sending program must be mended";
    /// The disk is full (RFC 5321 §4.2.2).
    StorageFull => 452, "4.3.1", "Insufficient system storage; try again later";
    /// Anything of ours that went wrong.
    LocalError => 451, "4.3.0", "A problem on this server, not with your mail; try again later";
    /// A commit whose outcome is unknown.
    TookTooLong => 451, "4.3.0", "Storing the mail took too long; try again later";

    // Good bye.

    /// The server stops.
    ShuttingDown => 421, "4.3.2", "Service is shutting down; try again in a moment", closes Shutdown;
    /// RFC 5321 §4.5.3.2.7.
    IdleTooLong => 421, "4.4.2", "Nothing was said for too long; connect again", closes IdleTimeout;
    /// However much is said.
    SessionTooLong => 421, "4.4.2", "The session has lasted too long; connect again", closes IdleTimeout;
    /// All in all.
    TooManyConnections => 421, "4.3.2", "Too many connections; try again later", closes Abuse;
    /// From one address.
    TooManyFromYou => 421, "4.7.0", "Too many connections from your address; try again later", closes Abuse;
    /// Commands that lead to nothing.
    TooManyMistakes => 421, "4.7.0", "Too many mistakes; connect again when the client is mended", closes Abuse;
    /// Mails in one session (RFC 9422 MAILMAX).
    TooManyMails => 421, "4.7.0", "Enough mails for one session; connect again for the next", closes Abuse;
}

impl Reply {
    /// The reply code of RFC 5321 §4.2.
    pub const fn code(self) -> u16 {
        self.row().code
    }

    /// The enhanced code of RFC 3463; empty for 3xx.
    pub const fn enhanced(self) -> &'static str {
        self.row().enhanced
    }

    /// The text; several lines are separated by `\n`.
    pub const fn text(self) -> &'static str {
        self.row().text
    }

    /// Whether the connection closes after it.
    pub const fn closes(self) -> bool {
        self.row().closes.is_some()
    }

    /// Why the connection closes after it, if it does.
    pub const fn close_reason(self) -> Option<CloseReason> {
        self.row().closes
    }

    /// 4xx or 5xx.
    pub const fn is_refusal(self) -> bool {
        self.code() >= 400
    }

    /// Appends the reply, with its line ends.
    pub fn write(self, out: &mut Vec<u8>) {
        let Row { code, enhanced, text, closes: _ } = self.row();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            start_line(out, code, lines.peek().is_none());
            if !enhanced.is_empty() {
                out.extend_from_slice(enhanced.as_bytes());
                out.push(b' ');
            }
            end_line(out, line);
        }
    }
}

/// What the EHLO reply offers. The rest of the list is offered always: PIPELINING (RFC 2920), 8BITMIME (RFC
/// 6152), SMTPUTF8 (RFC 6531), CHUNKING (RFC 3030), ENHANCEDSTATUSCODES (RFC 2034), HELP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// SIZE in octets (RFC 1870).
    pub size: u64,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// AUTH (RFC 4954).
    pub auth: Offered,
    /// LIMITS MAILMAX= (RFC 9422).
    pub mails_max: usize,
    /// LIMITS RCPTMAX= (RFC 9422).
    pub recipients_max: usize,
}

/// Appends the greeting (RFC 5321 §4.2, §4.3.1).
pub fn write_greeting(out: &mut Vec<u8>, host: &str) {
    start_line(out, 220, true);
    out.extend_from_slice(host.as_bytes());
    end_line(out, " ESMTP postier");
}

/// Appends the reply to HELO.
pub fn write_helo(out: &mut Vec<u8>, host: &str) {
    start_line(out, 250, true);
    end_line(out, host);
}

/// Appends the reply to EHLO (RFC 5321 §4.1.1.1). `client` is the name the client gave, `address` where it
/// comes from.
pub fn write_ehlo(out: &mut Vec<u8>, host: &str, client: &str, address: IpAddr, offer: &Offer) {
    start_line(out, 250, false);
    out.extend_from_slice(host.as_bytes());
    out.extend_from_slice(b" Hello ");
    // RFC 6531 does not reach this line: it stays ASCII.
    out.extend(client.chars().map(|c| if c.is_ascii_graphic() { c as u8 } else { b'?' }));
    append(out, format_args!(" [{address}], pleased to meet you\r\n"));
    for keyword in ["PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES"] {
        start_line(out, 250, false);
        end_line(out, keyword);
    }
    append(out, format_args!("250-SIZE {}\r\n", offer.size));
    append(out, format_args!("250-LIMITS MAILMAX={} RCPTMAX={}\r\n", offer.mails_max, offer.recipients_max));
    for (_, keyword) in [(offer.dsn, "DSN"), (offer.starttls, "STARTTLS")].into_iter().filter(|(on, _)| *on) {
        start_line(out, 250, false);
        end_line(out, keyword);
    }
    if offer.auth.login {
        start_line(out, 250, false);
        out.extend_from_slice(b"AUTH");
        for mechanism in Mechanism::ALL.into_iter().filter(|mechanism| mechanism.is_offered(offer.auth)) {
            out.push(b' ');
            out.extend_from_slice(mechanism.name().as_bytes());
        }
        end_line(out, "");
    }
    start_line(out, 250, true);
    end_line(out, "HELP");
}

/// Appends the reply to a message that is stored: from here on it is ours. `id` finds it in the log.
pub fn write_accepted(out: &mut Vec<u8>, id: &str) {
    start_line(out, 250, true);
    out.extend_from_slice(b"2.0.0 ");
    out.extend_from_slice(id.as_bytes());
    end_line(out, " Message accepted for delivery");
}

/// Appends an AUTH challenge; `base64` may be empty (RFC 4954 §4).
pub fn write_challenge(out: &mut Vec<u8>, base64: &str) {
    start_line(out, 334, true);
    end_line(out, base64);
}

const fn usage_text(verb: Verb) -> &'static str {
    match verb {
        Verb::Ehlo => "Syntax: EHLO your.host.name",
        Verb::Helo => "Syntax: HELO your.host.name",
        Verb::Mail => "Syntax: MAIL FROM:<you@example.org>",
        Verb::Rcpt => "Syntax: RCPT TO:<user@example.org>",
        Verb::Data => "Syntax: DATA, alone on the line",
        Verb::Bdat => "Syntax: BDAT size [LAST]",
        Verb::Rset => "Syntax: RSET, alone on the line",
        Verb::Noop => "Syntax: NOOP",
        Verb::Vrfy => "Syntax: VRFY user",
        Verb::Expn => "Syntax: EXPN list",
        Verb::Help => "Syntax: HELP",
        Verb::Quit => "Syntax: QUIT, alone on the line",
        Verb::StartTls => "Syntax: STARTTLS, alone on the line",
        Verb::Auth => "Syntax: AUTH PLAIN [initial-response]",
    }
}

const fn parameter_text(which: Parameter) -> &'static str {
    match which {
        Parameter::Size => "SIZE= takes the octets of the message in up to 20 digits",
        Parameter::Body => "BODY= takes 7BIT or 8BITMIME",
        Parameter::SmtpUtf8 => "SMTPUTF8 takes no value",
        Parameter::Auth => "AUTH= takes an address in xtext (RFC 3461 section 4) or <>",
        Parameter::Ret => "RET= takes FULL or HDRS",
        Parameter::Envid => "ENVID= takes up to 100 octets in xtext (RFC 3461 section 4)",
        Parameter::Notify => "NOTIFY= takes NEVER, or a list of SUCCESS,FAILURE,DELAY",
        Parameter::Orcpt => "ORCPT= takes type;address in xtext (RFC 3461 section 4)",
    }
}

fn start_line(out: &mut Vec<u8>, code: u16, last: bool) {
    let digit = |n: u16| b'0' + (n % 10) as u8;
    out.extend_from_slice(&[
        digit(code / 100),
        digit(code / 10),
        digit(code),
        if last { b' ' } else { b'-' },
    ]);
}

fn end_line(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `write!` for a `Vec`, which without std has no `Write` of its own.
fn append(out: &mut Vec<u8>, text: core::fmt::Arguments<'_>) {
    struct Sink<'v>(&'v mut Vec<u8>);
    impl core::fmt::Write for Sink<'_> {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    core::fmt::Write::write_fmt(&mut Sink(out), text)
        .expect("the sink never fails, nor do numbers and addresses");
}

#[cfg(test)]
mod tests {
    use super::super::command::VERBS;
    use super::super::parameter::{MAIL_PARAMETERS, RCPT_PARAMETERS};
    use super::*;
    use std::{format, string::String};

    pub(super) trait All: Sized {
        fn all() -> Vec<Self>;
    }

    impl All for Verb {
        fn all() -> Vec<Self> {
            VERBS.map(|(_, verb)| verb).into()
        }
    }

    impl All for Parameter {
        fn all() -> Vec<Self> {
            MAIL_PARAMETERS.iter().chain(&RCPT_PARAMETERS).map(|&(_, parameter)| parameter).collect()
        }
    }

    impl All for AddressError {
        fn all() -> Vec<Self> {
            use AddressError::*;
            [Missing, Brackets, LocalPart, NoDomain, Domain, TooLong, Route].into()
        }
    }

    fn written(reply: Reply) -> String {
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_row_is_well_formed() {
        for reply in Reply::every() {
            let text = written(reply);
            assert!(text.is_ascii() && text.ends_with("\r\n"), "{text}");
            let lines: Vec<&str> = text.split_terminator("\r\n").collect();
            for (at, line) in lines.iter().enumerate() {
                // RFC 5321 §4.5.3.1.5: 512 octets; a person reads them in less.
                assert!(line.len() <= 120, "{line}");
                let separator = if at + 1 == lines.len() { ' ' } else { '-' };
                assert!(line.starts_with(&format!("{}{separator}", reply.code())), "{line}");
            }
            // RFC 2034 §4: the class of the enhanced code is the first digit of the code, and 3xx has none.
            match reply.enhanced().split('.').collect::<Vec<_>>()[..] {
                [""] => assert_eq!(reply.code() / 100, 3),
                [class, subject, detail] => {
                    assert_eq!(class, format!("{}", reply.code() / 100), "{reply:?}");
                    assert!(subject.parse::<u8>().unwrap() <= 7 && detail.parse::<u8>().unwrap() <= 30);
                }
                _ => panic!("{reply:?}"),
            }
            // RFC 5321 §3.8: 421 always closes, 221 is a good bye.
            assert!(reply.closes() || !matches!(reply.code(), 421 | 221), "{reply:?}");
        }
    }

    #[test]
    fn several_lines() {
        let help = written(Reply::Help);
        assert!(
            help.starts_with("214-2.0.0 This server") && help.contains("\r\n214 2.0.0 For help"),
            "{help}"
        );
        assert_eq!(written(Reply::StartData), "354 Enter mail, end with \".\" on a line by itself\r\n");
    }

    #[test]
    fn ehlo_lists_what_is_offered() {
        let mut offer = Offer {
            size: 36_700_160,
            dsn: false,
            starttls: true,
            auth: Offered::default(),
            mails_max: 100,
            recipients_max: 1000,
        };
        let ehlo = |offer: &Offer| {
            let mut out = Vec::new();
            write_ehlo(&mut out, "mail.example.org", "m\u{f6}i", "192.0.2.1".parse().unwrap(), offer);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            ehlo(&offer),
            "250-mail.example.org Hello m?i [192.0.2.1], pleased to meet you\r\n250-PIPELINING\r\n250-8BITMIME\r\n\
             250-SMTPUTF8\r\n250-CHUNKING\r\n250-ENHANCEDSTATUSCODES\r\n250-SIZE 36700160\r\n\
             250-LIMITS MAILMAX=100 RCPTMAX=1000\r\n250-STARTTLS\r\n250 HELP\r\n"
        );
        let auth = Offered { login: true, ..Offered::default() };
        offer = Offer { dsn: true, starttls: false, auth, ..offer };
        assert!(ehlo(&offer).ends_with("250-DSN\r\n250-AUTH PLAIN LOGIN\r\n250 HELP\r\n"));
        offer.auth.scram = true;
        assert!(ehlo(&offer).ends_with("\r\n250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n250 HELP\r\n"));
    }

    #[test]
    fn replies_with_a_name() {
        let mut out = Vec::new();
        write_greeting(&mut out, "mx.example");
        write_helo(&mut out, "mx.example");
        write_challenge(&mut out, "VXNlcm5hbWU6");
        write_challenge(&mut out, "");
        write_accepted(&mut out, "1a2b3c4d");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "220 mx.example ESMTP postier\r\n250 mx.example\r\n334 VXNlcm5hbWU6\r\n334 \r\n\
             250 2.0.0 1a2b3c4d Message accepted for delivery\r\n"
        );
    }
}
