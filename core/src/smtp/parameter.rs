//! Parameters of MAIL and RCPT: RFC 5321 §4.1.2 esmtp-param, and the extensions that define them.
//!
//! Reads `KEYWORD=value` words into one struct per command. A keyword that is not known, not of this command,
//! or said twice is a mistake; so the work is bounded by the number of keywords. Values in xtext (RFC 3461
//! §4) are checked and kept as they came: they are mostly handed on, not looked at.
//!
//! ```
//! use postier_core::smtp::parameter::{Body, parse_mail};
//!
//! let parameters = parse_mail(" SIZE=1000 BODY=8BITMIME").unwrap();
//! assert_eq!((parameters.size, parameters.body), (Some(1000), Some(Body::EightBit)));
//! ```
use super::command::CommandError;
use crate::wire::keyword::{Keyword, match_keyword};
use crate::wire::xtext;

/// Octets of an ENVID value, decoded (RFC 3461 §4.4). One octet is at most three of xtext.
pub const ENVID_BYTES_MAX: usize = 100;
/// Octets of an ORCPT value (RFC 3461 §4.2).
pub const ORCPT_BYTES_MAX: usize = 500;
/// Octets of an AUTH= value (RFC 4954 §5).
pub const AUTH_PARAMETER_BYTES_MAX: usize = 500;

/// Every parameter this server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// MAIL, RFC 1870
    Size,
    /// MAIL, RFC 6152, RFC 3030
    Body,
    /// MAIL, RFC 6531
    SmtpUtf8,
    /// MAIL, RFC 4954
    Auth,
    /// MAIL, RFC 3461
    Ret,
    /// MAIL, RFC 3461
    Envid,
    /// RCPT, RFC 3461
    Notify,
    /// RCPT, RFC 3461
    Orcpt,
}

/// The words of MAIL.
pub(super) const MAIL_PARAMETERS: [(Keyword, Parameter); 6] = [
    (Keyword::new("SIZE"), Parameter::Size),
    (Keyword::new("BODY"), Parameter::Body),
    (Keyword::new("SMTPUTF8"), Parameter::SmtpUtf8),
    (Keyword::new("AUTH"), Parameter::Auth),
    (Keyword::new("RET"), Parameter::Ret),
    (Keyword::new("ENVID"), Parameter::Envid),
];
/// The words of RCPT.
pub(super) const RCPT_PARAMETERS: [(Keyword, Parameter); 2] =
    [(Keyword::new("NOTIFY"), Parameter::Notify), (Keyword::new("ORCPT"), Parameter::Orcpt)];

/// What MAIL said besides the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailParameters<'a> {
    /// Octets the message will have, as the client counts; a number too large for the type is `u64::MAX`.
    pub size: Option<u64>,
    /// How the message is written.
    pub body: Option<Body>,
    /// Addresses and header fields may be UTF-8.
    pub smtputf8: bool,
    /// Who submitted it first, in xtext, or `<>`: advisory (RFC 4954 §5).
    pub auth: Option<&'a str>,
    /// How much of the message goes into a bounce.
    pub ret: Option<Return>,
    /// The sender's name for this mail, in xtext.
    pub envid: Option<&'a str>,
}

/// What RCPT said besides the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RcptParameters<'a> {
    /// When to tell the sender; absent is failure, and delay if the server likes.
    pub notify: Option<Notify>,
    /// Whom the mail was for when it was first sent.
    pub orcpt: Option<OriginalRecipient<'a>>,
}

/// BODY=
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// ASCII in lines.
    SevenBit,
    /// Octets in lines (RFC 6152).
    EightBit,
    /// Octets (RFC 3030 §3). Only where BINARYMIME is offered, otherwise [`Reply::BinaryMimeNotOffered`].
    ///
    /// [`Reply::BinaryMimeNotOffered`]: super::reply::Reply::BinaryMimeNotOffered
    Binary,
}

/// RET= (RFC 3461 §4.3)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// The whole message.
    Full,
    /// Its header.
    Headers,
}

/// NOTIFY= (RFC 3461 §4.1). All false is NEVER.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// Tell when delivered.
    pub success: bool,
    /// Tell when not delivered.
    pub failure: bool,
    /// Tell when it takes long.
    pub delay: bool,
}

