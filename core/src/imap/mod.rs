//! IMAP, the server's side: grammar, responses, and the session ([`server`]).
//!
//! The way of a command: [`scanner`] finds where it ends in the receive buffer, literals included, without
//! understanding it; [`command`] parses it into a value that borrows from the buffer; the session acts and
//! writes with [`response`]. What is in a command has modules of its own: [`sequence`] (sets of numbers, and
//! the [`UidSet`](sequence::UidSet) used everywhere), [`flag`], [`fetch`], [`search`], [`sort`],
//! [`thread`], [`url`]; [`list`] matches mailbox patterns; [`objectid`] names mailboxes and messages for good; [`metadata`] names
//! annotations; [`notify`] says what a client wants to be told of; [`view`] is what a session knows of its mailbox.
//!
//! The grammar is RFC 9051 with what RFC 3501 has besides, and the extensions ID, NAMESPACE, ENABLE, SASL-IR,
//! LITERAL+, IDLE, UNSELECT, UIDPLUS, MOVE, MULTIAPPEND, CATENATE, BINARY, REPLACE, PREVIEW, SAVEDATE, OBJECTID,
//! ESEARCH, MULTISEARCH, SEARCHRES, PARTIAL, CONTEXT=SEARCH, WITHIN, SORT, SORT=DISPLAY, ESORT, THREAD, LIST-EXTENDED, LIST-STATUS,
//! LIST-METADATA, SPECIAL-USE, CREATE-SPECIAL-USE, METADATA, NOTIFY, COMPRESS,
//! UNAUTHENTICATE and UIDBATCHES.
//! A new command is a row in the parser's table of verbs and a variant of
//! [`CommandBody`](command::CommandBody); whoever must know it then does not compile.
//!
//! ```
//! use postier_core::imap::command::{CommandBody, parse};
//! use postier_core::imap::response::{Status, write_continuation, write_tagged};
//! use postier_core::imap::scanner::{CommandScanner, Scan, ScanLimits};
//!
//! let limits = ScanLimits { command_bytes: 65_536, literal_bytes: 4_096 };
//! let mut scanner = CommandScanner::new();
//! let (mut received, mut sent) = (Vec::new(), Vec::new());
//! for piece in [&b"a1 SEL"[..], b"ECT {5}\r\n", b"inbox\r\na2 FETCH 0 FLAGS\r\n"] {
//!     received.extend_from_slice(piece);
//!     loop {
//!         match scanner.scan(&received, &limits) {
//!             Scan::Incomplete => break,
//!             Scan::Continue => write_continuation(&mut sent, "go on"),
//!             Scan::Complete { len } => {
//!                 match parse(&received[..len]) {
//!                     Ok(command) => {
//!                         let CommandBody::Select(select) = &command.body else { panic!() };
//!                         assert!(select.mailbox.is_inbox());
//!                         write_tagged(&mut sent, command.tag, Status::Ok, None, "selected");
//!                     }
//!                     Err(error) => {
//!                         let tag = error.tag.unwrap_or(b"*");
//!                         write_tagged(&mut sent, tag, Status::Bad, None, &error.to_string());
//!                     }
//!                 }
//!                 received.drain(..len);
//!             }
//!             Scan::Append { .. } | Scan::Refused { .. } | Scan::Skipped { .. } => panic!(),
//!         }
//!     }
//! }
//! let expected = "+ go on\r\n\
//!     a1 OK selected\r\n\
//!     a2 BAD FETCH: expected a sequence set, found \"0 FLAGS\"\r\n";
//! assert_eq!(String::from_utf8(sent).unwrap(), expected);
//! ```

pub mod command;
pub mod fetch;
pub mod flag;
pub mod list;
pub mod metadata;
pub mod notify;
pub mod objectid;
mod parse;
pub mod response;
pub mod scanner;
pub mod search;
pub mod sequence;
pub mod server;
pub mod sort;
pub mod thread;
pub mod url;
pub mod view;
