//! The parser of commands: one pass over one command, no backtracking, nothing copied that can be borrowed.
//!
//! [`parse`] takes what [`CommandScanner`](super::scanner::CommandScanner) has found: the line with its
//! inline literals. `named_command` is the table of commands; a command group's grammar is in a file of its own. An
//! error is a `&'static str` naming what was expected, and the place is where the cursor stands.
//!
//! Lenient where clients are sloppy and nothing is at stake: a bare LF ends a line, spaces may end it, any
//! octet may be escaped in a quoted string.

mod append;
mod cursor;
mod fetch;
mod mailbox;
mod metadata;
mod notify;
mod search;
mod sort;
mod store;

use super::command::{AppendPiece, Command, CommandBody, MailboxName, Secret, UidBatches};
use super::fetch::Section;
use crate::wire::keyword::match_keyword;
use alloc::vec::Vec;
use core::fmt;
use cursor::{Cursor, Expected, Parsed};

/// How many octets of what was found an error shows.
const FOUND_BYTES_MAX: usize = 24;
const END: &str = "the end of the command";

/// Why a command could not be understood. `Display` is a sentence for the tagged BAD:
/// `FETCH: expected a sequence set, found ")"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError<'a> {
    /// The tag, if one could be read; else the BAD is untagged.
    pub tag: Option<&'a [u8]>,
    /// The command, if it is a known one.
    pub command: Option<&'static str>,
    /// What the grammar wants.
    pub expected: &'static str,
    /// What is there instead: some octets, none at the end of the command, `None` where there may be a
    /// password.
    pub found: Option<&'a [u8]>,
}

impl fmt::Display for ParseError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(command) = self.command {
            write!(f, "{command}: ")?;
        }
        write!(f, "expected {}", self.expected)?;
        match self.found {
            Some([]) => f.write_str(", found the end of the command"),
            Some(octets) => {
                f.write_str(", found \"")?;
                for octet in octets {
                    // Inside the reply the octets of a peer are plain printable text.
                    let shown = if octet.is_ascii_graphic() || *octet == b' ' { *octet } else { b'?' };
                    write!(f, "{}", char::from(shown))?;
                }
                f.write_str("\"")
            }
            None => Ok(()),
        }
    }
}

impl core::error::Error for ParseError<'_> {}

type ArgumentParser = for<'a> fn(&mut Cursor<'a>) -> Parsed<CommandBody<'a>>;

macro_rules! commands {
    (
        $cursor:expr, $tag:expr, $verb:expr,
        alone: { $($alone:literal => $body:expr,)+ }
        with_arguments: { $($name:literal => $arguments:expr,)+ }
    ) => {
        match_keyword!($verb,
            // Written out for each, so that it is made in its place: what clients that wait say most is not moved.
            $($alone => match $cursor.at_end() {
                true => Ok(Command { tag: $tag, body: $body }),
                false => Err(error($cursor, Some($tag), Some($alone), END)),
            },)+
            $($name => with_arguments($cursor, $tag, $name, $arguments),)+
            _ => Err(unknown($tag, $verb)),
        )
    };
}

/// Every command: how it is written, and the parser of its arguments.
fn named_command<'a>(
    cursor: &mut Cursor<'a>,
    tag: &'a [u8],
    verb: &'a [u8],
) -> Result<Command<'a>, ParseError<'a>> {
    commands!(cursor, tag, verb,
        alone: {
            "CAPABILITY" => CommandBody::Capability,
            "CHECK" => CommandBody::Check,
            "CLOSE" => CommandBody::Close,
            "EXPUNGE" => CommandBody::Expunge { uids: None },
            "IDLE" => CommandBody::Idle,
            "LOGOUT" => CommandBody::Logout,
            "NAMESPACE" => CommandBody::Namespace,
            "NOOP" => CommandBody::Noop,
            "STARTTLS" => CommandBody::StartTls,
            "UNAUTHENTICATE" => CommandBody::Unauthenticate,
            "UNSELECT" => CommandBody::Unselect,
        }
        with_arguments: {
            "APPEND" => append::append,
            "AUTHENTICATE" => authenticate,
            "CANCELUPDATE" => cancel_update,
            "COMPRESS" => |cursor| {
                cursor.space()?;
                Ok(CommandBody::Compress { mechanism: cursor.atom("a compression mechanism")? })
            },
            "COPY" => |cursor| copy(cursor, false),
            "CREATE" => mailbox::create,
            "DELETE" => |cursor| Ok(CommandBody::Delete { mailbox: cursor.mailbox_argument()? }),
            "ENABLE" => enable,
            "ESEARCH" => search::esearch,
            "EXAMINE" => |cursor| mailbox::select(cursor, true),
            "FETCH" => |cursor| fetch::fetch(cursor, false),
            "GETMETADATA" => metadata::get,
            "GETQUOTA" => mailbox::get_quota,
            "GETQUOTAROOT" => |cursor| Ok(CommandBody::GetQuotaRoot { mailbox: cursor.mailbox_argument()? }),
            "ID" => id,
            "LIST" => mailbox::list,
            "LOGIN" => login,
            "LSUB" => mailbox::lsub,
            "MOVE" => |cursor| move_(cursor, false),
            "NOTIFY" => notify::notify,
            "RENAME" => |cursor| {
                Ok(CommandBody::Rename { from: cursor.mailbox_argument()?, to: cursor.mailbox_argument()? })
            },
            "REPLACE" => |cursor| append::replace(cursor, false),
            "SEARCH" => |cursor| search::search(cursor, false),
            "SELECT" => |cursor| mailbox::select(cursor, false),
            "SETMETADATA" => metadata::set,
            "SETQUOTA" => mailbox::set_quota,
            "SORT" => |cursor| sort::sort(cursor, false),
            "STATUS" => mailbox::status,
            "STORE" => |cursor| store::store(cursor, false),
            "SUBSCRIBE" => |cursor| Ok(CommandBody::Subscribe { mailbox: cursor.mailbox_argument()? }),
            "THREAD" => |cursor| sort::thread(cursor, false),
            "UID" => uid_command,
            "UIDBATCHES" => uid_batches,
            "UNSUBSCRIBE" => |cursor| Ok(CommandBody::Unsubscribe { mailbox: cursor.mailbox_argument()? }),
        }
    )
}