/// ORCPT= (RFC 3461 §4.2, RFC 6533 §3)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginalRecipient<'a> {
    /// `rfc822`, `utf-8` or another registered type, as written.
    pub address_type: &'a str,
    /// The address in xtext, or in the encoding of RFC 6533 §3 for `utf-8`.
    pub address: &'a str,
}

/// Reads what follows the path of MAIL.
///
/// # Errors
/// `UnknownParameter`, `DuplicateParameter`, or `Parameter` with the malformed one.
pub fn parse_mail(text: &str) -> Result<MailParameters<'_>, CommandError> {
    let mut found = MailParameters::default();
    for_each(text, &MAIL_PARAMETERS, |parameter, value| {
        match parameter {
            Parameter::Size => found.size = Some(size(value?)?),
            Parameter::Body => found.body = Some(body(value?)?),
            Parameter::SmtpUtf8 => found.smtputf8 = value.is_none().then_some(true)?,
            Parameter::Auth => found.auth = Some(xtext(value?, AUTH_PARAMETER_BYTES_MAX)?),
            Parameter::Ret => found.ret = Some(ret(value?)?),
            Parameter::Envid => found.envid = Some(xtext(value?, 3 * ENVID_BYTES_MAX)?),
            Parameter::Notify | Parameter::Orcpt => return None,
        }
        Some(())
    })?;
    Ok(found)
}

/// Reads what follows the path of RCPT.
///
/// # Errors
/// `UnknownParameter`, `DuplicateParameter`, or `Parameter` with the malformed one.
pub fn parse_rcpt(text: &str) -> Result<RcptParameters<'_>, CommandError> {
    let mut found = RcptParameters::default();
    for_each(text, &RCPT_PARAMETERS, |parameter, value| {
        match parameter {
            Parameter::Notify => found.notify = Some(notify(value?)?),
            Parameter::Orcpt => found.orcpt = Some(orcpt(value?)?),
            Parameter::Size
            | Parameter::Body
            | Parameter::SmtpUtf8
            | Parameter::Auth
            | Parameter::Ret
            | Parameter::Envid => return None,
        }
        Some(())
    })?;
    Ok(found)
}

/// Calls `take` with each parameter and its value; `None` from it is a malformed value.
fn for_each<'a>(
    text: &'a str,
    known: &[(Keyword, Parameter)],
    mut take: impl FnMut(Parameter, Option<&'a str>) -> Option<()>,
) -> Result<(), CommandError> {
    let mut seen = 0_u32;
    for word in text.split_ascii_whitespace() {
        let (keyword, value) = match split_once(word, b'=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (word, None),
        };
        let keyword = Keyword::of(keyword.as_bytes());
        let &(_, parameter) =
            known.iter().find(|(name, _)| *name == keyword).ok_or(CommandError::UnknownParameter)?;
        let bit = 1 << parameter as u32;
        if seen & bit != 0 {
            return Err(CommandError::DuplicateParameter);
        }
        seen |= bit;
        take(parameter, value).ok_or(CommandError::Parameter(parameter))?;
    }
    Ok(())
}

/// As `str::split_once`, which prepares for texts longer than a command line.
fn split_once(text: &str, ascii: u8) -> Option<(&str, &str)> {
    let (head, tail) = text.split_at_checked(text.bytes().position(|octet| octet == ascii)?)?;
    Some((head, tail.get(1..)?))
}

/// RFC 1870 §3: 1 to 20 digits.
fn size(value: &str) -> Option<u64> {
    let digits = (1..=20).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| value.parse().unwrap_or(u64::MAX))
}

fn body(value: &str) -> Option<Body> {
    Some(match_keyword!(value.as_bytes(),
        "7BIT" => Body::SevenBit,
        "8BITMIME" => Body::EightBit,
        "BINARYMIME" => Body::Binary,
        _ => return None,
    ))
}

fn ret(value: &str) -> Option<Return> {
    Some(
        match_keyword!(value.as_bytes(), "FULL" => Return::Full, "HDRS" => Return::Headers, _ => return None),
    )
}

