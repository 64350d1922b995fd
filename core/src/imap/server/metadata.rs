//! GETMETADATA and SETMETADATA (RFC 5464).
//!
//! A mailbox has one owner, so what is `/shared` of it is the owner's, too. The server's `/shared` entries would be those
//! of all accounts, and no client may set them (RFC 5464 §3.3). Nobody is told of changes without having asked: a server
//! need not (§4.1).

use super::names::Spelling;
use super::session::{Session, Then};
use super::{Ask, Refusal};
use crate::imap::command::{AString, GetMetadata, MailboxName};
use crate::imap::metadata::{Annotations, Depth, Entry};
use crate::imap::response::{Code, Status, write_astring, write_literal_head, write_string};
use crate::send_queue::SendQueue;
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// GETMETADATA while its answer is on its way.
#[derive(Debug)]
pub(super) struct MetadataWanted {
    wanted: GetMetadata,
    /// The mailbox as it is stored; `None`: the server.
    stored: Option<Vec<u8>>,
}

impl Session {
    pub(super) fn start_get_metadata(&mut self, wanted: GetMetadata, tx: &mut SendQueue) {
        let Some(stored) = self.annotated(&wanted.mailbox, tx) else { return };
        let mailbox = stored.clone();
        self.ask(Then::Metadata(MetadataWanted { wanted, stored }), |ticket| Ask::Metadata {
            ticket,
            mailbox,
        });
    }

    pub(super) fn start_set_metadata(
        &mut self,
        mailbox: &MailboxName,
        values: Vec<(Entry, Option<AString<'_>>)>,
        tx: &mut SendQueue,
    ) {
        let Some(mailbox) = self.annotated(mailbox, tx) else { return };
        let limits = self.setup.limits.metadata;
        if values.iter().flat_map(|(_, value)| value).any(|value| value.len() > limits.value_bytes_max) {
            let code = Code::MetadataMaxSize(limits.value_bytes_max as u64);
            return self.end(Status::No, Some(&code), "The value is too long", tx);
        }
        if mailbox.is_none() && values.iter().any(|(entry, _)| entry.is_shared()) {
            let text = "What all accounts share cannot be set";
            return self.end(Status::No, Some(&Code::NoPerm), text, tx);
        }
        let changes = values.into_iter().map(|(entry, value)| (entry, value.map(Cow::into_owned))).collect();
        self.ask(Then::SetMetadata, |ticket| Ask::SetMetadata { ticket, mailbox, changes, limits });
    }

    /// The mailbox as it is stored, or the server; `None` if the command has ended with a NO.
    fn annotated(&mut self, mailbox: &MailboxName, tx: &mut SendQueue) -> Option<Option<Vec<u8>>> {
        match mailbox.as_bytes().is_empty() {
            true => Some(None),
            false => self.checked_name(mailbox, tx).map(Some),
        }
    }

    pub(super) fn handle_metadata(
        &mut self,
        MetadataWanted { wanted, stored }: &MetadataWanted,
        answer: Result<Annotations, Refusal>,
        tx: &mut SendQueue,
    ) {
        let entries = match answer {
            Ok(entries) => entries,
            Err(refusal) => return self.end_refused(&refusal, tx),
        };
        let is_wanted =
            |entry: &Entry| wanted.entries.iter().any(|other| entry.is_within(other, wanted.depth));
        let found: Vec<&(Entry, Vec<u8>)> = entries.iter().filter(|(entry, _)| is_wanted(entry)).collect();
        let fits = |octets: usize| wanted.max_size.is_none_or(|max| octets as u64 <= u64::from(max));
        let too_long = found.iter().map(|(_, value)| value.len()).filter(|octets| !fits(*octets)).max();
        let mut shown: Vec<(&Entry, Option<&[u8]>)> = found
            .iter()
            .filter(|(_, value)| fits(value.len()))
            .map(|(entry, value)| (entry, Some(&value[..])))
            .collect();
        // What was asked for by its name alone and is not there has the value NIL.
        if wanted.depth == Depth::Zero {
            let missing = wanted.entries.iter().filter(|name| !found.iter().any(|(entry, _)| entry == *name));
            shown.extend(missing.map(|entry| (entry, None)));
        }
        if !shown.is_empty() {
            let spelling = self.spelling();
            let name = stored.as_ref().map(|stored| spelling.shown(stored));
            write_annotations(name.as_ref().map(|name| (spelling, &**name)), &shown, tx);
        }
        let code = too_long.map(|octets| Code::MetadataLongEntries(octets as u64));
        self.end(Status::Ok, code.as_ref(), "Getmetadata completed", tx);
    }

    pub(super) fn handle_metadata_set(&mut self, answer: Result<(), Refusal>, tx: &mut SendQueue) {
        match answer {
            Ok(()) => self.end(Status::Ok, None, "Setmetadata completed", tx),
            Err(refusal) => self.end_refused(&refusal, tx),
        }
    }
}

/// METADATA (RFC 5464 §4.4.1) of a mailbox, as the client spells its name, or of the server.
pub(super) fn write_annotations(
    name: Option<(Spelling, &[u8])>,
    entries: &[(&Entry, Option<&[u8]>)],
    tx: &mut SendQueue,
) {
    tx.write_with(|out| {
        out.extend_from_slice(b"* METADATA ");
        match name {
            Some((spelling, name)) => spelling.write(out, name),
            None => out.extend_from_slice(b"\"\""),
        }
        for (index, (entry, value)) in entries.iter().enumerate() {
            out.extend_from_slice(if index > 0 { b" " } else { b" (" });
            write_astring(out, entry.as_bytes());
            out.push(b' ');
            write_value(out, *value);
        }
        out.extend_from_slice(b")\r\n");
    });
}

/// A value as a client takes it: one with a NUL is a literal8 (RFC 5464 §5).
fn write_value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => out.extend_from_slice(b"NIL"),
        Some(value) if value.contains(&0) => {
            out.push(b'~');
            write_literal_head(out, value.len() as u64);
            out.extend_from_slice(value);
        }
        Some(value) => write_string(out, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_a_nul_is_a_literal8_and_others_are_strings() {
        let written = |value| {
            let mut out = Vec::new();
            write_value(&mut out, value);
            out
        };
        assert_eq!(written(None), b"NIL");
        assert_eq!(written(Some(b"")), b"\"\"");
        assert_eq!(written(Some(b"a\0b")), b"~{3}\r\na\0b");
        assert_eq!(written(Some("é".as_bytes())), "{2}\r\né".as_bytes());
    }
}