/// The commands that may follow UID.
fn uid_command<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    const VERB: &str = "COPY, EXPUNGE, FETCH, MOVE, REPLACE, SEARCH, SORT, STORE or THREAD";
    cursor.space()?;
    let verb = cursor.atom(VERB)?;
    match_keyword!(verb,
        "COPY" => copy(cursor, true),
        "EXPUNGE" => {
            cursor.space()?;
            Ok(CommandBody::Expunge { uids: Some(cursor.sequence_set()?) })
        },
        "FETCH" => fetch::fetch(cursor, true),
        "MOVE" => move_(cursor, true),
        "REPLACE" => append::replace(cursor, true),
        "SEARCH" => search::search(cursor, true),
        "SORT" => sort::sort(cursor, true),
        "STORE" => store::store(cursor, true),
        "THREAD" => sort::thread(cursor, true),
        _ => Err(cursor.back(verb, VERB)),
    )
}

/// Parses one command: a line with its inline literals and with or without its line end. The head of an
/// APPEND is a command that ends in the announcement of the message.
///
/// # Errors
/// The command is not of the grammar. The session answers BAD and goes on.
pub fn parse(command: &[u8]) -> Result<Command<'_>, ParseError<'_>> {
    let mut cursor = Cursor::new(without_line_end(command));
    let Ok(tag) = cursor.tag() else { return Err(error(&cursor, None, None, "a tag")) };
    let verb = cursor.space().and_then(|()| cursor.atom("a command"));
    let verb = match verb {
        Ok(verb) => verb,
        Err(Expected(expected)) => return Err(error(&cursor, Some(tag), None, expected)),
    };
    named_command(&mut cursor, tag, verb)
}

fn with_arguments<'a>(
    cursor: &mut Cursor<'a>,
    tag: &'a [u8],
    name: &'static str,
    arguments: ArgumentParser,
) -> Result<Command<'a>, ParseError<'a>> {
    match arguments(cursor) {
        Ok(body) if cursor.at_end() => Ok(Command { tag, body }),
        Ok(_) => Err(error(cursor, Some(tag), Some(name), END)),
        Err(Expected(expected)) => Err(error(cursor, Some(tag), Some(name), expected)),
    }
}

fn unknown<'a>(tag: &'a [u8], verb: &'a [u8]) -> ParseError<'a> {
    let found = Some(verb.get(..FOUND_BYTES_MAX).unwrap_or(verb));
    ParseError { tag: Some(tag), command: None, expected: "an IMAP command", found }
}

/// Parses what follows a literal of APPEND or REPLACE, up to the line end: nothing, or more pieces. `joined`: the
/// literal belongs to a message that is put together (CATENATE).
///
/// # Errors
/// The rest is not of the grammar. What was announced in it is still to come if its client does not wait.
pub fn parse_append_rest(line: &[u8], joined: bool) -> Result<Vec<AppendPiece<'_>>, ParseError<'_>> {
    let mut cursor = Cursor::new(without_line_end(line));
    match append::rest(&mut cursor, joined) {
        Ok(pieces) => Ok(pieces),
        Err(Expected(expected)) => Err(error(&cursor, None, Some("APPEND"), expected)),
    }
}