/// NEVER alone, or a list of the others.
fn notify(value: &str) -> Option<Notify> {
    let mut notify = Notify::default();
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(notify);
    }
    let mut rest = Some(value);
    while let Some(list) = rest {
        let (word, more) = split_once(list, b',').map_or((list, None), |(word, more)| (word, Some(more)));
        match_keyword!(word.as_bytes(),
            "SUCCESS" => notify.success = true,
            "FAILURE" => notify.failure = true,
            "DELAY" => notify.delay = true,
            _ => return None,
        );
        rest = more;
    }
    Some(notify)
}

fn orcpt(value: &str) -> Option<OriginalRecipient<'_>> {
    if value.len() > ORCPT_BYTES_MAX {
        return None;
    }
    let (address_type, address) = split_once(value, b';')?;
    let type_ok =
        !address_type.is_empty() && address_type.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let address_ok = match address_type.eq_ignore_ascii_case("utf-8") {
        // RFC 6533 §3: graphic characters and UTF-8, of ASCII all but `+` and `=`.
        true => !address.is_empty() && !address.chars().any(|c| c.is_control() || c == '+' || c == '='),
        false => xtext(address, ORCPT_BYTES_MAX).is_some(),
    };
    (type_ok && address_ok).then_some(OriginalRecipient { address_type, address })
}

/// A value in xtext, checked and left encoded.
fn xtext(value: &str, bytes_max: usize) -> Option<&str> {
    ((1..=bytes_max).contains(&value.len()) && xtext::is_valid(value.as_bytes())).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(parse_mail(""), Ok(MailParameters::default()));
        assert_eq!(parse_rcpt("  "), Ok(RcptParameters::default()));
    }

    #[test]
    fn malformed_values_name_their_parameter() {
        for (text, parameter) in [
            ("SIZE", Parameter::Size),
            ("SIZE=", Parameter::Size),
            ("SIZE=1k", Parameter::Size),
            ("SIZE=+1", Parameter::Size),
            ("SIZE=000000000000000000001", Parameter::Size),
            ("BODY=9BIT", Parameter::Body),
            ("BODY", Parameter::Body),
            ("SMTPUTF8=yes", Parameter::SmtpUtf8),
            ("AUTH=", Parameter::Auth),
            ("AUTH=a=b", Parameter::Auth),
            ("AUTH=a+4", Parameter::Auth),
            ("AUTH=a+4g", Parameter::Auth),
            ("AUTH=a+4a", Parameter::Auth),
            ("AUTH=é", Parameter::Auth),
            ("RET=ALL", Parameter::Ret),
            ("ENVID=", Parameter::Envid),
        ] {
            assert_eq!(parse_mail(text), Err(CommandError::Parameter(parameter)), "{text}");
        }
        for (text, parameter) in [
            ("NOTIFY=", Parameter::Notify),
            ("NOTIFY=NEVER,DELAY", Parameter::Notify),
            ("NOTIFY=DELAY,", Parameter::Notify),
            ("ORCPT=a@b", Parameter::Orcpt),
            ("ORCPT=;a@b", Parameter::Orcpt),
            ("ORCPT=rfc822;", Parameter::Orcpt),
            ("ORCPT=rfc822;é", Parameter::Orcpt),
            ("ORCPT=rf@c;a", Parameter::Orcpt),
        ] {
            assert_eq!(parse_rcpt(text), Err(CommandError::Parameter(parameter)), "{text}");
        }
        let long = format!("ORCPT=rfc822;{}", "x".repeat(ORCPT_BYTES_MAX));
        assert_eq!(parse_rcpt(&long), Err(CommandError::Parameter(Parameter::Orcpt)));
    }

    #[test]
    fn values_at_the_edge() {
        assert_eq!(parse_mail("SIZE=99999999999999999999").unwrap().size, Some(u64::MAX));
        assert_eq!(parse_mail("SIZE=0").unwrap().size, Some(0));
        assert_eq!(parse_mail("BODY=binarymime").unwrap().body, Some(Body::Binary));
        assert_eq!(parse_rcpt("notify=never").unwrap().notify, Some(Notify::default()));
        assert_eq!(parse_rcpt("ORCPT=utf-8;é\\x{20}@b").unwrap().orcpt.unwrap().address, "é\\x{20}@b");
    }
}