/// A section as it stands between the brackets of `BODY[…]`; `None` if it is none.
pub fn parse_section(text: &[u8]) -> Option<Section> {
    let mut cursor = Cursor::new(text);
    fetch::section(&mut cursor).ok().filter(|_| cursor.rest().is_empty())
}

/// The tag at the beginning of a command, for an answer to one that is refused before it is parsed.
pub fn tag_of(command: &[u8]) -> Option<&[u8]> {
    Cursor::new(command).tag().ok()
}

fn error<'a>(
    cursor: &Cursor<'a>,
    tag: Option<&'a [u8]>,
    command: Option<&'static str>,
    expected: &'static str,
) -> ParseError<'a> {
    let rest = cursor.rest();
    let found = match command {
        Some("LOGIN" | "AUTHENTICATE") => None,
        Some(_) | None => Some(rest.get(..FOUND_BYTES_MAX).unwrap_or(rest)),
    };
    ParseError { tag, command, expected, found }
}

fn without_line_end(command: &[u8]) -> &[u8] {
    match command {
        [line @ .., b'\r', b'\n'] | [line @ .., b'\r' | b'\n'] => line,
        line => line,
    }
}

// RFC 2971 §3.1
fn id<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    cursor.space()?;
    let mut fields = Vec::new();
    if !cursor.eat(b'(') {
        cursor.nil("NIL or a list of fields")?;
        return Ok(CommandBody::Id { fields });
    }
    while !cursor.eat(b')') {
        if !fields.is_empty() {
            cursor.space()?;
        }
        let name = cursor.string()?;
        cursor.space()?;
        fields.push((name, cursor.nstring()?));
    }
    Ok(CommandBody::Id { fields })
}

// RFC 9051 §6.3.1
fn enable<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    let mut capabilities = Vec::new();
    loop {
        cursor.space()?;
        capabilities.push(cursor.atom("a capability")?);
        if cursor.at_end() {
            return Ok(CommandBody::Enable { capabilities });
        }
    }
}

// RFC 10022: nz-number, and a range of them
fn uid_batches<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    const SIZE: &str = "the size of a batch";
    const BATCHES: &str = "a range of batches such as 1:20";
    let number = |cursor: &mut Cursor<'a>, expected| match cursor.number(expected)? {
        0 => Err(Expected("a number above 0 before this")),
        number => Ok(number),
    };
    cursor.space()?;
    let size = number(cursor, SIZE)?;
    if cursor.at_end() {
        return Ok(CommandBody::UidBatches(UidBatches { size, first: 1, last: u32::MAX }));
    }
    cursor.space()?;
    let first = number(cursor, BATCHES)?;
    cursor.expect(b':', BATCHES)?;
    Ok(CommandBody::UidBatches(UidBatches { size, first, last: number(cursor, BATCHES)? }))
}

// RFC 5267 §5
fn cancel_update<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    let mut tags = Vec::new();
    loop {
        cursor.space()?;
        tags.push(cursor.string()?);
        if cursor.at_end() {
            return Ok(CommandBody::CancelUpdate { tags });
        }
    }
}

// RFC 9051 §6.2.3
fn login<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    cursor.space()?;
    let username = cursor.astring("a user name")?;
    cursor.space()?;
    let password = Secret(cursor.astring("a password")?);
    Ok(CommandBody::Login { username, password })
}

// RFC 9051 §6.2.2; the base64 is for whoever speaks SASL to judge.
fn authenticate<'a>(cursor: &mut Cursor<'a>) -> Parsed<CommandBody<'a>> {
    cursor.space()?;
    let mechanism = cursor.atom("a SASL mechanism")?;
    let initial = match cursor.at_end() {
        true => None,
        false => {
            cursor.space()?;
            Some(Secret(cursor.atom("an initial response in base64")?.into()))
        }
    };
    Ok(CommandBody::Authenticate { mechanism, initial })
}

// RFC 9051 §6.4.7
fn copy<'a>(cursor: &mut Cursor<'a>, uid: bool) -> Parsed<CommandBody<'a>> {
    cursor.space()?;
    let set = cursor.sequence_set()?;
    let mailbox: MailboxName = cursor.mailbox_argument()?;
    Ok(CommandBody::Copy { uid, set, mailbox })
}

// RFC 9051 §6.4.8
fn move_<'a>(cursor: &mut Cursor<'a>, uid: bool) -> Parsed<CommandBody<'a>> {
    cursor.space()?;
    let set = cursor.sequence_set()?;
    let mailbox: MailboxName = cursor.mailbox_argument()?;
    Ok(CommandBody::Move { uid, set, mailbox })
}

#[cfg(test)]
mod tests;
